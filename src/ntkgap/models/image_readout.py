"""From the last feature maps of an image network to its outputs."""

from torch import nn

from ntkgap.errors import ModelError
from ntkgap.models.checks import check_choice
from ntkgap.models.parametrizations import LayerFactory

POOLINGS = ("global_average", "flatten")


def image_readout(
    factory: LayerFactory, channels: int, out_features: int, pooling: str, pixels: tuple[int, int] | None
) -> list[nn.Module]:
    """Average over all pixels, or one weight a pixel; then the readout.

    Args:
        factory: makes the readout.
        channels: of the last feature maps.
        out_features: number of outputs C.
        pooling: ``"global_average"`` or ``"flatten"``.
        pixels: (height, width) of the last feature maps, which ``"flatten"`` needs.

    Raises:
        ModelError: if the pooling is unknown, or needs a size that is not given.
    """
    check_choice("pooling", pooling, POOLINGS)
    if pooling == "global_average":
        readout = factory.linear(channels, out_features, "output")
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), readout]
    if pixels is None:
        raise ModelError("pooling='flatten' has a weight for every pixel: give image_size, one number or (H, W)")
    return [nn.Flatten(), factory.linear(channels * pixels[0] * pixels[1], out_features, "output")]
