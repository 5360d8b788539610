"""The Jacobian of a network's outputs with respect to its parameters, at a point of parameter space or at many."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.autograd_check import check_separate, disagreeing
from ntkgap.kernels.empirical.collect import (
    TOGETHER,
    Term,
    difference,
    merged,
    per_example_gradients,
    structured_terms,
)
from ntkgap.kernels.empirical.contraction import contract, mirror
from ntkgap.kernels.empirical.factors import Lookup, Outer, Patches, Rows
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.network.selection import ParameterSelection
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.recipe import Recipe, find_recipe
from ntkgap.kernels.empirical.tracing import trace
from ntkgap.kernels.neutral import neutral


class Replanned(Exception):
    """More parameters need the fallback than was planned for; ``recipe`` knows them."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe


class Evaluation:
    """The network at some examples, ready for backward passes.

    With ``strict`` what was not planned for is not done: ``terms`` raises :class:`Replanned` where the recipe does
    not hold, before it takes the memory of the fallback. ``room``: see ``structured_terms``. ``checked``: the
    factors were compared with autograd before, at these inputs and other parameters, and are not again.

    Attributes:
        outputs: f(x; θ), [n, C], without a graph.
        recipe: the recipe, adapted to this forward pass.
    """

    def __init__(
        self,
        point: Point,
        x: Inputs,
        recipe: Recipe,
        strict: bool = False,
        room: int = TOGETHER,
        checked: bool = False,
    ) -> None:
        self._point, self._strict, self._planned, self._room = point, strict, recipe.fallback.keys(), room
        self._made = trace(point, x, recipe.decided)
        self.recipe = recipe.matching(self._made)
        self.outputs = self._made.outputs.detach()
        if len(x) >= 3 and not checked:
            rows = torch.tensor([len(x) // 2, len(x) - 1], device=point.device)
            check_separate(point, self._made, rows, point.values(x[rows]))
        self._checked = checked

    def terms(self, along: Tensor, examples_first: bool = False) -> dict[str, Term]:
        """Gradients of combinations of the outputs, one merged term a parameter.

        Args:
            along: the combinations, [c, C]; rows of the identity pick outputs.
            examples_first: how to store them, see ``structured_terms``.
        """
        n = self.outputs.shape[0]
        directions = [row.expand(n, -1) for row in along]
        found = structured_terms(self._made, list(self.recipe.layouts), directions, examples_first, self._room)
        terms = {name: merged(uses) for name, uses in found.items() if name not in self.recipe.fallback}
        if not self._checked:  # the recipe was checked on three examples only
            names = [name for name in self._point.leaves if name not in self.recipe.fallback]
            wrong = disagreeing(self._point, self._made, terms, along, names)
            reason = "its structured gradient fails the check against autograd on some examples"
            self.recipe = self.recipe.without(dict.fromkeys(wrong, reason)) if wrong else self.recipe
            self._checked = True
        if self._strict and self.recipe.fallback.keys() > self._planned:
            raise Replanned(self.recipe)
        terms = {name: term for name, term in terms.items() if name not in self.recipe.fallback}
        if self.recipe.fallback:
            found_rows = per_example_gradients(
                self._point, self._made.x, list(self.recipe.fallback), along, self._made.tolerance
            )
            for name, rows in found_rows.items():
                terms[name] = Term(Part(name, self._point.leaves[name].detach()), Rows(rows))
        return terms

    def release(self) -> None:
        """Let go of the forward pass: no more gradients will be asked for."""
        del self._made


class Jacobian:
    """J(θ) of the stacked outputs f(x; θ), remembered for products with other Jacobians.

    Layers are kept in factored form (what the layer saw, and the gradients of the outputs with respect to
    what it returned); the n·C × P matrix itself is never formed for them. Later changes of the network do
    not reach it.

    Attributes:
        outputs: f(x; θ), [n, C].
        recipe: how it was obtained; can be given to :func:`jacobian` for the same network.
        terms: factored gradients, by parameter.
    """

    def __init__(
        self, outputs: Tensor, terms: dict[str, Term], shapes: dict[str, torch.Size], recipe: Recipe
    ) -> None:
        self.outputs = outputs
        self.recipe = recipe
        self.terms = terms
        self._shapes = shapes

    @neutral()
    def gram(self, other: "Jacobian | None" = None) -> Tensor:
        """J Jᵀ, or J J'ᵀ with the Jacobian at other inputs or other parameter values: [n, n', C, C].

        Raises:
            KernelError: if ``other`` is of another network, dtype or device.
        """
        symmetric = other is None or other is self
        other = self if other is None else other
        self._check_comparable(other)
        (n1, c1), (n2, c2) = self.outputs.shape, other.outputs.shape
        kernel = self.outputs.new_zeros(c1, n1, c2, n2)
        contract(lambda _: kernel, self.terms, other.terms, symmetric)
        if symmetric:
            mirror(kernel)
        return kernel.permute(1, 3, 0, 2)

    @neutral()
    def vjp(self, v: Tensor) -> dict[str, Tensor]:
        """Jᵀ v for v of shape [n, C], by parameter name."""
        if v.shape != self.outputs.shape:
            raise KernelError(
                f"v has shape {tuple(v.shape)}, the outputs {tuple(self.outputs.shape)}: they must agree"
            )
        v = v.to(self.outputs).mT
        return {
            name: self.terms[name].transposed_product(v).view(shape) if name in self.terms else v.new_zeros(shape)
            for name, shape in self._shapes.items()
        }

    @neutral()
    def jvp(self, w: Mapping[str, Tensor]) -> Tensor:
        """J w for w by parameter name, each of the parameter's shape: [n, C]."""
        if {name: v.shape for name, v in w.items()} != self._shapes:
            raise KernelError(
                f"w must hold a tensor of the parameter's shape for each of {', '.join(self._shapes)}, no other"
            )
        product = torch.zeros_like(self.outputs.mT)
        for name, term in self.terms.items():
            product = product + term.product(w[name].to(self.outputs).flatten())
        return product.mT

    @neutral()
    def matrix(self) -> Tensor:
        """J written out, [n·C, P], parameters flattened one after another; for small networks only."""
        n, c = self.outputs.shape
        blocks = [
            self.terms[name].explicit() if name in self.terms else self.outputs.new_zeros(c, n, shape.numel())
            for name, shape in self._shapes.items()
        ]
        return torch.cat(blocks, dim=2).transpose(0, 1).reshape(n * c, -1)

    @neutral()
    def __sub__(self, other: "Jacobian") -> "Jacobian":
        """J − J', both at the same inputs, in factors that hold the differences: nothing cancels later on.

        The Gram matrix of the result is (J − J')(J − J')ᵀ with a relative error of ε‖J‖/‖J − J'‖, where
        subtracting Gram matrices would give the square of that.

        Raises:
            KernelError: if ``other`` is of another network, dtype, device or number of examples.
        """
        self._check_comparable(other)
        if self.outputs.shape != other.outputs.shape:
            raise KernelError(
                f"the two Jacobians have {tuple(self.outputs.shape)} and {tuple(other.outputs.shape)} outputs"
                "; a difference needs the same inputs"
            )
        names = [name for name in self._shapes if name in self.terms or name in other.terms]
        terms = {name: difference(self.terms.get(name), other.terms.get(name)) for name in names}
        return Jacobian(self.outputs - other.outputs, terms, self._shapes, self.recipe)

    def _check_comparable(self, other: "Jacobian") -> None:
        if self._shapes != other._shapes:
            raise KernelError("the two Jacobians are with respect to different parameters; use the same network")
        if (self.outputs.dtype, self.outputs.device) != (other.outputs.dtype, other.outputs.device):
            raise KernelError(
                f"the two Jacobians are {self.outputs.dtype} on {self.outputs.device} and "
                f"{other.outputs.dtype} on {other.outputs.device}; evaluate both alike"
            )


@neutral()
def jacobian(
    model: nn.Module,
    x: Any,
    *,
    parameters: ParameterSelection = None,
    dtype: torch.dtype | None = None,
    recipe: Recipe | None = None,
    checked: bool = False,
) -> Jacobian:
    """Evaluate the Jacobian of ``model`` at inputs ``x`` of shape [n, ...] and its present parameters.

    Args:
        model: maps n examples to [n, ...], each on its own; C numbers an example.
        x: n inputs: a tensor, a tuple or a mapping, as in :func:`empirical_ntk`.
        parameters: names, parameters, modules or a filter; by default all that require grad.
        dtype: precision to compute in; by default the model's own.
        recipe: of an earlier Jacobian of the same network at inputs of the same shape, to skip the probe.
        checked: whether that was at these inputs, and at parameters at which no gradient vanishes: then it is not
            compared with autograd again, which for wide networks takes a third of the time. That the forward pass
            does what the checked one did is checked all the same.

    Raises:
        ModelError: if the model has no trainable parameters, mixes the examples, or does not return finite
            [n] or [n, C] outputs.
        DataError: if the inputs are empty, or of another dtype or device than the model.
        KernelError: if ``parameters`` selects nothing.
    """
    point = Point(model, parameters, dtype)
    x = point.inputs(x)
    found = find_recipe(point, x) if recipe is None else recipe
    return jacobian_at(point, x, found, checked=checked and recipe is not None)


def jacobian_at(point: Point, x: Inputs, recipe: Recipe, strict: bool = False, checked: bool = False) -> Jacobian:
    """The Jacobian at a point whose recipe is known, all examples at once; the rest as for ``Evaluation``."""
    evaluation = Evaluation(point, x, recipe, strict, checked=checked)
    terms = evaluation.terms(torch.eye(recipe.classes, dtype=point.float_dtype, device=point.device))
    keep_private(terms, [*x.tensors, *point.leaves.values(), *point.constants.values()])
    shapes = {name: leaf.shape for name, leaf in point.leaves.items()}
    return Jacobian(evaluation.outputs.clone(), terms, shapes, evaluation.recipe)


def keep_private(terms: dict[str, Term], owned: list[Tensor]) -> None:
    """Copy what shares memory with the caller's tensors."""
    pointers = {t.untyped_storage().data_ptr() for t in owned if t.layout == torch.strided}
    for term in terms.values():
        factor = term.factor
        if isinstance(factor, Lookup):
            factor.index = factor.index.clone()
        elif isinstance(factor, Outer):
            seen = factor.a.x if isinstance(factor.a, Patches) else factor.a
            if seen.untyped_storage().data_ptr() not in pointers:
                continue
            factor.a = replace(factor.a, x=seen.clone()) if isinstance(factor.a, Patches) else seen.clone()


class RepeatedJacobian:
    """The Jacobian of a network that changes less often than it is asked, as a bandit's does.

    ``jacobian`` casts the parameters and checks the factors against autograd in every call, which for a few
    inputs of a wide network takes most of the time. Here both are done at the first call and at the first one
    after ``refresh``, for each shape that examples have. Between them a forward pass is still checked to do what
    the checked one did; where it does not, or where a parameter has no factors, the full way is taken.

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
        self._checked: set[tuple] = set()

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
        if kind not in self._checked or recipe.fallback:
            found = jacobian_at(self._point, x, recipe)
            self._recipes[kind] = found.recipe
            self._checked.add(kind)
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
