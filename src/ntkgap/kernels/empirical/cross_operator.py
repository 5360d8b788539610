"""Kernels between two sets of inputs that are multiplied with weights and never formed."""

from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.inputs import Inputs
from ntkgap.kernels.empirical.operator import streamed
from ntkgap.kernels.empirical.point import Point
from ntkgap.kernels.empirical.products import Streamed
from ntkgap.kernels.empirical.recipe import find_recipe
from ntkgap.kernels.memory import check_budget, free_memory
from ntkgap.kernels.neutral import neutral


class CrossOperator:
    """K(x, X) u = J(x) J(X)ᵀ u of a network at its present parameters, which must not change meanwhile.

    A backward pass at X and a derivative at x along what it gives, block by block: far less than to form K of many
    x, and products of the same X share their passes.

    Args:
        model: maps n examples to [n, ...], as in :func:`empirical_ntk`; C numbers an example.
        x: k inputs: a tensor, a tuple or a mapping, as in :func:`empirical_ntk`.
        dtype: precision; by default the model's own.
        memory_budget: bytes to use; by default half of what is free.

    Raises:
        ModelError, DataError, KernelError: as :func:`empirical_ntk`.
    """

    @neutral()
    def __init__(
        self, model: nn.Module, x: Any, *, dtype: torch.dtype | None = None, memory_budget: int | None = None
    ) -> None:
        check_budget(memory_budget)
        self._point = Point(model, None, dtype)
        self._x = self._point.inputs(x)
        self._budget = memory_budget or free_memory(self._point.device) // 2
        self._rows: Streamed | None = None

    @neutral()
    def product(self, x: Any, weights: Tensor) -> Tensor:
        """K(x, X) u.

        Args:
            x: X, n inputs of the same kind.
            weights: u, one or several, [..., n, C].

        Returns:
            [..., k, C].

        Raises:
            KernelError: if weights have another shape.
        """
        if self._rows is None:
            recipe = find_recipe(self._point, self._x, check=False)  # of which the sizes alone are used
            self._rows = streamed(self._point, self._x, recipe, self._budget)
        columns = self._point.inputs(x)
        steps = self._backward(columns, weights)
        return torch.stack(self._rows.products(steps)).unflatten(0, weights.shape[:-2])

    def _backward(self, x: Inputs, weights: Tensor) -> list[list[Tensor]]:
        """Jᵀu of every u."""
        leaves = list(self._point.leaves.values())
        with torch.enable_grad():
            outputs = self._point(x)
        if weights.ndim < 2 or weights.shape[-2:] != outputs.shape:
            raise KernelError(
                f"weights must have shape (..., {', '.join(map(str, outputs.shape))}), got {tuple(weights.shape)}"
            )
        found = []
        for u in weights.to(outputs).reshape(-1, *outputs.shape):
            grads = torch.autograd.grad(outputs, leaves, u, retain_graph=True, materialize_grads=True)
            found.append([g.to_dense() for g in grads])
        return found
