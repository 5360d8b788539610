"""From a forward pass to per-example gradients, one term a parameter: in factors, or without structure."""

import contextlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ntkgap.kernels.empirical.factors import Factor, Lookup, Outer, Rows, alike, dense
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.parts import Derived, Part
from ntkgap.kernels.empirical.rules.base import Batch
from ntkgap.kernels.empirical.tracing import STUMBLES, Trace, Use


@dataclass
class Term:
    """The gradient through one use of (a part of) a parameter, or through several that were merged."""

    part: Part
    factor: Factor

    def explicit(self) -> Tensor:
        """The gradients with respect to the whole parameter, [C, n, p]."""
        return self.part.to_parameter(self.factor.explicit())

    def transposed_product(self, v: Tensor) -> Tensor:
        """Σ_{c,i} v[c, i] J[c, i] for the whole parameter, flat, for v of shape [C, n]."""
        return self.part.to_parameter(self.factor.transposed_product(v))

    def product(self, w: Tensor) -> Tensor:
        """J w for w of the whole parameter, flat: [C, n]."""
        return self.factor.product(self.part.from_parameter(w))

    def squared_norms(self) -> Tensor:
        """‖J[c, i]‖², [C, n]."""
        if self.part.copies:
            return self.explicit().square().sum(-1)
        return self.part.scale**2 * self.factor.squared_norms()

    def in_full(self) -> "Term":
        """The same gradients, explicit and in the parameter's own layout."""
        return Term(self.part.of_whole(), Rows(self.explicit()))

    def folded(self) -> "Term":
        """The outputs laid side by side as one: the Gram matrix of the result is the sum over outputs."""
        return Term(self.part, self.factor.folded())


def merged(terms: list[Term]) -> Term:
    """One term for a parameter that may have been used more than once: uses add up before any product."""
    if len(terms) == 1:
        return terms[0]
    outers = [t.factor for t in terms if isinstance(t.factor, Outer)]
    same = all(alike(t.factor, terms[0].factor) and t.part.same_entries(terms[0].part) for t in terms)
    if len(outers) == len(terms) and same:
        # Σ_u Σ_s g_us ⊗ a_us: further uses are just further positions.
        g = torch.cat([dense(o.g) for o in outers], 3)
        a = torch.cat([dense(o.a) * t.part.scale for o, t in zip(outers, terms, strict=True)], 2)
        return Term(replace(terms[0].part, scale=1.0), Outer(g, a, outers[0].flipped))
    rows = terms[0].explicit()
    for term in terms[1:]:
        rows = rows + term.explicit()
    return Term(terms[0].part.of_whole(), Rows(rows))


def of_parameters(found: dict[str, list[Term]]) -> dict[str, list[Term]]:
    """The same terms with those of tensors derived from parameters passed on to the parameters."""
    passed: dict[str, list[Term]] = {}
    for name, uses in found.items():
        part = uses[0].part
        if not isinstance(part, Derived):
            passed.setdefault(name, []).extend(uses)
            continue
        rows = merged(uses).factor.explicit()
        for leaf, grads in part.pulled_back(rows.flatten(0, 1)).items():
            whole = Part(leaf, grads.new_empty(0), shape=part.leaves[leaf].shape)
            passed.setdefault(leaf, []).append(Term(whole, Rows(grads.view(*rows.shape[:2], -1))))
    return passed


def difference(one: Term | None, two: Term | None) -> Term:
    """The gradient of f minus that of f', in factors of differences where the factors allow it."""
    if one is None or two is None:
        only = one or two
        assert only is not None
        rows = only.explicit()
        return Term(only.part.of_whole(), Rows(rows if two is None else -rows))
    f1, f2 = one.factor, two.factor
    if one.part.scale == two.part.scale and one.part.same_entries(two.part) and alike(f1, f2):
        if isinstance(f1, Outer) and isinstance(f2, Outer) and f1.sizes == f2.sizes:
            return Term(one.part, f1.shifted(f2))
        if isinstance(f1, Lookup) and isinstance(f2, Lookup) and torch.equal(f1.index, f2.index):
            return Term(one.part, Lookup(f1.g - f2.g, f1.index, f1.entries))
        if isinstance(f1, Rows) and isinstance(f2, Rows):
            return Term(one.part, Rows(f1.rows - f2.rows))
    return Term(one.part.of_whole(), Rows(one.explicit() - two.explicit()))


#: Bytes of gradients up to which directions go through the graph together: what stays in a cache.
TOGETHER = 8 * 2**20


@dataclass(frozen=True)
class Layout:
    """Where a use has its examples: the axis, and whether they are inside of other rows merged with them.

    ``inputs`` are the axes of what the rule noted, None where it cannot be told.
    """

    axis: int
    inner: bool = False
    inputs: tuple[int, ...] | None = None


