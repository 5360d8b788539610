"""Small transformers on tokens or on patches of images."""

from torch import Generator, Tensor, nn

from ntkgap.models.attention import SelfAttention
from ntkgap.models.checks import check_positive_integers
from ntkgap.models.input_checks import ImageInput, MeanOverTokens, TokenInput
from ntkgap.models.nonlinearities import make_nonlinearity
from ntkgap.models.output_scale import Network, scaled_parametrization
from ntkgap.models.parametrizations import LayerFactory


class PatchEmbedding(nn.Module):
    """Cut images into square patches and map each to a token.

    Args:
        factory: makes the map.
        channels: of the images.
        width: size of a token.
        patch_size: pixels a side.

    Shapes: input [n, channels, H, W], output [n, H·W/patch_size², width].
    """

    def __init__(self, factory: LayerFactory, channels: int, width: int, patch_size: int) -> None:
        super().__init__()
        self.project = factory.conv(channels, width, patch_size, "input", stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, channels, H, W] to [n, T, width]."""
        return self.project(x).flatten(2).transpose(1, 2)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)): the pre-normalized block (Xiong et al. 2020).

    The normalizations have no parameters of their own, as in the infinite-width limit. The perceptron has
    one hidden layer of 4·width units.

    Shapes: input and output [n, T, width].
    """

    def __init__(self, factory: LayerFactory, width: int, heads: int, scaling: str, nonlinearity: str) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.LayerNorm(width, elementwise_affine=False),
            SelfAttention(width, heads, scaling, factory=factory),
        )
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width, elementwise_affine=False),
            factory.linear(width, 4 * width),
            make_nonlinearity(nonlinearity),
            factory.linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, T, width] to [n, T, width]."""
        x = x + self.attention(x)
        return x + self.perceptron(x)


class Transformer(Network):
    """Encoder of ``depth`` pre-normalized blocks on tokens of size ``width``, mean over tokens, linear readout.

    There is no encoding of positions: the output does not depend on the order of tokens or patches. Add
    your own to the input where order matters.

    Args:
        in_features: size d of an input token; channels of the images where ``patch_size`` is given.
        out_features: number of outputs C.
        width: size of a token inside the network.
        depth: number of blocks, at least 1.
        nonlinearity: name from ``ntkgap.models.NONLINEARITIES``, in the blocks' perceptrons.
        parametrization: ``"ntk"``, ``"standard"``, ``"mean_field"`` or ``"mup"``; the last two ask for
            ``scaling="linear"`` if widths are to be comparable.
        heads: number of heads; divides the width.
        scaling: of the attention's logits, ``"sqrt"`` or ``"linear"``, see ``SelfAttention``.
        patch_size: cut images into patches of so many pixels a side; None for inputs that are tokens.
        weight_std, bias_std, alpha, gamma0, antisymmetric, generator: as for ``MLP``.

    Shapes: input [n, T, in_features], or [n, in_features, H, W] with H and W multiples of patch_size;
    output [n, out_features].

    Raises:
        ModelError: if a size is not a positive integer, a scale is out of range, a name is unknown or does not go
            with another, or the heads do not divide the width; when called, if the input is of another kind.

    Example:
        >>> net = ng.Transformer(in_features=6, out_features=2, width=16, depth=1, heads=2)
        >>> net(torch.zeros(3, 7, 6)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        depth: int,
        nonlinearity: str = "gelu",
        parametrization: str = "ntk",
        *,
        heads: int = 1,
        scaling: str = "sqrt",
        patch_size: int | None = None,
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        alpha: float = 1.0,
        gamma0: float | None = None,
        antisymmetric: bool = False,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(in_features=in_features, out_features=out_features, width=width, depth=depth)
        parametrization = scaled_parametrization(parametrization, gamma0)
        factory = LayerFactory(width, parametrization, weight_std, bias_std, generator=generator)
        entrance: nn.Module
        embedding: nn.Module
        if patch_size is None:
            entrance = TokenInput(in_features)
            embedding = factory.linear(in_features, width, "input")
        else:
            check_positive_integers(patch_size=patch_size)
            entrance = ImageInput(in_features, multiple=patch_size)
            embedding = PatchEmbedding(factory, in_features, width, patch_size)
        layers: list[nn.Module] = [
            embedding,
            *[TransformerBlock(factory, width, heads, scaling, nonlinearity) for _ in range(depth)],
            nn.LayerNorm(width, elementwise_affine=False),
            MeanOverTokens(),
            factory.linear(width, out_features, "output"),
        ]
        super().__init__(
            entrance,
            layers,
            [width] + [width, 4 * width] * depth,
            alpha=alpha,
            gamma0=gamma0,
            antisymmetric=antisymmetric,
        )
        self.in_features, self.out_features = in_features, out_features
        self.width, self.depth = width, depth
