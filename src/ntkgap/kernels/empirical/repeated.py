"""Jacobians of one network again and again, at other inputs and now and then at other parameters."""

from typing import Any

import torch
from torch import nn

from ntkgap.kernels.empirical.collect import structured_terms, trace
from ntkgap.kernels.empirical.jacobian import Jacobian, jacobian_at, keep_private
from ntkgap.kernels.empirical.point import Point
from ntkgap.kernels.empirical.recipe import Recipe, find_recipe
from ntkgap.kernels.empirical.terms import merged
from ntkgap.kernels.modes import neutral


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
