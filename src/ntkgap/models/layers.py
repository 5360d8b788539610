"""Dense and convolutional layers whose scale sits in the forward pass, in the initial variance, or in both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ntkgap.errors import ModelError
from ntkgap.models.checks import check_choice, check_positive_integers, check_scales

PADDING_MODES = ("zeros", "circular")


@dataclass(frozen=True)
class Initialization:
    """How a layer starts, and how its parameters enter the forward pass.

    The layer computes with the effective weight W = weight_scale · w, where the parameter w has
    independent entries N(0, weight_std²); its effective bias is bias_scale · b, with b ~ N(0, bias_std²).
    A layer without bias has ``bias_scale = bias_std = 0``.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1))
        >>> _ = nn.init.normal_(net[0].weight, std=0.3), nn.init.zeros_(net[0].bias)
        >>> start = ng.models.Initialization(weight_scale=1.0, weight_std=0.3)
        >>> limit = ng.infinite_width(net, initializations={"0": start})
        >>> limit.nngp(torch.eye(4)).shape
        torch.Size([4, 4])
    """

    weight_scale: float
    weight_std: float
    bias_scale: float = 1.0
    bias_std: float = 0.0


class _Scaled(nn.Module):
    """What scaled layers share: where their values come from and what is multiplied by which number.

    Attributes:
        initialization: see ``Initialization``.
        learning_rate_factors: what ``parameter_groups`` multiplies the learning rate by, first by
            optimizer ("sgd", "adam"), then by parameter ("weight", "bias"); 1 where nothing is said.
    """

    initialization: Initialization
    learning_rate_factors: Mapping[str, Mapping[str, float]]
    weight: Tensor
    bias: Any  # a Tensor or None; torch's two base classes declare it differently

    def _start(
        self,
        initialization: Initialization,
        learning_rate_factors: Mapping[str, Mapping[str, float]] | None,
        generator: Generator | None,
    ) -> None:
        if self.bias is None:
            initialization = replace(initialization, bias_scale=0.0, bias_std=0.0)
        self.initialization = initialization
        self.learning_rate_factors = learning_rate_factors or {}
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw all parameters anew; from torch's global source of randomness if no generator is given."""
        if "initialization" not in self.__dict__:
            return  # torch's constructor calls this before the scales are known
        nn.init.normal_(self.weight, std=self.initialization.weight_std, generator=generator)
        if self.bias is not None:
            nn.init.normal_(self.bias, std=self.initialization.bias_std, generator=generator)

    def _scaled_input(self, x: Tensor) -> Tensor:
        # Scaling the input keeps the weight itself in the product: kernels see a plain layer.
        scale = self.initialization.weight_scale
        return x if scale == 1 else x * scale

    def _scaled_bias(self) -> Tensor | None:
        scale = self.initialization.bias_scale
        return self.bias if self.bias is None or scale == 1 else scale * self.bias

    def extra_repr(self) -> str:
        """Sizes and scales, as shown by ``print(model)``."""
        start = self.initialization
        said = f"{super().extra_repr()}, W = {start.weight_scale:.4g}·N(0, {start.weight_std:.4g}²)"
        return said if self.bias is None else f"{said}, b = {start.bias_scale:.4g}·N(0, {start.bias_std:.4g}²)"