def structured_terms(
    made: Trace,
    layouts: list[Layout | None],
    along: list[Tensor],
    examples_first: bool = False,
    room: int = TOGETHER,
) -> dict[str, list[Term]]:
    """Per-example gradients, in factors, of combinations of the outputs.

    One backward pass a direction, stopped at what the layers returned: gradients of parameters are never
    computed. The sum over examples is differentiated; the recipe has checked that this separates them.

    Args:
        made: the forward pass.
        layouts: for each use where its examples are; None to skip it.
        along: directions, [n, C] each.
        examples_first: how to store the gradients; outputs come first otherwise.
        room: bytes of gradients that may be on their way at a time, beside those that are stored.

    Returns:
        parameter -> the terms its uses contribute.
    """
    n = made.outputs.shape[0]
    wanted = [(use, at) for use, at in zip(made.uses, layouts, strict=True) if at is not None]
    grads = _gradients(made.outputs, [use for use, _ in wanted], along, examples_first, room)
    _share_equal(grads)
    terms: dict[str, list[Term]] = {}
    for (use, at), grad in zip(wanted, grads, strict=True):
        # What a rule stumbles over is left out: the check of the parameter's gradient will miss it.
        with contextlib.suppress(*STUMBLES):
            found = use.call.rule.factors(use.call, grad, Batch(at.axis, n, at.inner, at.inputs))
            for role, factor in found.items():
                part = use.call.roles[role]
                terms.setdefault(part.name, []).append(Term(part, factor))
    return of_parameters(terms)


def _gradients(
    outputs: Tensor, uses: list[Use], along: list[Tensor], examples_first: bool, room: int
) -> list[Tensor]:
    """Gradients with respect to what the uses returned, [C, *shape] each.

    Where they are small, several directions go through the graph together.
    """
    edges = [use.edge for use in uses]
    grads = [_buffer(outputs, len(along), use.shape, examples_first) for use in uses]
    together = max(1, min(room, TOGETHER) // (sum(use.shape.numel() for use in uses) * outputs.element_size() + 1))
    lo = 0
    while edges and lo < len(along):
        some = along[lo : lo + together]
        try:
            rows = torch.autograd.grad(
                outputs,
                edges,
                some[0] if len(some) == 1 else torch.stack(some),
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=len(some) > 1,
            )
        except RuntimeError:
            if len(some) == 1:
                raise
            together = 1  # a function that knows no batches of directions
            continue
        for grad, row in zip(grads, rows, strict=True):
            grad[lo : lo + len(some)] = 0.0 if row is None else row
        lo += len(some)
    return grads


def _buffer(like: Tensor, count: int, shape: torch.Size, examples_first: bool) -> Tensor:
    if examples_first:
        return like.new_empty(shape[0], count, *shape[1:]).transpose(0, 1)
    return like.new_empty(count, *shape)


def _share_equal(grads: list[Tensor]) -> None:
    """Let neighbors with the same gradient share it: a layer and the bias that is added to what it returns.

    Their contributions are then contracted in one product.
    """
    for k in range(1, len(grads)):
        if grads[k].shape == grads[k - 1].shape and torch.equal(grads[k], grads[k - 1]):
            grads[k] = grads[k - 1]


def per_example_gradients(
    point: Point, x: Inputs, names: list[str], along: Tensor, tolerance: float
) -> dict[str, Tensor]:
    """∂(Σ_a along[c, a] f_a(x_i))/∂θ for the parameters ``names``: name -> [c, n, p].

    What batched reverse mode says is checked against autograd on one example, since some of torch's own functions
    (``cdist``) have wrong derivatives in batches.
    """
    try:
        rows = _batched(point, x, names, along)
    except (RuntimeError, NotImplementedError, UserWarning):
        return rowwise_gradients(point, x, names, along)
    v = torch.randn(len(along), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(along)
    for i in {0, len(x) - 1}:
        alone = rowwise_gradients(point, x[i : i + 1], names, (v @ along)[None])
        scale = max(float(g.norm()) for g in alone.values())
        off = max(float((v @ rows[name][:, i] - alone[name][0, 0]).norm()) for name in names)
        if not off <= tolerance * scale:
            return rowwise_gradients(point, x, names, along)
    return rows


def _batched(point: Point, x: Inputs, names: list[str], along: Tensor) -> dict[str, Tensor]:
    others = {k: leaf.detach() for k, leaf in point.leaves.items() if k not in names}

    def f(leaves: dict[str, Tensor], own: list[Tensor]) -> Tensor:
        one = x.with_leaves([leaf[None] for leaf in own], 1)
        return along @ point(one, others | leaves)[0].to(along)

    wanted = {name: point.leaves[name].detach() for name in names}
    blocks = vmap(jacrev(f), (None, 0))(wanted, x.own_leaves())  # name -> [n, c, ...]
    return {name: block.reshape(*block.shape[:2], -1).transpose(0, 1) for name, block in blocks.items()}


def rowwise_gradients(point: Point, x: Inputs, names: list[str], along: Tensor) -> dict[str, Tensor]:
    """The same as :func:`per_example_gradients` with one backward pass for each row: possible wherever any is."""
    leaves = [point.leaves[name] for name in names]
    rows = [leaf.new_zeros(len(along), len(x), leaf.numel()) for leaf in leaves]
    for i in range(len(x)):
        with torch.enable_grad():
            outputs = point(x[i : i + 1])[0]
        for c, direction in enumerate(along.to(outputs)):
            grads = torch.autograd.grad(outputs, leaves, direction, retain_graph=True, allow_unused=True)
            for of_leaf, grad in zip(rows, grads, strict=True):
                if grad is not None:
                    of_leaf[c, i] = grad.flatten()
    return {name: of_leaf.detach() for name, of_leaf in zip(names, rows, strict=True)}
