"""J v, Jᵀ u and J Jᵀ u, from factors that are kept or by automatic differentiation block by block."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ntkgap.kernels.empirical.collect import rowwise_gradients
from ntkgap.kernels.empirical.factors import Outer, Patches
from ntkgap.kernels.empirical.jacobian import Jacobian
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.rules.written_out import WrittenOut
from ntkgap.kernels.empirical.tracing import trace

# Examples on which a way to derivatives is checked.
CHECKED = 8


class Products(ABC):
    """The products that an operator is built from; u is [n, C]."""

    outputs: Tensor  # [n, C]

    @abstractmethod
    def gram_product(self, u: Tensor) -> Tensor:
        """J Jᵀ u, [n, C]."""

    def squared_norms(self) -> Tensor | None:
        """‖J[i, a]‖², [n, C], where it is cheap."""
        return None


class KeptFactors(Products):
    """Products with factors in memory.

    For a dense layer K u = Σ_j ⟨a_i, a_j⟩ ⟨g_ai, Σ_b u_jb g_bj⟩ costs 2 (nS)² o, going through the parameter
    4 n S o d; the cheaper is taken.
    """

    def __init__(self, jacobian: Jacobian) -> None:
        self.outputs = jacobian.outputs
        self._terms = jacobian.terms
        self._dense: dict[str, tuple[Tensor, Tensor]] = {}  # name -> ([C, n·S, o], [n·S, n·S])
        for name, term in self._terms.items():
            factor = term.factor
            if not isinstance(factor, Outer) or isinstance(factor.g, Patches) or isinstance(factor.a, Patches):
                continue
            (k, s, _, d), n = factor.sizes, len(self.outputs)
            if k == 1 and n * s < 2 * d and not term.part.copies:
                a = factor.a[:, 0].flatten(0, 1)
                self._dense[name] = factor.g[:, :, 0].flatten(1, 2), term.part.scale**2 * (a @ a.mT)

    def gram_product(self, u: Tensor) -> Tensor:
        """J Jᵀ u, [n, C]."""
        v = u.mT.contiguous()  # [C, n]
        total = torch.zeros_like(v)
        for name, term in self._terms.items():
            if name not in self._dense:
                total += term.product(term.transposed_product(v))
                continue
            g, inputs = self._dense[name]
            positions = g.shape[1] // v.shape[1]
            carried = g.new_zeros(g.shape[1:])
            for of_class, weights in zip(g, v, strict=True):
                carried.addcmul_(of_class, weights.repeat_interleave(positions)[:, None])
            mixed = inputs @ carried
            for row, of_class in zip(total, g, strict=True):
                row += torch.linalg.vecdot(of_class, mixed).view(-1, positions).sum(1)
        return total.mT

    def squared_norms(self) -> Tensor:
        """‖J[i, a]‖², [n, C]."""
        total = torch.zeros_like(self.outputs.mT)
        for term in self._terms.values():
            total += term.squared_norms()
        return total.mT


class Streamed(Products):
    """Products by automatic differentiation over blocks of examples: nothing larger than parameters is kept.

    Jᵀu is one backward pass; J v is the derivative of the backward pass with respect to u, which it is
    linear in (double backward: works almost wherever gradients do, forward mode does not).
    """

    def __init__(self, point: Point, x: Inputs, block: int, outputs: Tensor) -> None:
        self._point, self._blocks = point, x.split(block)
        self._derivatives: Callable[[Inputs, list[list[Tensor]]], list[Tensor]] | None = None
        self.outputs = outputs

    def gram_product(self, u: Tensor) -> Tensor:
        """J Jᵀ u, [n, C]."""
        return self.product(self.transposed_product(u))

    def transposed_product(self, u: Tensor) -> list[Tensor]:
        """Jᵀ u, by parameter."""
        leaves = list(self._point.leaves.values())
        total = [torch.zeros_like(leaf, requires_grad=False) for leaf in leaves]
        for x, part in zip(self._blocks, u.split(len(self._blocks[0])), strict=True):
            with torch.enable_grad():
                outputs = self._point(x)
            for t, g in zip(total, torch.autograd.grad(outputs, leaves, part, allow_unused=True), strict=True):
                if g is not None:
                    t += g
        return total

    def product(self, w: list[Tensor]) -> Tensor:
        """J w, [n, C]."""
        return self.products([w])[0]

    def products(self, directions: list[list[Tensor]]) -> list[Tensor]:
        """J w of several w, which share the passes; the way to it is checked against Jᵀ on the first examples."""
        if self._derivatives is None:
            few = self._blocks[0][:CHECKED]
            self._derivatives = self._doubly if self._agrees(few) else self._row_by_row
        parts = [self._derivatives(x, directions) for x in self._blocks]
        return [torch.cat(found) for found in zip(*parts, strict=True)]

    def _doubly(self, x: Inputs, directions: list[list[Tensor]]) -> list[Tensor]:
        leaves = list(self._point.leaves.values())
        # Fused functions have no second derivative; written out, they have.
        with torch.enable_grad(), WrittenOut():
            outputs = self._point(x)
            u = torch.zeros_like(outputs, requires_grad=True)
            grads = torch.autograd.grad(outputs, leaves, u, create_graph=True, allow_unused=True)
        kept = [k for k, g in enumerate(grads) if g is not None and g.requires_grad]
        if not kept:
            return [torch.zeros_like(outputs) for _ in directions]
        moved = [grads[k] for k in kept]
        return [
            torch.autograd.grad(moved, u, [w[k] for k in kept], retain_graph=w is not directions[-1])[0].detach()
            for w in directions
        ]

    def _row_by_row(self, x: Inputs, directions: list[list[Tensor]]) -> list[Tensor]:
        """One backward pass for each output of each example: where backward passes have no derivative."""
        products = []
        for i in range(len(x)):  # an example at a time: gradients are as large as the parameters
            one = x[i : i + 1]
            classes = self._point.values(one).shape[1]
            along = torch.eye(classes, dtype=self._point.float_dtype, device=self._point.device)
            rows = rowwise_gradients(self._point, one, list(self._point.leaves), along)  # name -> [C, 1, p]
            leaves = [of_leaf[:, 0] for of_leaf in rows.values()]
            products.append(
                [torch.stack([g @ v.flatten() for g, v in zip(leaves, w, strict=True)]).sum(0) for w in directions]
            )
        return [torch.stack(found) for found in zip(*products, strict=True)]

    def _agrees(self, x: Inputs) -> bool:
        """Whether ⟨v, J w⟩ = ⟨Jᵀ v, w⟩ for random v and w."""
        generator = torch.Generator().manual_seed(0)

        def random(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like.detach())

        w = [random(leaf) for leaf in self._point.leaves.values()]
        try:
            forward = self._doubly(x, [w])[0]
        except (RuntimeError, NotImplementedError):
            return False
        v = random(forward)
        with torch.enable_grad():
            made = trace(self._point, x)
        leaves = list(self._point.leaves.values())
        grads = torch.autograd.grad(made.outputs, leaves, v, allow_unused=True)
        backward = [(g, part) for g, part in zip(grads, w, strict=True) if g is not None]
        off = abs(float((v * forward).sum()) - sum(float((g * part).sum()) for g, part in backward))
        scale = sum(float(g.norm() * part.norm()) for g, part in backward)
        return off <= made.tolerance * scale


class StreamedDifference(Products):
    """(J − J₀)(J − J₀)ᵀ u: differences are taken in parameter space, before anything is squared."""

    def __init__(self, one: Streamed, two: Streamed) -> None:
        self._one, self._two = one, two
        self.outputs = one.outputs

    def gram_product(self, u: Tensor) -> Tensor:
        """(J − J₀)(J − J₀)ᵀ u, [n, C]."""
        pairs = zip(self._one.transposed_product(u), self._two.transposed_product(u), strict=True)
        w = [a - b for a, b in pairs]
        return self._one.product(w) - self._two.product(w)
