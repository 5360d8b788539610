"""The Jacobian of a network's outputs with respect to its parameters, at a point of parameter space or at many."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.collect import Term, difference, merged, structured_terms, trace
from ntkgap.kernels.empirical.contraction import contract, mirror
from ntkgap.kernels.empirical.evaluation import Evaluation
from ntkgap.kernels.empirical.factors import Lookup, Outer, Patches
from ntkgap.kernels.empirical.inputs import Inputs
from ntkgap.kernels.empirical.ntk import KernelJob
from ntkgap.kernels.empirical.point import Point
from ntkgap.kernels.empirical.recipe import Recipe, find_recipe
from ntkgap.kernels.empirical.selection import ParameterSelection
from ntkgap.kernels.neutral import neutral


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


class RepeatedKernel:
    """The kernel of a network at the same inputs as it is trained.

    ``empirical_ntk`` checks the factors against autograd in every call, for as much as a backward pass and their
    product. Here that is done by ``checked``; a later call only looks whether the forward pass does what the
    checked ones did, and takes the full way where it does not. Check it at points where no gradient vanishes: at a
    zero there is nothing to see.

    Args:
        memory_budget: bytes to use; by default half of what is free.
    """

    def __init__(self, memory_budget: int | None = None) -> None:
        self._budget = memory_budget
        self._recipe: Recipe | None = None

    def checked(self, model: nn.Module, x: Any, layerwise: bool = False) -> dict[str, Tensor]:
        """The kernel, checked against autograd; parameters that fell back before, fall back.

        Raises:
            ModelError, DataError, KernelError: as ``empirical_ntk``.
        """
        return self._run(model, x, layerwise, checked=False)

    def __call__(self, model: nn.Module, x: Any, layerwise: bool = False) -> dict[str, Tensor]:
        """The full kernel, [n, n, C, C], by the name of the layer, "" for all where they are not kept apart."""
        return self._run(model, x, layerwise, checked=self._recipe is not None)

    def _run(self, model: nn.Module, x: Any, layerwise: bool, checked: bool) -> dict[str, Tensor]:
        recipe = self._recipe if checked else None
        job = KernelJob(model, x, None, "full", None, self._budget, None, recipe)
        if not checked and self._recipe is not None:
            job.leave_to_fallback(self._recipe.fallback)
        found = job.run(False, layerwise)
        self._recipe = job.recipe1
        return found if isinstance(found, dict) else {"": found}
