"""Jacobians and kernels of one network again and again: what was proved once is believed, and watched."""

from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.kernels.empirical.collect import structured_terms, trace
from ntkgap.kernels.empirical.jacobian import Jacobian, jacobian_at, keep_private
from ntkgap.kernels.empirical.ntk import KernelJob
from ntkgap.kernels.empirical.point import Point
from ntkgap.kernels.empirical.recipe import Recipe, find_recipe
from ntkgap.kernels.empirical.terms import merged
from ntkgap.kernels.neutral import neutral


class RepeatedJacobian:
    """The Jacobian of a network that changes less often than it is asked, as a bandit's does.

    ``jacobian`` casts the parameters and proves the factors against autograd in every call, which for a few
    inputs of a wide network takes most of the time. Here both are done at the first call and at the first one
    after ``refresh``, for each shape that examples have. Between them a forward pass is still checked to do what
    the proved one did; where it does not, or where a parameter has no factors, the full way is taken.

    Args:
        model: maps [n, ...] to [n] or [n, C].
        dtype: precision to compute in.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float64) -> None:
        self._model, self._dtype = model, dtype
        self._recipes: dict[tuple, Recipe] = {}  # by the shape of an example
        self.refresh()

    @neutral()
    def refresh(self) -> None:
        """Take the parameters as the network has them now; until then its changes go unnoticed."""
        # A point shares the memory of parameters it need not cast, and later training would reach it.
        own = {name: p.detach().clone() for name, p in self._model.named_parameters()}
        self._point = Point(self._model, None, self._dtype, values=own)
        self._proved: set[tuple] = set()

    @neutral()
    def __call__(self, x: Any) -> Jacobian:
        """J at inputs ``x``, [n, ...].

        Raises:
            ModelError: if the network mixes examples, or returns NaN or infinite outputs.
            DataError: if the inputs are empty or do not fit.
        """
        x = self._point.inputs(x)
        kind = x.kind
        recipe = self._recipes.get(kind)
        if recipe is None:
            recipe = find_recipe(self._point, x)
        if kind not in self._proved or recipe.fallback:
            found = jacobian_at(self._point, x, recipe)
            self._recipes[kind] = found.recipe
            self._proved.add(kind)
            return found
        made = trace(self._point, x, recipe.decided)
        if recipe.matching(made) is not recipe:
            return jacobian_at(self._point, x, recipe)
        along = torch.eye(recipe.classes, dtype=self._dtype, device=self._point.device)
        directions = [row.expand(len(x), -1) for row in along]
        uses = structured_terms(made, list(recipe.layouts), directions)
        shapes = {name: leaf.shape for name, leaf in self._point.leaves.items()}
        terms = {name: merged(found) for name, found in uses.items()}
        keep_private(terms, [*x.tensors, *self._point.leaves.values(), *self._point.constants.values()])
        return Jacobian(made.outputs.detach(), terms, shapes, recipe)


class RepeatedKernel:
    """The kernel of a network at the same inputs as it is trained.

    ``empirical_ntk`` proves the factors against autograd in every call, for as much as a backward pass and their
    product. Here that is done by ``prove``; a later call only checks that the forward pass does what the proved
    ones did, and takes the full way where it does not. Prove it at points where no gradient vanishes: at a zero
    there is nothing to see.

    Args:
        memory_budget: bytes to use; by default half of what is free.
    """

    def __init__(self, memory_budget: int | None = None) -> None:
        self._budget = memory_budget
        self._recipe: Recipe | None = None

    def prove(self, model: nn.Module, x: Any, layerwise: bool = False) -> dict[str, Tensor]:
        """The kernel with all proofs; parameters that fell back before, fall back.

        Raises:
            ModelError, DataError, KernelError: as ``empirical_ntk``.
        """
        return self._run(model, x, layerwise, proved=False)

    def __call__(self, model: nn.Module, x: Any, layerwise: bool = False) -> dict[str, Tensor]:
        """The full kernel, [n, n, C, C], by the name of the layer, "" for all where they are not kept apart."""
        return self._run(model, x, layerwise, proved=self._recipe is not None)

    def _run(self, model: nn.Module, x: Any, layerwise: bool, proved: bool) -> dict[str, Tensor]:
        recipe = self._recipe if proved else None
        job = KernelJob(model, x, None, "full", None, self._budget, None, recipe)
        if not proved and self._recipe is not None:
            job.leave_to_fallback(self._recipe.fallback)
        found = job.run(False, layerwise)
        self._recipe = job.recipe1
        return found if isinstance(found, dict) else {"": found}
