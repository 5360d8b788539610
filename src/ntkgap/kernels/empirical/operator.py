"""Tangent kernels too large to form, as operators: of one set of inputs or two, and how far they have moved."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.jacobian import Jacobian, Replanned, jacobian_at
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.point import Point, check_finite
from ntkgap.kernels.empirical.network.selection import ParameterSelection
from ntkgap.kernels.empirical.products import KeptFactors, Products, Streamed, StreamedDifference
from ntkgap.kernels.empirical.recipe import Recipe, find_recipe
from ntkgap.kernels.memory import check_budget, free_memory
from ntkgap.kernels.neutral import neutral
from ntkgap.linalg.symmetric_operator import Estimate, SymmetricOperator
from ntkgap.models.substitution import unwrapped

Reference = nn.Module | Mapping[str, Tensor]


class NTKOperator(SymmetricOperator):
    """K = J Jᵀ at a network's present parameters, [n·C, n·C], never formed.

    Products use factors of the Jacobian where they fit the budget, else automatic differentiation block by
    block. The network's parameters must not change while an operator that streams is in use.

    Args:
        model: maps n examples to [n, ...], as in :func:`empirical_ntk`; C numbers an example.
        x: n inputs: a tensor, a tuple or a mapping, as in :func:`empirical_ntk`.
        parameters: names, parameters, modules or a filter; by default all that require grad.
        dtype: precision; by default the model's own.
        memory_budget: bytes to use; by default half of what is free.

    Raises:
        ModelError, DataError, KernelError: as :func:`empirical_ntk`.

    Example:
        >>> net, x = ng.MLP(3, 2, 64, 1).double(), torch.randn(5, 3, dtype=torch.float64)
        >>> operator = ng.NTKOperator(net, x)
        >>> operator.shape
        (10, 10)
        >>> matrix = ng.as_matrix(ng.empirical_ntk(net, x))
        >>> v = torch.randn(10, dtype=torch.float64)
        >>> torch.allclose(operator @ v, matrix @ v)
        True
    """

    @neutral()
    def __init__(
        self,
        model: nn.Module,
        x: Any,
        *,
        parameters: ParameterSelection = None,
        dtype: torch.dtype | None = None,
        memory_budget: int | None = None,
    ) -> None:
        point = Point(model, parameters, dtype)
        x = point.inputs(x)
        recipe = find_recipe(point, x)
        budget = _bytes_to_use(memory_budget, point.device)
        kept = _evaluate_within([point], x, recipe, budget)
        self._products = KeptFactors(kept[0]) if kept else stream(point, x, recipe, budget)
        _describe(self, self._products)

    @neutral()
    def _apply(self, v: Tensor) -> Tensor:
        return self._products.gram_product(v)

    def trace(self, samples: int = 32, seed: int = 0) -> Estimate:
        """Trace: exact where factors are kept, else the mean of zᵀKz over random signs z with its error."""
        norms = self._products.squared_norms()
        return super().trace(samples, seed) if norms is None else Estimate(float(norms.double().sum()))


class JacobianChange(SymmetricOperator):
    """(J(θ) − J(θ₀))(J(θ) − J(θ₀))ᵀ, [n·C, n·C], never formed.

    The difference is taken before anything is squared, so that its relative error is ε‖J‖/‖J − J₀‖ rather
    than the square of that, as it is when Gram matrices are subtracted.

    Args:
        model: the network at θ.
        reference: the network at θ₀, or its parameters (and buffers, if they differ) by name.
        x: inputs, [n, ...].
        parameters: names, or a filter; by default all that require grad.
        dtype: precision; by default the model's own.
        memory_budget: bytes to use; by default half of what is free.

    Example:
        >>> net, x = ng.MLP(3, 1, 16, 1), torch.randn(4, 3)
        >>> start = {name: p.detach().clone() for name, p in net.named_parameters()}
        >>> _ = ng.train(net, (x, x.sum(1, keepdim=True)), learning_rate=0.1, steps=5)
        >>> change = ng.kernels.JacobianChange(net, start, x)
        >>> change.shape, bool(change.trace() > 0)
        ((4, 4), True)
    """

    @neutral()
    def __init__(
        self,
        model: nn.Module,
        reference: Reference,
        x: Any,
        *,
        parameters: ParameterSelection = None,
        dtype: torch.dtype | None = None,
        memory_budget: int | None = None,
    ) -> None:
        one = Point(model, parameters, dtype)
        two = Point(model, list(one.leaves), dtype, values=_values(reference))
        x = one.inputs(x)
        recipe = find_recipe(one, x)
        budget = _bytes_to_use(memory_budget, one.device)
        kept = _evaluate_within([one, two], x, recipe, budget // 2)
        self._products: Products
        if kept:
            self._products = KeptFactors(kept[0] - kept[1])
        else:
            streams = stream(one, x, recipe, budget), stream(two, x, recipe, budget)
            self._products = StreamedDifference(*streams)
        _describe(self, self._products)

    @neutral()
    def _apply(self, v: Tensor) -> Tensor:
        return self._products.gram_product(v)

    def jacobian_norm(self, tolerance: float = 1e-4, max_steps: int = 300, seed: int = 0) -> Estimate:
        """‖J(θ) − J(θ₀)‖₂, the root of the largest eigenvalue, with its error bound."""
        square = self.spectral_norm(tolerance, max_steps, seed)
        root = max(float(square), 0.0) ** 0.5
        return Estimate(root, square.standard_error / (2 * root) if root else square.standard_error**0.5)


class KernelChange(SymmetricOperator):
    """K(θ) − K(θ₀), [n·C, n·C], indefinite and never formed; arguments as :class:`JacobianChange`.

    Example:
        >>> net, x = ng.MLP(3, 1, 16, 1), torch.randn(4, 3)
        >>> start = {name: p.detach().clone() for name, p in net.named_parameters()}
        >>> _ = ng.train(net, (x, x.sum(1, keepdim=True)), learning_rate=0.1, steps=5)
        >>> ng.kernels.KernelChange(net, start, x).shape
        (4, 4)
    """

    semidefinite: ClassVar[bool] = False

    @neutral()
    def __init__(
        self,
        model: nn.Module,
        reference: Reference,
        x: Any,
        *,
        parameters: ParameterSelection = None,
        dtype: torch.dtype | None = None,
        memory_budget: int | None = None,
    ) -> None:
        first = Point(model, parameters, dtype)
        points = first, Point(model, list(first.leaves), dtype, values=_values(reference))
        x = first.inputs(x)
        recipe = find_recipe(points[0], x)
        budget = _bytes_to_use(memory_budget, first.device)
        kept = _evaluate_within(points, x, recipe, budget)
        products: list[Products] = [KeptFactors(at) for at in kept or ()]
        products = products or [stream(point, x, recipe, budget) for point in points]
        self._one, self._two = products
        _describe(self, self._one)

    @neutral()
    def _apply(self, v: Tensor) -> Tensor:
        return self._one.gram_product(v) - self._two.gram_product(v)


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
        self._point = Point(model, None, dtype)
        self._x = self._point.inputs(x)
        self._budget = _bytes_to_use(memory_budget, self._point.device)
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
            self._rows = stream(self._point, self._x, recipe, self._budget)
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


def _describe(operator: SymmetricOperator, products: Products) -> None:
    operator.n, operator.classes = products.outputs.shape
    operator.dtype, operator.device = products.outputs.dtype, products.outputs.device


def _values(reference: Reference) -> dict[str, Tensor]:
    """Parameters and buffers of the reference; buffers that a mapping lacks are those of the network."""
    if isinstance(reference, nn.Module):
        reference = unwrapped(reference)
        return dict(reference.named_parameters()) | dict(reference.named_buffers())
    return dict(reference)


def _bytes_to_use(memory_budget: int | None, device: torch.device) -> int:
    check_budget(memory_budget)
    return memory_budget or free_memory(device) // 2


def _evaluate_within(points: Sequence[Point], x: Inputs, recipe: Recipe, budget: int) -> list[Jacobian] | None:
    """Factored Jacobians at all points, or None where they do not fit the budget.

    That is asked again where the structure found on a few examples does not hold for all, since what is then
    written out takes more.
    """
    while len(points) * _factor_bytes(recipe, len(x), points[0]) <= budget:
        try:
            return [jacobian_at(point, x, recipe, strict=True) for point in points]
        except Replanned as found:
            recipe = recipe.without(found.recipe.fallback)
    return None


def _factor_bytes(recipe: Recipe, n: int, point: Point) -> int:
    """Memory to evaluate and keep the factors of n examples."""
    rows = sum(shape.entries for shape in recipe.shapes.values() if shape.kind == "rows") + recipe.derived_entries
    explicit = rows * point.float_dtype.itemsize * recipe.classes
    return n * (recipe.graph_bytes + (recipe.classes + 1) * recipe.gradient_bytes + 2 * explicit)


def stream(point: Point, x: Inputs, recipe: Recipe, budget: int) -> Streamed:
    """Products by automatic differentiation over blocks of examples that fit the budget."""
    parameters = sum(leaf.numel() * leaf.element_size() for leaf in point.leaves.values())
    # A double backward keeps the graph of a forward and of a backward pass, and gradients of parameters.
    room = max(budget - 3 * parameters, budget // 8)
    block = max(1, min(len(x), room // max(4 * recipe.graph_bytes, 1))) if recipe.separable else 1
    outputs = torch.cat([point.values(part) for part in x.split(block)])
    check_finite(outputs, point.model)
    return Streamed(point, x, block, outputs)