class ScaledLinear(_Scaled, nn.Linear):
    """Dense layer z = weight_scale · W x + bias_scale · b with normal W and b: any parametrization.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        initialization: the scales.
        bias: whether there is a bias.
        learning_rate_factors: see ``parameter_groups``; 1 for every parameter if not given.
        generator: source of the random initial values; torch's global one if not given.

    Shapes: input [..., in_features], output [..., out_features].

    Raises:
        ModelError: if a size is not a positive integer.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        initialization: Initialization,
        *,
        bias: bool = False,
        learning_rate_factors: Mapping[str, Mapping[str, float]] | None = None,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(in_features=in_features, out_features=out_features)
        super().__init__(in_features, out_features, bias=bias)
        self._start(initialization, learning_rate_factors, generator)

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        return F.linear(self._scaled_input(input), self.weight, self._scaled_bias())


class ScaledConv2d(_Scaled, nn.Conv2d):
    """Convolution with the scales of ``ScaledLinear``: any parametrization.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: side of the patches, or (height, width).
        initialization: the scales.
        stride: step between patches, or (vertical, horizontal).
        padding: pixels added at each side, or (vertical, horizontal), or ``"same"`` (stride 1 only).
        padding_mode: ``"zeros"`` or ``"circular"``.
        bias: whether there is a bias.
        learning_rate_factors: see ``parameter_groups``; 1 for every parameter if not given.
        generator: source of the random initial values; torch's global one if not given.

    Shapes: input [n, in_channels, H, W], output [n, out_channels, H', W'].

    Raises:
        ModelError: if a size is not a positive integer or the padding is unknown or cannot be had.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        initialization: Initialization,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        padding_mode: str = "zeros",
        bias: bool = False,
        learning_rate_factors: Mapping[str, Mapping[str, float]] | None = None,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(in_channels=in_channels, out_channels=out_channels)
        kernel_size = pair("kernel_size", kernel_size, 1)
        stride = pair("stride", stride, 1)
        check_choice("padding_mode", padding_mode, PADDING_MODES)
        if not isinstance(padding, str):
            padding = pair("padding", padding, 0)
        elif padding != "same":
            raise ModelError(f"unknown padding {padding!r}; give a number of pixels, a pair of them, or 'same'")
        elif stride != (1, 1):
            raise ModelError(f"padding='same' needs stride 1, got stride {stride}; give the padding in pixels")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            bias=bias,
            padding_mode=padding_mode,  # type: ignore[arg-type]  # one of the known ones, as checked above
        )
        self._start(initialization, learning_rate_factors, generator)

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, in_channels, H, W] to [n, out_channels, H', W']."""
        x, bias = self._scaled_input(input), self._scaled_bias()
        if self.kernel_size == (1, 1) and self.stride != (1, 1) and self.padding == (0, 0):
            # With few channels, and pixels channels last, the backward pass of oneDNN 3.12 writes past its buffer:
            # gradients are wrong or the process dies (github.com/uxlfoundation/oneDNN/issues/6035). The same
            # pixels at stride 1 are safe, and no slower.
            down, right = self.stride
            return F.conv2d(x[:, :, ::down, ::right], self.weight, bias)
        return self._conv_forward(x, self.weight, bias)


class NTKLinear(ScaledLinear):
    r"""Dense layer in NTK parametrization.

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

    Example:
        >>> layer = ng.NTKLinear(10, 5, weight_std=2**0.5)
        >>> layer(torch.zeros(3, 10)).shape
        torch.Size([3, 5])
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
        check_positive_integers(in_features=in_features, out_features=out_features)
        start = ntk_initialization(in_features, weight_std, bias_std)
        super().__init__(in_features, out_features, start, bias=bias_std > 0, generator=generator)
        self.weight_std, self.bias_std = weight_std, bias_std


class NTKConv2d(ScaledConv2d):
    r"""Convolution in NTK parametrization.

    .. math:: z = \frac{\sigma_w}{\sqrt{k_1 k_2 c}}\, W * x + \sigma_b b, \qquad W_{ijkl}, b_i \sim N(0, 1)

    with :math:`c` input channels and a :math:`k_1 \times k_2` kernel (Arora et al. 2019).

    Args:
        cin: number of input channels c.
        cout: number of output channels.
        kernel_size: side of the patches, or (height, width).
        stride: step between patches, or (vertical, horizontal).
        padding: pixels added at each side, or (vertical, horizontal), or ``"same"`` (stride 1 only).
        padding_mode: ``"zeros"`` or ``"circular"``.
        weight_std: σ_w, at least 0.
        bias_std: σ_b; 0 means a layer without bias.
        generator: source of the random initial values; torch's global one if not given.

    Shapes: input [n, cin, H, W], output [n, cout, H', W'].

    Raises:
        ModelError: if a size is not a positive integer, a scale is negative or not finite, or the
            padding is unknown or cannot be had.

    Example:
        >>> ng.NTKConv2d(3, 16, 3, padding="same")(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        padding_mode: str = "zeros",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        *,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(cin=cin, cout=cout)
        start = ntk_initialization(cin * math.prod(pair("kernel_size", kernel_size, 1)), weight_std, bias_std)
        super().__init__(
            cin,
            cout,
            kernel_size,
            start,
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            bias=bias_std > 0,
            generator=generator,
        )
        self.weight_std, self.bias_std = weight_std, bias_std


def ntk_initialization(fan_in: int, weight_std: float, bias_std: float) -> Initialization:
    """Standard normal parameters, σ_w/√fan_in and σ_b in the forward pass.

    Raises:
        ModelError: if a scale is negative or not finite.
    """
    check_scales(weight_std=weight_std, bias_std=bias_std)
    return Initialization(weight_std / math.sqrt(fan_in), 1.0, bias_std, 1.0)


def pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    """One number for both image axes, or one for each.

    Raises:
        ModelError: if it is neither an integer nor a pair of them, or below ``least``.
    """
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else ()
    if len(both) != 2 or any(isinstance(v, bool) or not isinstance(v, int) or v < least for v in both):
        raise ModelError(f"{name} must be an integer of at least {least} or a pair of them, got {value!r}")
    return both
