"""Decide, on a few examples, how the Jacobian of a network can be had, and prove it before it is used."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.errors import ModelError
from ntkgap.kernels.empirical.factors import Rows
from ntkgap.kernels.empirical.fallback import per_example_gradients
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.point import Point, check_finite
from ntkgap.kernels.empirical.rules.base import Batch
from ntkgap.kernels.empirical.terms import Term, merged, transposed_product
from ntkgap.kernels.empirical.tracing import Recorder, Trace, Use

_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}


@dataclass
class Recipe:
    """How to get the Jacobian of one network at any inputs of one shape.

    Attributes:
        axes: for each use in the order of the forward pass, the axis that holds the examples, or None where
            the use is left to the fallback.
        signature: what a forward pass must do for the recipe to hold.
        fallback: parameters without a structured rule, with the reason.
    """

    axes: list[int | None]
    signature: tuple
    fallback: dict[str, str]

    def matching(self, made: Trace) -> "Recipe":
        """This recipe if ``made`` is the forward pass it is for, else one that leaves everything to the fallback."""
        if _signature(made) == self.signature:
            return self
        names = {part.name for use in made.uses for part in use.call.roles.values()} | made.unknown.keys()
        reason = "the forward pass depends on the values of the inputs"
        return Recipe([None] * len(made.uses), self.signature, self.fallback | dict.fromkeys(names, reason))


def trace(point: Point, x: Tensor) -> Trace:
    """Run the network once and note every use of the point's leaves."""
    recorder = Recorder(point.leaves)
    with torch.enable_grad(), recorder:
        outputs = point(x)
    check_finite(outputs.detach(), point.model)
    return Trace(outputs, recorder.uses, recorder.unknown)


def _signature(made: Trace) -> tuple:
    return tuple(use.signature for use in made.uses)


def structured_terms(
    point: Point, made: Trace, recipe: Recipe, directions: list[Tensor]
) -> dict[str, list[Term]]:
    """Factored per-example gradients of the combinations ``directions`` ([n, C] each) of the outputs."""
    n = made.outputs.shape[0]
    wanted = [(use, axis) for use, axis in zip(made.uses, recipe.axes, strict=True) if axis is not None]
    grads = [
        torch.empty(len(directions), *use.shape, dtype=made.outputs.dtype, device=made.outputs.device)
        for use, _ in wanted
    ]
    edges = [use.edge for use, _ in wanted]
    for c, direction in enumerate(directions if edges else []):
        rows = torch.autograd.grad(made.outputs, edges, direction, retain_graph=True, allow_unused=True)
        for grad, row in zip(grads, rows, strict=True):
            grad[c] = 0.0 if row is None else row
    terms: dict[str, list[Term]] = {}
    for (use, axis), grad in zip(wanted, grads, strict=True):
        for role, factor in use.call.rule.factors(use.call, grad, Batch(axis, n)).items():
            part = use.call.roles[role]
            if part.name not in recipe.fallback:
                terms.setdefault(part.name, []).append(Term(part, factor))
    return terms


def one_hot_directions(outputs: Tensor) -> list[Tensor]:
    """For each output a, the [n, C] matrix that picks f_a of every example."""
    n, c = outputs.shape
    eye = torch.eye(c, dtype=outputs.dtype, device=outputs.device)
    return [eye[a].expand(n, c) for a in range(c)]


def fallback_terms(point: Point, x: Tensor, names: list[str]) -> dict[str, list[Term]]:
    """Explicit per-example gradients for the parameters that have no rule."""
    rows = per_example_gradients(point, x, names)
    return {name: [Term(Part(name, point.leaves[name]), Rows(r))] for name, r in rows.items()}


