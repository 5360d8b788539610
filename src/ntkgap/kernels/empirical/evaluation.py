"""One forward pass over some examples, and gradients of its outputs on demand: factored, or without structure."""

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ntkgap.kernels.empirical.autograd_check import TOLERANCE, check_separate, disagreeing
from ntkgap.kernels.empirical.collect import TOGETHER, Term, merged, structured_terms, trace
from ntkgap.kernels.empirical.factors import Rows
from ntkgap.kernels.empirical.inputs import Inputs
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.point import Point
from ntkgap.kernels.empirical.recipe import Recipe


def per_example_gradients(
    point: Point, x: Inputs, names: list[str], along: Tensor, precision: torch.dtype
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
        if not off <= TOLERANCE.get(precision, 1e-2) * scale:
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
                self._point, self._made.x, list(self.recipe.fallback), along, self._made.precision
            )
            for name, rows in found_rows.items():
                terms[name] = Term(Part(name, self._point.leaves[name].detach()), Rows(rows))
        return terms

    def release(self) -> None:
        """Let go of the forward pass: no more gradients will be asked for."""
        del self._made
