"""Layers in NTK parametrisation: weights are standard normal, the scale sits in the forward pass."""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ntkgap.errors import ModelError


def check_positive_integers(**sizes: int) -> None:
    """Refuse sizes that are not positive integers, naming the argument.

    Raises:
        ModelError: for the first size that is not an integer of at least 1.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ModelError(f"{name} must be an integer of at least 1, got {size!r}")


def check_scales(**scales: float) -> None:
    """Refuse standard deviations that are negative or not finite, naming the argument.

    Raises:
        ModelError: for the first scale that is negative, infinite or not a number.
    """
    for name, scale in scales.items():
        if not math.isfinite(scale) or scale < 0:
            raise ModelError(f"{name} must be a finite number of at least 0, got {scale!r}")


class NTKLinear(nn.Module):
    r"""Dense layer in NTK parametrisation.

    .. math:: z = \frac{\sigma_w}{\sqrt{d}} W x + \sigma_b b, \qquad W_{ij}, b_i \sim N(0, 1)

    with :math:`d` input features. Gradient descent with one learning rate for all layers then has a
    well-defined infinite-width limit (Jacot, Gabriel, Hongler 2018).

    Args:
        in_features: number of inputs d.
        out_features: number of outputs.
        weight_std: σ_w, at least 0.
        bias_std: σ_b; 0 means a layer without bias.
        generator: source of the random initial values; torch's global one if not given.

    Shapes: input [..., in_features], output [..., out_features].

    Raises:
        ModelError: if a size is not a positive integer or a scale is negative or not finite.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive_integers(in_features=in_features, out_features=out_features)
        check_scales(weight_std=weight_std, bias_std=bias_std)
        self.in_features = in_features
        self.out_features = out_features
        self.weight_std = weight_std
        self.bias_std = bias_std
        self.weight = nn.Parameter(torch.randn(out_features, in_features, generator=generator))
        self.bias = nn.Parameter(torch.randn(out_features, generator=generator)) if bias_std > 0 else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        # Scaling the input keeps the weight itself in the product: kernels see a plain linear layer.
        z = F.linear(x * (self.weight_std / math.sqrt(self.in_features)), self.weight)
        return z if self.bias is None else z + self.bias_std * self.bias

    def extra_repr(self) -> str:
        """Sizes and scales, as shown by ``print(model)``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"weight_std={self.weight_std:g}, bias_std={self.bias_std:g}"
        )