def find_recipe(point: Point, x: Tensor) -> Recipe:
    """Trace the network on two and on three examples and settle what each use is.

    The axis that grows with the number of examples is the axis of examples. Outputs that change with the
    company an example keeps are refused. What is left is put to the test: Jᵀv from the factors must be what
    autograd says it is, for random v; parameters that fail go to the fallback.

    Raises:
        ModelError: if the outputs of one example depend on the others, or are random.
    """
    n = x.shape[0]
    two, three = (x[torch.arange(k, device=x.device) % n] for k in (2, 3))
    small, large = trace(point, two), trace(point, three)
    _check_separate(point, small.outputs.detach(), large.outputs.detach())
    fallback = {name: f"no rule for {func}" for name, func in (small.unknown | large.unknown).items()}
    signature = _signature(large)
    if signature != _signature(small):
        fallback |= dict.fromkeys(point.leaves, "the forward pass depends on the number of examples")
        return Recipe([None] * len(large.uses), signature, fallback)
    axes = [_growing_axis(a, b) for a, b in zip(small.uses, large.uses, strict=True)]
    for use, axis in zip(large.uses, axes, strict=True):
        if axis is None or not use.unchanged():
            reason = (
                "is applied to all examples at once" if axis is None else "sees inputs that change in place"
            )
            fallback |= {part.name: f"{use.call.rule.name} {reason}" for part in use.call.roles.values()}
    recipe = Recipe(_drop(large.uses, axes, fallback), signature, fallback)
    failed = _failing(point, large, recipe)
    if failed:
        fallback |= dict.fromkeys(failed, "the structured gradient failed its check against autograd")
        recipe = Recipe(_drop(large.uses, axes, fallback), signature, fallback)
    return recipe


def _drop(uses: list[Use], axes: list[int | None], fallback: dict[str, str]) -> list[int | None]:
    """Skip uses all of whose parameters are left to the fallback."""
    needed = [any(p.name not in fallback for p in use.call.roles.values()) for use in uses]
    return [axis if keep else None for axis, keep in zip(axes, needed, strict=True)]


def _growing_axis(small: Use, large: Use) -> int | None:
    if len(small.shape) != len(large.shape):
        return None
    grown = [k for k, (a, b) in enumerate(zip(small.shape, large.shape, strict=True)) if a != b]
    if len(grown) != 1 or small.shape[grown[0]] * 3 != large.shape[grown[0]] * 2:
        return None
    return grown[0]


def _check_separate(point: Point, two: Tensor, three: Tensor) -> None:
    scale = three.abs().max().clamp_min(torch.finfo(three.dtype).tiny)
    off = ((three[:2] - two).abs().max() / scale).item()
    if off > _TOLERANCE.get(three.dtype, 1e-2):
        raise ModelError(
            f"{type(point.model).__name__} has no per-example Jacobian: the outputs of the same example change "
            f"by {off:.1e} (relative) with the other examples in the batch, or from call to call. Put layers "
            "that share statistics or draw random numbers into eval mode, or replace them (e.g. GroupNorm)"
        )


def _failing(point: Point, made: Trace, recipe: Recipe) -> list[str]:
    """Parameters whose Jᵀv, v random, does not come out of the factors as it comes out of autograd."""
    names = [name for name in point.leaves if name not in recipe.fallback]
    if not names:
        return []
    n, c = made.outputs.shape
    options = {"dtype": made.outputs.dtype, "device": made.outputs.device}
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(c, generator=generator).to(**options)
    v = torch.randn(n, generator=generator).to(**options)
    terms = structured_terms(point, made, recipe, [u.expand(n, c)])
    leaves = [point.leaves[name] for name in names]
    if not made.outputs.requires_grad:
        return []
    truth = torch.autograd.grad(made.outputs, leaves, v[:, None] * u, retain_graph=True, allow_unused=True)
    total = max((float(t.norm()) for t in truth if t is not None), default=0.0)
    failed = []
    for name, expected in zip(names, truth, strict=True):
        expected = torch.zeros_like(point.leaves[name], requires_grad=False) if expected is None else expected
        got = (
            transposed_product(merged(terms[name]), v[None]).view_as(expected)
            if name in terms
            else expected.new_zeros(())
        )
        allowed = _TOLERANCE.get(expected.dtype, 1e-2) * (float(expected.norm()) + 1e-3 * total)
        if not float((got - expected).norm()) <= allowed:
            failed.append(name)
    return failed
