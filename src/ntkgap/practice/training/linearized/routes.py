"""Ways to J w, the derivative of a network at θ0 in one direction: the cheapest first, and the surest last."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ntkgap.errors import ModelError
from ntkgap.kernels.empirical.rules.written_out import WrittenOut
from ntkgap.models.forward_mode import forward_derivative, is_transformed
from ntkgap.practice.training.linearized.network_at_start import Evaluation, dot


@dataclass(frozen=True)
class Route:
    """One way to f(x; θ0) and J(x; θ0) w.

    Attributes:
        name: for users.
        product: of the reverse passes; None for forward mode.
        written_out: whether fused functions are replaced by what they compute.
    """

    name: str
    product: "Callable[[Adjoint, Sequence[Tensor]], Tensor] | None" = None
    written_out: bool = False

    def __call__(self, evaluation: Evaluation, step: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The value, and the derivative in the direction ``step``, which can be differentiated by it."""

        def outputs(*values: Tensor) -> Tensor:
            with WrittenOut() if self.written_out else nullcontext():
                return evaluation.outputs(*values)

        by_inputs = torch.is_grad_enabled() and any(x.requires_grad for x in evaluation.inputs())
        if self.product is None:
            return forward_derivative(outputs, evaluation.start, step, linear=not by_inputs)
        if is_transformed():
            raise TransformError(
                f"{type(evaluation.network).__name__} has no forward-mode derivative, without which its "
                "linearized model cannot be used inside of torch.func (grad, vmap, jvp, ...); use torch.autograd"
            )
        if by_inputs:
            raise ModelError(
                f"the linearized model of {type(evaluation.network).__name__} has no gradient with respect to its "
                "inputs, for want of a forward-mode derivative; pass x.detach() if none is needed"
            )
        with torch.enable_grad():
            leaves = [value.detach().requires_grad_() for value in evaluation.start]
            adjoint = Adjoint(outputs(*leaves), leaves, self.product)
        return adjoint.outputs.detach(), _Product.apply(adjoint, *step)


class TransformError(ModelError, RuntimeError):
    """A linearized model cannot be used inside of transforms of torch.func; kernels then do without them."""


class Adjoint:
    """v ↦ Jᵀv by reverse mode, and w ↦ J w from it; the graph of one forward pass is kept for both.

    Args:
        outputs: f(x; θ0), with its graph.
        leaves: θ0, to differentiate by.
        product: one of the two functions below.
    """

    def __init__(
        self, outputs: Tensor, leaves: list[Tensor], product: "Callable[[Adjoint, Sequence[Tensor]], Tensor]"
    ) -> None:
        self.outputs, self.leaves, self._product = outputs, leaves, product
        self.linear: tuple[Tensor, list[Tensor]] | None = None

    def transposed(self, v: Tensor, create_graph: bool = False) -> list[Tensor]:
        """Jᵀv, one tensor for each leaf."""
        if not self.outputs.requires_grad:
            return [torch.zeros_like(leaf, requires_grad=False) for leaf in self.leaves]
        grads = torch.autograd.grad(
            self.outputs, self.leaves, v, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        pairs = zip(grads, self.leaves, strict=True)
        found = [torch.zeros_like(p, requires_grad=False) if g is None else g for g, p in pairs]
        return [g.to_dense() if g.is_sparse else g for g in found]

    def product(self, w: Sequence[Tensor]) -> Tensor:
        """J w, of the shape of the outputs."""
        return self._product(self, w)


def double_backward(adjoint: Adjoint, w: Sequence[Tensor]) -> Tensor:
    """J w as the derivative of ⟨Jᵀu, w⟩ with respect to u, in which it is linear: any u will do."""
    if adjoint.linear is None:
        with torch.enable_grad():
            u = torch.zeros_like(adjoint.outputs, requires_grad=True)
            adjoint.linear = u, adjoint.transposed(u, create_graph=True)
    u, grads = adjoint.linear
    pairs = [(g, direction) for g, direction in zip(grads, w, strict=True) if g.requires_grad]
    if not pairs:
        return torch.zeros_like(u, requires_grad=False)
    parts, directions = zip(*pairs, strict=True)
    (out,) = torch.autograd.grad(parts, u, directions, retain_graph=True, allow_unused=True)
    return torch.zeros_like(u, requires_grad=False) if out is None else out


def row_by_row(adjoint: Adjoint, w: Sequence[Tensor]) -> Tensor:
    """J w with one backward pass for each of the outputs: slow, and possible wherever gradients are."""
    out = adjoint.outputs.detach()
    entries = []
    for i in range(out.numel()):
        choice = out.new_zeros(out.numel())
        choice[i] = 1.0
        entries.append(dot(adjoint.transposed(choice.view(out.shape)), w).to(out))
    return torch.stack(entries).view(out.shape) if entries else torch.zeros_like(out)


class _Product(torch.autograd.Function):
    """w ↦ J w; its derivative is the next one, whose derivative is this: any number of times."""

    @staticmethod
    def forward(ctx: Any, adjoint: Adjoint, *w: Tensor) -> Tensor:
        ctx.adjoint = adjoint
        return adjoint.product(w)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        return None, *_Transposed.apply(ctx.adjoint, v)


class _Transposed(torch.autograd.Function):
    """v ↦ Jᵀv."""

    @staticmethod
    def forward(ctx: Any, adjoint: Adjoint, v: Tensor) -> Any:
        ctx.adjoint = adjoint
        return tuple(adjoint.transposed(v))

    @staticmethod
    def backward(ctx: Any, *w: Tensor) -> Any:
        return None, _Product.apply(ctx.adjoint, *w)


ROUTES = (
    Route("forward mode"),
    Route("forward mode, fused functions written out", written_out=True),
    Route("double backward", double_backward, written_out=True),
    Route("reverse mode, one output at a time", row_by_row),
)
