"""Two half-lines that meet at zero: ReLU, leaky ReLU, absolute value."""

import math
from typing import Any

import torch
from torch import Tensor

from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.activations.numerics import inverse_square_root, square_root


class ABReLU(Activation):
    r"""φ(x) = a·min(x, 0) + b·max(x, 0), the arc-cosine kernels of order 1 and 0.

    With ρ = c/√(q₁q₂), θ = arccos ρ and k = (a − b)²/2π,

    .. math:: \dot\Sigma = \tfrac{a^2 + b^2}{2} - kθ, \qquad
              \Sigma = \sqrt{q_1 q_2}\,(k\sqrt{1 - ρ^2} + ρ\,\dot\Sigma)

    (Cho & Saul 2009; Tsuchida et al. 2018). A pre-activation of variance 0 is the number 0, whose slope is
    ``at_zero``: a unit that never moves passes no gradient in a ReLU network.

    Args:
        negative: slope a of the left half-line.
        positive: slope b of the right half-line.
        at_zero: φ'(0) as torch differentiates φ.
        name: how messages call φ.
    """

    def __init__(self, negative: float, positive: float, at_zero: float, name: str) -> None:
        self.negative, self.positive, self.at_zero = float(negative), float(positive), float(at_zero)
        self.name, self.odd = name, negative == positive

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        slopes = (self.negative, self.positive, self.at_zero)
        if derivative:
            return _ArcCosine.apply(c, q1.to(c.dtype), q2.to(c.dtype), slopes, True)
        return _ArcCosine.apply(c, q1.to(c.dtype), q2.to(c.dtype), slopes, False)[0], None

    def rounded_covariance(
        self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool
    ) -> tuple[Tensor, Tensor | None]:
        r"""See ``Activation.rounded_covariance``.

        Rounded to float32 are θ and sin θ − ρθ, which is of order θ³: that moves the angle of the next layer by no
        more than its own rounding. Only if φ folds opposite inputs together (ab < 0, as |x| does), angles near π
        are as delicate as those near 0.
        """
        a, b = self.negative, self.positive
        if a * b < 0:
            return self.covariance(c, q1, q2, derivative)
        k, mean, mean_square = (a - b) ** 2 / (2 * math.pi), (a + b) / 2, (a * a + b * b) / 2
        zero1, zero2 = q1 == 0, q2 == 0
        # The factors of q₁ and q₂ are multiplied first: a kernel has the same bits from both sides.
        slopes = c * (q1.rsqrt().masked_fill_(zero1, 0) * q2.rsqrt().masked_fill_(zero2, 0))  # ρ so far
        product = _squared_sine(slopes)  # few tensors, used again: they are to stay in the cache
        sine, rho = product.float().sqrt_(), slopes.float()
        theta = torch.atan2(sine, rho)
        near = sine.addcmul_(theta, rho, value=-1)
        near.mul_(torch.mul((q1.sqrt() * k**0.5).float(), (q2.sqrt() * k**0.5).float(), out=rho))
        product.copy_(near).add_(c, alpha=mean_square)
        if not derivative:
            return product, None
        torch.sub(slopes.new_tensor(mean_square), slopes.copy_(theta), alpha=k, out=slopes)
        if bool(zero1.any()) or bool(zero2.any()):  # there ρ is 0, and the formula gives mean²
            slope1, slope2 = (torch.full_like(q, mean).masked_fill(q == 0, self.at_zero) for q in (q1, q2))
            slopes = slopes.sub_(mean * mean).addcmul_(slope1, slope2)
        return product, slopes

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        mean_square = (self.negative**2 + self.positive**2) / 2
        if not derivative:
            return q * mean_square, None
        return q * mean_square, torch.full_like(q, mean_square).masked_fill(q == 0, self.at_zero**2)


def _squared_sine(rho: Tensor) -> Tensor:
    """1 − ρ², and 0 where ρ is ±1 up to rounding: equal and opposite inputs are then so exactly."""
    rounding = 4 * torch.finfo(rho.dtype).eps
    return torch.addcmul(rho.new_tensor(1 - rounding), rho, rho, value=-1).clamp_min_(0)


class _ArcCosine(torch.autograd.Function):
    """Both expectations of an ABReLU, differentiated by hand.

    Automatic differentiation would subtract infinities where ρ = ±1. By Price's theorem ∂Σ/∂c = Σ̇, and as
    Σ is homogeneous in the scales of u and v, ∂Σ/∂q₁ = (Σ − cΣ̇)/(2q₁).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        c: Tensor, q1: Tensor, q2: Tensor, slopes: tuple[float, float, float], derivative: bool
    ) -> tuple[Tensor, ...]:
        a, b, at_zero = slopes
        k, mean = (a - b) ** 2 / (2 * math.pi), (a + b) / 2
        rho = c * (inverse_square_root(q1) * inverse_square_root(q2))  # the same bits from both sides
        sine = _squared_sine(rho).sqrt_()
        theta = torch.atan2(sine, rho)
        if derivative:
            # Where q is 0, ρ is 0 and the formula gives mean²: put the product of the slopes in its place.
            slope1, slope2 = (torch.full_like(q, mean).masked_fill(q == 0, at_zero) for q in (q1, q2))
            slopes_product = theta.mul_(-k).add_((a * a + b * b) / 2 - mean * mean).addcmul_(slope1, slope2)
        else:
            slopes_product = theta.mul_(-k).add_((a * a + b * b) / 2)
        product = rho.mul_(slopes_product).add_(sine, alpha=k).mul_(square_root(q1) * square_root(q2))
        return (product, slopes_product) if derivative else (product,)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.slopes = inputs[3]

    @staticmethod
    def backward(ctx: Any, grad_product: Tensor, grad_slopes: Tensor | None = None) -> tuple[Tensor | None, ...]:
        c, q1, q2 = ctx.saved_tensors
        a, b, _ = ctx.slopes
        k = (a - b) ** 2 / (2 * math.pi)
        inverse1, inverse2 = inverse_square_root(q1), inverse_square_root(q2)
        rho = c * inverse1 * inverse2
        squared_sine = _squared_sine(rho)
        sine = square_root(squared_sine)
        grad_c = grad_product * ((a * a + b * b) / 2 - k * torch.atan2(sine, rho))
        grad_q1 = grad_product * sine * (k / 2 * inverse1 * square_root(q2))
        grad_q2 = grad_product * sine * (k / 2 * inverse2 * square_root(q1))
        if grad_slopes is not None:
            grad_rho = grad_slopes * k * inverse_square_root(squared_sine)
            grad_c = grad_c + grad_rho * inverse1 * inverse2
            grad_q1 = grad_q1 - grad_rho * rho * (inverse1.square() / 2)
            grad_q2 = grad_q2 - grad_rho * rho * (inverse2.square() / 2)
        return grad_c, grad_q1.sum_to_size(q1.shape), grad_q2.sum_to_size(q2.shape), None, None
