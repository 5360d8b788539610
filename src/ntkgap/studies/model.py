"""Which networks the studies look at."""

from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Generator, nn

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.models import MLP, Antisymmetric, ConvNet, ShallowNet, WideResNet
from ntkgap.studies.spec import Spec

OF_LAYERS = ("depth", "parametrization", "weight_std", "bias_std", "alpha", "gamma0", "antisymmetric", "trained")
IDLE = {"shallow": (*OF_LAYERS, "pooling"), "mlp": ("pooling",), "wideresnet": ("pooling",), "convnet": ()}


class ModelSpec(Spec):
    """A network up to its width.

    Attributes:
        architecture: ``"shallow"`` (one trained hidden layer, fixed readout of signs), ``"mlp"``, or, for images,
            ``"convnet"`` (3×3 convolutions at full resolution) or ``"wideresnet"`` (three stages of residual
            blocks).
        nonlinearity: its name.
        depth: hidden layers of the MLP, convolutions of the convolutional network, blocks a stage of the residual
            one.
        parametrization: ``"ntk"``, ``"standard"``, ``"mean_field"`` or ``"mup"``, not of the shallow network.
        weight_std: σ_w, not of the shallow network.
        bias_std: σ_b, not of the shallow network.
        alpha: α, what the output is multiplied by: large is lazy; not of the shallow network.
        gamma0: γ0, the rich-lazy dial of NTK parametrisation; not of the shallow network.
        antisymmetric: whether the network starts at zero, as the difference of two copies; not of the shallow one.
        pooling: ``"global_average"`` or ``"flatten"``, before the readout of the convolutional network.
        trained: ``"all"`` parameters, or the ``"hidden"`` layers alone with a fixed readout, as in theorems;
            the shallow network has a fixed readout anyway.
    """

    architecture: Literal["shallow", "mlp", "convnet", "wideresnet"]
    nonlinearity: str = "relu"
    depth: int = Field(default=1, ge=1)
    parametrization: Literal["ntk", "standard", "mean_field", "mup"] = "ntk"
    weight_std: float = Field(default=1.0, gt=0)
    bias_std: float = Field(default=0.0, ge=0)
    alpha: float = Field(default=1.0, gt=0)
    gamma0: float | None = Field(default=None, gt=0)
    antisymmetric: bool = False
    pooling: Literal["global_average", "flatten"] = "global_average"
    trained: Literal["all", "hidden"] = "all"

    @model_validator(mode="after")
    def _no_idle_settings(self) -> Self:
        for name in IDLE[self.architecture]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect on architecture {self.architecture!r}; leave it out")
        return self

    @property
    def one_limit(self) -> bool:
        """Whether the infinite-width kernel is the same at every width."""
        return self.parametrization == "ntk" and self.gamma0 is None

    def build(self, data: Dataset, width: int, generator: Generator) -> nn.Module:
        """The network of a width, for inputs and targets like those of ``data``.

        Raises:
            StudyError: if the shallow network is asked for more than its one output, or a network for images
                for anything else.
            ModelError: if the nonlinearity is unknown.
        """
        network = self._network(data, width, generator)
        if self.trained == "hidden":
            for layer in readouts(network):
                layer.requires_grad_(False)
        return network

    def _network(self, data: Dataset, width: int, generator: Generator) -> nn.Module:
        settings = self.model_dump(exclude={"architecture", "trained", *IDLE[self.architecture]})
        if self.architecture == "mlp":
            return MLP(data.n_features, data.n_outputs, width, generator=generator, **settings)
        if self.architecture == "shallow":
            if data.n_outputs != 1:
                raise StudyError(
                    f"the shallow network has one output, but the data have {data.n_outputs} targets; "
                    "choose another problem (--problem) or architecture 'mlp'"
                )
            return ShallowNet(data.n_features, width, self.nonlinearity, generator=generator)
        if data.x.ndim != 4:
            remedy = "choose images with flatten false, or architecture 'mlp'"
            if data.x.ndim == 3:
                remedy = "give grey images their one channel, x[:, None], or choose architecture 'mlp'"
            raise StudyError(
                f"architecture {self.architecture!r} takes images [n, C, H, W], but the data have x of shape "
                f"{tuple(data.x.shape)}; {remedy}"
            )
        channels, height, width_of_image = data.x.shape[1:]
        if self.architecture == "wideresnet":
            return WideResNet(channels, data.n_outputs, width, generator=generator, **settings)
        settings["image_size"] = (height, width_of_image)
        return ConvNet(channels, data.n_outputs, width, generator=generator, **settings)


def readouts(network: nn.Module) -> list[nn.Module]:
    """The last dense layer, of both copies where the network is the difference of two."""
    pairs = [(m.plus, m.minus) for m in network.modules() if isinstance(m, Antisymmetric)]
    stacks = pairs[0] if pairs else (network,)
    return [[m for m in stack.modules() if isinstance(m, nn.Linear)][-1] for stack in stacks]
