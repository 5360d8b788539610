"""Plain convolutional networks: layers at full resolution, or stages with pooling between them."""

from torch import Generator, nn

from ntkgap.errors import ModelError
from ntkgap.models.checks import check_choice, check_positive_integers
from ntkgap.models.image_readout import image_readout
from ntkgap.models.input_checks import ImageInput
from ntkgap.models.layers import pair
from ntkgap.models.nonlinearities import make_nonlinearity
from ntkgap.models.normalization import NORMALIZATIONS, activation
from ntkgap.models.output_scale import Network, scaled_parametrization
from ntkgap.models.parametrizations import LayerFactory

STAGE_POOLINGS = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


class ConvNet(Network):
    """``depth`` 3×3 convolutions with ``width`` channels at full resolution, and a linear readout.

    Args:
        in_channels: number of input channels.
        out_features: number of outputs C.
        width: channels of every convolution.
        depth: number of convolutions, at least 1.
        nonlinearity: name from ``ntkgap.models.NONLINEARITIES``.
        parametrization: ``"ntk"``, ``"standard"``, ``"mean_field"`` or ``"mup"``.
        image_size: pixels a side or (H, W); needed for ``pooling="flatten"``, checked where given.
        pooling: ``"global_average"`` (mean over pixels before the readout) or ``"flatten"``.
        padding_mode: ``"zeros"`` or ``"circular"`` (no borders: shifts of the image are symmetries).
        normalization: None, ``"group"`` or ``"batch"``, before every nonlinearity; as of ``WideResNet``.
        weight_std, bias_std, alpha, gamma0, antisymmetric, generator: as for ``MLP``.

    Shapes: input [n, in_channels, H, W], output [n, out_features].

    Raises:
        ModelError: if a size is not a positive integer, a scale is out of range, a name is unknown or does not go
            with another; when called, if the input does not hold images of the right layout and size.

    Example:
        >>> net = ng.ConvNet(in_channels=1, out_features=10, width=8, depth=2)
        >>> net(torch.zeros(2, 1, 8, 8)).shape
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
        image_size: int | tuple[int, int] | None = None,
        pooling: str = "global_average",
        padding_mode: str = "zeros",
        normalization: str | None = None,
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        alpha: float = 1.0,
        gamma0: float | None = None,
        antisymmetric: bool = False,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(in_channels=in_channels, out_features=out_features, width=width, depth=depth)
        check_choice("normalization", normalization, NORMALIZATIONS)
        pixels = None if image_size is None else pair("image_size", image_size, 1)
        parametrization = scaled_parametrization(parametrization, gamma0)
        factory = LayerFactory(width, parametrization, weight_std, bias_std, generator=generator)
        layers: list[nn.Module] = []
        for i in range(depth):
            cin, role = (in_channels, "input") if i == 0 else (width, "hidden")
            layers.append(factory.conv(cin, width, 3, role, padding=1, padding_mode=padding_mode))
            layers += activation(width, nonlinearity, normalization)
        layers += image_readout(factory, width, out_features, pooling, pixels)
        super().__init__(
            ImageInput(in_channels, pixels),
            layers,
            [width] * depth,
            alpha=alpha,
            gamma0=gamma0,
            antisymmetric=antisymmetric,
        )
        self.in_channels, self.out_features = in_channels, out_features
        self.width, self.depth = width, depth


class VGG(Network):
    """Stages of 3×3 convolutions with 2×2 pooling between them, after Simonyan & Zisserman 2015.

    The first stage has ``width`` channels; every stage doubles them, up to 8·``width``. Pooling is by
    averages, for which infinite-width kernels exist, and the readout follows the mean over pixels.

    Args:
        in_channels: number of input channels.
        out_features: number of outputs C.
        width: channels of the first stage (64 in the paper).
        depth: number of stages, at least 1 (5 in the paper); the image is halved between stages.
        nonlinearity: name from ``ntkgap.models.NONLINEARITIES``.
        parametrization: ``"ntk"``, ``"standard"``, ``"mean_field"`` or ``"mup"``.
        image_size: pixels a side or (H, W); needed for ``pooling="flatten"``, checked where given.
        convolutions: how many a stage.
        stage_pooling: ``"average"`` or ``"max"``, between stages.
        pooling: ``"global_average"`` (mean over pixels before the readout) or ``"flatten"``.
        padding_mode: ``"zeros"`` or ``"circular"``.
        weight_std, bias_std, alpha, gamma0, antisymmetric, generator: as for ``MLP``.

    Shapes: input [n, in_channels, H, W] with H and W at least 2^(depth−1), output [n, out_features].

    Raises:
        ModelError: if a size is not a positive integer, a scale is out of range, a name is unknown or does not go
            with another, or images are too small to be halved so often; when called, if the input does not hold
            images of the right layout and size.

    Example:
        >>> net = ng.models.VGG(in_channels=3, out_features=10, width=4, depth=2)
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
        image_size: int | tuple[int, int] | None = None,
        convolutions: int = 2,
        stage_pooling: str = "average",
        pooling: str = "global_average",
        padding_mode: str = "zeros",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        alpha: float = 1.0,
        gamma0: float | None = None,
        antisymmetric: bool = False,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(in_channels=in_channels, out_features=out_features, width=width, depth=depth)
        check_positive_integers(convolutions=convolutions)
        check_choice("stage_pooling", stage_pooling, STAGE_POOLINGS)
        pixels = None if image_size is None else pair("image_size", image_size, 1)
        shrink = 2 ** (depth - 1)
        if pixels is not None and min(pixels) < shrink:
            raise ModelError(
                f"images of {pixels} pixels cannot be halved {depth - 1} times between depth={depth} stages; "
                f"use images of at least {shrink} pixels a side or fewer stages"
            )
        parametrization = scaled_parametrization(parametrization, gamma0)
        factory = LayerFactory(width, parametrization, weight_std, bias_std, generator=generator)
        layers: list[nn.Module] = []
        widths: list[int] = []
        for stage in range(depth):
            if stage > 0:
                layers.append(STAGE_POOLINGS[stage_pooling](2))
            for _ in range(convolutions):
                cin, role = (widths[-1], "hidden") if widths else (in_channels, "input")
                widths.append(width * 2 ** min(stage, 3))
                layers.append(factory.conv(cin, widths[-1], 3, role, padding=1, padding_mode=padding_mode))
                layers.append(make_nonlinearity(nonlinearity))
        left = None if pixels is None else (pixels[0] // shrink, pixels[1] // shrink)
        layers += image_readout(factory, widths[-1], out_features, pooling, left)
        super().__init__(
            ImageInput(in_channels, pixels, least=shrink),
            layers,
            widths,
            alpha=alpha,
            gamma0=gamma0,
            antisymmetric=antisymmetric,
        )
        self.in_channels, self.out_features = in_channels, out_features
        self.width, self.depth = width, depth
