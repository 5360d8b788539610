"""Wide residual networks, with no normalization that couples examples."""

from torch import Generator, Tensor, nn

from ntkgap.models.checks import check_choice, check_positive_integers
from ntkgap.models.image_readout import image_readout
from ntkgap.models.input_checks import ImageInput
from ntkgap.models.normalization import NORMALIZATIONS, activation
from ntkgap.models.output_scale import Network, scaled_parametrization
from ntkgap.models.parametrizations import LayerFactory


class PreactivationBlock(nn.Module):
    """x + conv φ conv φ(x), with a 1×1 convolution of φ(x) for a shortcut where shapes change (He et al. 2016).

    Args:
        factory: makes the convolutions.
        cin: number of input channels.
        cout: number of output channels.
        stride: of the first convolution.
        nonlinearity: name from ``ntkgap.models.NONLINEARITIES``.
        padding_mode: ``"zeros"`` or ``"circular"``.
        normalization: ``"group"`` or ``"batch"`` puts one before each nonlinearity, None does not.

    Shapes: input [n, cin, H, W], output [n, cout, ⌈H/stride⌉, ⌈W/stride⌉].
    """

    def __init__(
        self,
        factory: LayerFactory,
        cin: int,
        cout: int,
        stride: int,
        nonlinearity: str,
        padding_mode: str,
        normalization: str | None,
    ) -> None:
        super().__init__()
        self.activation = activation(cin, nonlinearity, normalization)
        self.residual = nn.Sequential(
            factory.conv(cin, cout, 3, stride=stride, padding=1, padding_mode=padding_mode),
            activation(cout, nonlinearity, normalization),
            factory.conv(cout, cout, 3, padding=1, padding_mode=padding_mode),
        )
        changes = stride != 1 or cin != cout
        self.shortcut = factory.conv(cin, cout, 1, stride=stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, cin, H, W] to [n, cout, H', W']."""
        active = self.activation(x)
        return (x if self.shortcut is None else self.shortcut(active)) + self.residual(active)


class WideResNet(Network):
    """Wide residual network: three stages of pre-activation blocks, each at half the resolution of the one before.

    A 3×3 convolution, stages of ``depth`` blocks with ``width``, 2·``width`` and 4·``width`` channels,
    the mean over pixels and a linear readout. The stages are those of WRN-(6·depth+4)-k (Zagoruyko &
    Komodakis 2016) with width 16·k; the first convolution grows with them. BatchNorm, which couples the examples
    of a batch, is there only if asked for: per-example Jacobians exist in evaluation mode alone.

    Args:
        in_channels: number of input channels.
        out_features: number of outputs C.
        width: channels of the first stage.
        depth: blocks of every stage, at least 1.
        nonlinearity: name from ``ntkgap.models.NONLINEARITIES``.
        parametrization: ``"ntk"``, ``"standard"``, ``"mean_field"`` or ``"mup"``.
        normalization: None, ``"group"`` or ``"batch"``, before every nonlinearity.
        padding_mode: ``"zeros"`` or ``"circular"``.
        weight_std, bias_std, alpha, gamma0, antisymmetric, generator: as for ``MLP``.

    Shapes: input [n, in_channels, H, W], output [n, out_features]. With group normalization the last stage
    must have more than one pixel, so H and W are at least 5.

    Raises:
        ModelError: if a size is not a positive integer, a scale is out of range, a name is unknown or does not go
            with another; when called, if the input does not hold images of the right layout and size.

    Example:
        >>> net = ng.WideResNet(in_channels=3, out_features=10, width=4, depth=1)
        >>> net(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_features: int,
        width: int,
        depth: int,
        nonlinearity: str = "relu",
        parametrization: str = "ntk",
        *,
        normalization: str | None = None,
        padding_mode: str = "zeros",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        alpha: float = 1.0,
        gamma0: float | None = None,
        antisymmetric: bool = False,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(in_channels=in_channels, out_features=out_features, width=width, depth=depth)
        check_choice("normalization", normalization, NORMALIZATIONS)
        parametrization = scaled_parametrization(parametrization, gamma0)
        factory = LayerFactory(width, parametrization, weight_std, bias_std, generator=generator)
        layers: list[nn.Module] = [
            factory.conv(in_channels, width, 3, "input", padding=1, padding_mode=padding_mode)
        ]
        widths = [width]
        for stage in range(3):
            for i in range(depth):
                channels = width * 2**stage
                stride = 2 if stage > 0 and i == 0 else 1
                block = PreactivationBlock(
                    factory, widths[-1], channels, stride, nonlinearity, padding_mode, normalization
                )
                layers.append(block)
                widths += [channels, channels]
        layers.append(activation(widths[-1], nonlinearity, normalization))
        layers += image_readout(factory, widths[-1], out_features, "global_average", None)
        super().__init__(
            ImageInput(in_channels, least=5 if normalization == "group" else 1),
            layers,
            widths,
            alpha=alpha,
            gamma0=gamma0,
            antisymmetric=antisymmetric,
        )
        self.in_channels, self.out_features = in_channels, out_features
        self.width, self.depth = width, depth
