"""Decide, on a few examples, how the Jacobian of a network is computed, and check that against autograd."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ntkgap.errors import ModelError, NtkgapError
from ntkgap.kernels.empirical.autograd_check import (
    check_separate,
    disagreeing,
    is_separable,
    refuse_hidden,
)
from ntkgap.kernels.empirical.collect import Layout, Term, merged, structured_terms
from ntkgap.kernels.empirical.factors import Lookup, Patches, Rows
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.network.refusals import explained, refuse_coupling_layers
from ntkgap.kernels.empirical.parts import Derived
from ntkgap.kernels.empirical.rules.local import Local
from ntkgap.kernels.empirical.tracing import Trace, Use, trace


@dataclass(frozen=True)
class Recipe:
    """How to get the Jacobian of one network at any inputs of one shape.

    Attributes:
        layouts: for each use in the order of the forward pass, where its examples are, or None where the use
            is left to the fallback.
        signature: what a forward pass must do for the recipe to hold.
        fallback: parameters without a structured rule, with the reason.
        shapes: parameter -> the factors of one example with one output, for planning.
        graph_bytes: memory that the forward pass of one example keeps for the backward pass.
        gradient_bytes: memory of one example's gradients of one output with respect to what layers return.
        classes: number of outputs C.
        separable: whether a batch's gradients are those of its examples one by one, fallback included.
        decided: which axes of tensors made of parameters are that of the examples, see ``Recorder``.
        entries: parameter -> how many numbers it holds.
        derived_entries: numbers in the tensors made of parameters whose gradients are laid out on the way.
    """

    layouts: tuple[Layout | None, ...]
    signature: tuple
    fallback: dict[str, str]
    shapes: dict[str, "Shape"]
    graph_bytes: int
    gradient_bytes: int
    classes: int
    separable: bool = True
    decided: tuple[bool, ...] = ()
    entries: dict[str, int] = field(default_factory=dict, repr=False)
    derived_entries: int = 0

    def matching(self, made: Trace) -> "Recipe":
        """Check that a forward pass is the one this recipe is for; leave what differs to the fallback."""
        if made.signature == self.signature and made.unknown.keys() <= self.fallback.keys():
            return self
        parts = (part for use in made.uses for part in use.call.roles.values())
        names = {name for part in parts for name in part.names} | made.unknown.keys()
        left = self.without(dict.fromkeys(names, "the forward pass depends on the values of the inputs"))
        return replace(left, layouts=(None,) * len(made.uses))

    def without(self, names: dict[str, str]) -> "Recipe":
        """The same with more parameters, given with the reason, left to the fallback."""
        shapes = self.shapes | {name: Shape("rows", self.entries[name]) for name in names}
        return replace(self, fallback=self.fallback | names, shapes=shapes)


@dataclass(frozen=True)
class Shape:
    """The sizes of one parameter's factors: S positions, k groups of o by d, or p explicit entries.

    ``kind`` is "dense" (S = k = 1), "positions", "lookup" or "rows".
    """

    kind: str
    entries: int
    positions: int = 1
    groups: int = 1
    out: int = 0
    into: int = 0


def find_recipe(point: Point, x: Tensor | Inputs, check: bool = True) -> Recipe:
    """Trace the network on two and on three examples and settle what each use is.

    The axis that grows with the number of examples is the axis of examples. Outputs that change with the
    company an example keeps are refused. What is left is put to the test: Jᵀv from the factors must be what
    autograd says it is, for random v; parameters that fail go to the fallback.

    Args:
        point: the network.
        x: inputs, n examples.
        check: False to leave the test to the evaluation of each block, which makes it again in any case; rows
            of several kinds in one axis are tested all the same, to tell them apart.

    Raises:
        ModelError: if the outputs of one example depend on the others, or are random.
    """
    refuse_coupling_layers(point.model)
    with explained(point.model):
        return _decide(point, point.inputs(x), check)


def _decide(point: Point, x: Inputs, check: bool) -> Recipe:
    three, large = _probe(point, x)
    small, graph_bytes = _traced_with_memory(point, three[:2])
    pairs = zip(small.sizes, large.sizes, strict=False)
    decided = tuple((a, b) == (2, 3) for a, b in pairs)
    for made in (small, large):  # an axis of parameters that happens to be as long as the batch
        if tuple(size == len(made.x) for size in made.sizes) != decided:
            small, large = trace(point, three[:2], decided), trace(point, three, decided)
            break
    order = torch.tensor([2, 1, 0], device=point.device)
    backward = point.values(three[order])[order]
    if not large.outputs.requires_grad:
        raise ModelError(
            f"autograd cannot follow the outputs of {type(point.model).__name__} to any selected parameter: they "
            "do not depend on one, or are made under torch.no_grad or detached"
        )
    widths = {made.shape[1] for made in (small.outputs, large.outputs, backward)}
    if len(widths) > 1:
        raise ModelError(
            f"{type(point.model).__name__} returns {' or '.join(map(str, sorted(widths)))} outputs an example, "
            "depending on their values or on the number of examples; kernels need the same number for all"
        )
    # In other company, and in another order: an example must not notice either.
    others = torch.cat([small.outputs.detach(), backward])
    check_separate(point, large, torch.tensor([0, 1, 0, 1, 2], device=point.device), others)
    refuse_hidden(point, large.outputs)
    fallback = {name: f"no rule for {func}" for name, func in (small.unknown | large.unknown).items()}
    layouts: list[Layout | None] = [None] * len(large.uses)
    if large.signature == small.signature:
        layouts = [_layout(a, b) for a, b in zip(small.uses, large.uses, strict=True)]
    for use, at in zip(large.uses, layouts, strict=True):
        if at is None:
            reason = f"{use.call.rule.name} is applied to all examples at once"
            fallback |= {name: reason for part in use.call.roles.values() for name in part.names}
    merged_rows = any(at and use.shape[at.axis] > 3 for use, at in zip(large.uses, layouts, strict=True))
    layouts, failed, shapes = _settle(point, large, layouts, fallback, check or merged_rows)
    fallback |= dict.fromkeys(failed, "its structured gradient failed the check against autograd")
    layouts = _skip(large.uses, layouts, fallback)
    shapes |= {name: Shape("rows", point.leaves[name].numel()) for name in fallback}
    kept = [use for use, at in zip(large.uses, layouts, strict=True) if at is not None]
    gradient_bytes = sum(use.shape.numel() for use in kept) * large.outputs.element_size() // 3
    derived = {part.name: part for use in kept for part in use.call.roles.values() if isinstance(part, Derived)}
    return Recipe(
        tuple(layouts),
        large.signature,
        fallback,
        shapes,
        graph_bytes // 2,
        gradient_bytes,
        large.outputs.shape[1],
        is_separable(point, large, list(fallback)) if fallback else True,
        decided,
        {name: leaf.numel() for name, leaf in point.leaves.items()},
        sum(part.tensor.numel() for part in derived.values()),
    )


def _probe(point: Point, x: Inputs) -> tuple[Inputs, Trace]:
    """Three examples that differ where possible, so that what couples them shows, and a forward pass on them.

    Of fewer than three, copies are made whose floating-point entries are shrunk by up to a tenth. Where the
    network does not take those, plain copies do.
    """
    n = len(x)
    if n >= 3:
        three = x[torch.tensor([0, n // 2, n - 1], device=x.device)]
        return three, trace(point, three)
    copies = x[torch.zeros(3 - n, dtype=torch.long, device=x.device)]
    if x.floating:
        generator = torch.Generator().manual_seed(0)

        def shrunk(tensor: Tensor, _: str) -> Tensor:
            if not tensor.is_floating_point() or tensor.layout != torch.strided:
                return tensor
            noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            return tensor * (1 - 0.1 * noise).to(tensor)

        three = x.joined(copies.map(shrunk))
        try:
            return three, trace(point, three)
        except (NtkgapError, RuntimeError, IndexError, ValueError):
            pass  # outside of what the network takes: the copies are to blame, or plain ones fail too
    three = x.joined(copies)
    return three, trace(point, three)


def _settle(
    point: Point, made: Trace, layouts: list[Layout | None], fallback: dict[str, str], check: bool
) -> tuple[list[Layout | None], list[str], dict[str, Shape]]:
    """Try the layouts; where the check fails on merged rows, try the other order of rows."""
    layouts = _skip(made.uses, layouts, fallback)
    failed, shapes = _failing(point, made, layouts, fallback, check)
    merged_rows = [
        at is not None
        and made.uses[u].shape[at.axis] > made.outputs.shape[0]
        and any(name in failed for part in made.uses[u].call.roles.values() for name in part.names)
        for u, at in enumerate(layouts)
    ]
    if any(merged_rows):
        turned = [
            replace(at, inner=True) if at and turn else at for at, turn in zip(layouts, merged_rows, strict=True)
        ]
        still, other_shapes = _failing(point, made, turned, fallback, check)
        if len(still) < len(failed):
            return turned, still, other_shapes
    return layouts, failed, shapes


def _skip(uses: list[Use], layouts: list[Layout | None], fallback: dict[str, str]) -> list[Layout | None]:
    """Skip uses all of whose parameters are left to the fallback."""
    needed = [any(n not in fallback for p in use.call.roles.values() for n in p.names) for use in uses]
    return [at if keep else None for at, keep in zip(layouts, needed, strict=True)]


def _layout(small: Use, large: Use) -> Layout | None:
    axis = _grown(small.shape, large.shape)
    if axis is None:
        return None
    pairs = list(zip(small.call.inputs, large.call.inputs, strict=True))
    inputs = [_grown(a.shape, b.shape) for a, b in pairs]
    if isinstance(large.call.rule, Local):
        return None if None in inputs else Layout(axis, inputs=tuple(inputs))  # type: ignore[arg-type]
    return Layout(axis)


def _grown(small: torch.Size, large: torch.Size) -> int | None:
    """The one axis that is longer for three examples than for two, in that proportion."""
    if len(small) != len(large):
        return None
    grown = [k for k, (a, b) in enumerate(zip(small, large, strict=True)) if a != b]
    if len(grown) != 1 or small[grown[0]] * 3 != large[grown[0]] * 2:
        return None
    return grown[0]


def _traced_with_memory(point: Point, x: Inputs) -> tuple[Trace, int]:
    """A forward pass and the bytes it keeps: for the backward pass, and as inputs of layers."""
    everything = (*point.leaves.values(), *point.constants.values())
    own = {t.untyped_storage().data_ptr() for t in everything if t.layout == torch.strided}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            return tensor
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            made = trace(point, x)
    except RuntimeError:  # torch.func inside of the network does not go with such hooks: count what layers see
        made = trace(point, x)
        kept |= {-k: use.shape.numel() * point.float_dtype.itemsize for k, use in enumerate(made.uses, start=1)}
    for use in made.uses:
        for tensor in use.call.inputs:
            keep(tensor)
    return made, sum(kept.values())


def _failing(
    point: Point, made: Trace, layouts: list[Layout | None], fallback: dict[str, str], check: bool
) -> tuple[list[str], dict[str, Shape]]:
    """Parameters that fail the check in one random combination of the outputs, and the sizes of all factors.

    Without ``check`` only parameters whose use was not seen are tested.
    """
    names = [name for name in point.leaves if name not in fallback]
    n, c = made.outputs.shape
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(1, c, generator=generator, dtype=torch.float64).to(made.outputs)
    found = structured_terms(made, layouts, [u[0].expand(n, c)])
    terms = {name: merged(uses) for name, uses in found.items() if name in names}
    suspects = names if check else [name for name in names if name not in terms]
    return disagreeing(point, made, terms, u, suspects), {name: shape_of(term) for name, term in terms.items()}


def shape_of(term: Term) -> Shape:
    """The sizes of a parameter's factors."""
    factor, entries = term.factor, term.part.shape.numel()
    if isinstance(factor, Rows):
        return Shape("rows", factor.rows.shape[-1])
    if isinstance(factor, Lookup):
        return Shape("lookup", entries, factor.index.shape[1], out=factor.g.shape[-1])
    k, s, o, d = factor.sizes
    plain = not isinstance(factor.g, Patches) and not isinstance(factor.a, Patches)
    return Shape("dense" if (k, s) == (1, 1) and plain else "positions", entries, s, k, o, d)
