"""Which networks the studies look at: ours by their settings, and a user's own by the factory that makes them."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator
from torch import Generator, nn

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.models import MLP, Antisymmetric, ConvNet, ShallowNet, WideResNet
from ntkgap.models.normalization import FrozenBatchNorm2d
from ntkgap.studies.device import moved
from ntkgap.studies.factories import OURS, Factory, factory_of, known_factory, make, takes_width
from ntkgap.studies.faults import TAGS, plain
from ntkgap.studies.spec import Spec

OF_LAYERS = ("depth", "parametrization", "weight_std", "bias_std", "alpha", "gamma0", "antisymmetric", "trained")
OF_IMAGES = ("pooling", "normalization")
IDLE = {"shallow": (*OF_LAYERS, *OF_IMAGES), "mlp": OF_IMAGES, "wideresnet": ("pooling",), "convnet": ()}


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
        gamma0: γ0, the rich-lazy dial of NTK parametrization; not of the shallow network.
        antisymmetric: whether the network starts at zero, as the difference of two copies; not of the shallow one.
        pooling: ``"global_average"`` or ``"flatten"``, before the readout of the convolutional network.
        normalization: ``"group"`` or ``"batch"``, before every nonlinearity of networks for images; none if not
            given. In the optimization study a network normalizes throughout by the statistics of the training set
            at the start; elsewhere batch statistics are used in training, as usual.
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
    normalization: Literal["group", "batch"] | None = None
    trained: Literal["all", "hidden"] = "all"

    @model_validator(mode="after")
    def _no_idle_settings(self) -> Self:
        for name in IDLE[self.architecture]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect on architecture {self.architecture!r}; leave it out")
        return self

    @property
    def one_limit(self) -> bool:
        """Whether there is an infinite-width kernel, the same at every width."""
        return self.parametrization == "ntk" and self.gamma0 is None and self.normalization != "batch"

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
        return moved(network.eval())

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
                remedy = "give gray images their one channel, x[:, None], or choose architecture 'mlp'"
            raise StudyError(
                f"architecture {self.architecture!r} takes images [n, C, H, W], but the data have x of shape "
                f"{tuple(data.x.shape)}; {remedy}"
            )
        channels, height, width_of_image = data.x.shape[1:]
        if self.architecture == "wideresnet":
            return WideResNet(channels, data.n_outputs, width, generator=generator, **settings)
        settings["image_size"] = (height, width_of_image)
        return ConvNet(channels, data.n_outputs, width, generator=generator, **settings)


class OwnCode(Spec):
    """A user's own function.

    Attributes:
        factory: its place, or its name if it was given itself.
        fingerprint: hash of its source or code, and of what that uses.
    """

    factory: str
    fingerprint: str | None = None

    @classmethod
    def of(cls, given: Any) -> "OwnCode":
        """What a user gives: a place or a function, see ``factory_of``; or a module that is called, as a loss is.

        Raises:
            StudyError: if it cannot be loaded.
        """
        if isinstance(given, nn.Module):
            found = factory_of(_calls(given))
            return cls(factory=type(given).__name__, fingerprint=found.fingerprint)
        found = factory_of(given)
        return cls(factory=found.name, fingerprint=found.fingerprint)


def _calls(module: nn.Module) -> Callable[..., Any]:
    return lambda *args: module(*args)


class OwnModel(Spec):
    """A user's own network: the factory that makes it.

    Attributes:
        factory: ``"my_model.py:build"``, ``"package.module:build"``, or the name of a function given itself.
        options: what the factory takes besides the width and what the data say.
        fingerprint: hash of its source and of what that imports from beside it: another source is another cell.
    """

    factory: str
    options: dict[str, Any] = Field(default={})
    fingerprint: str | None = None

    @property
    def own_code(self) -> dict[str | None, str]:
        """Name of a user's factory, by fingerprint; none of one of ours."""
        return {} if self.fingerprint is None and self.factory in OURS else {self.fingerprint: self.factory}

    alpha: ClassVar[float] = 1.0  # the output is as the factory makes it

    @classmethod
    def of(cls, given: Any) -> "OwnModel":
        """What a user gives: see ``factory_of``; or a mapping with a factory and its options.

        Raises:
            StudyError: if it cannot be loaded.
        """
        options: dict[str, Any] = {}
        if isinstance(given, Mapping):
            if "factory" not in given or (unknown := set(given) - {"factory", "options"}):
                what = f"no {', '.join(map(str, unknown))}" if "factory" in given else "a factory"
                raise StudyError(f"model= as a mapping takes factory and options: give it {what}")
            given, options = given["factory"], _plain_options(given.get("options", {}))
        found = factory_of(given)
        try:
            settings = {"factory": found.name, "options": options, "fingerprint": found.fingerprint}
            return cls.model_validate(settings)
        except ValidationError as error:
            raise StudyError(f"options of {found.name}: {plain(error.errors()[0]['msg'])}") from error

    @property
    def made_by(self) -> Factory:
        """The factory.

        Raises:
            StudyError: if the user has not given it to this process.
        """
        return known_factory(self.factory, self.fingerprint)

    @property
    def one_network(self) -> bool:
        """Whether there is a single network, without a width to choose."""
        return not takes_width(self.made_by)

    def build(self, data: Dataset, width: int, generator: Generator) -> nn.Module:
        """The network of a width, for inputs and targets like those of ``data``, in evaluation mode.

        Raises:
            StudyError: as ``make``.
        """
        return moved(make(self.made_by, data, width, self.options, generator).eval())


def _plain_options(options: Any) -> dict[str, Any]:
    """Options as they are kept with a cell.

    Raises:
        StudyError: if they are no mapping, or hold what cannot be written down.
    """
    if not isinstance(options, Mapping):
        raise StudyError(f"options of a factory must be a mapping by argument, got {type(options).__name__}")
    for name, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise StudyError(
                f"options of a factory must be numbers, texts, lists or mappings, and {name} is {value!r:.80}; "
                "choose by a name in the factory, or give a function that has it inside"
            ) from error
    return dict(options)


OWN, IN_HOUSE = TAGS


def _kind_of_network(value: Any) -> str:
    own = isinstance(value, OwnModel) or (isinstance(value, Mapping) and "factory" in value)
    return OWN if own else IN_HOUSE


Network = Annotated[
    Annotated[ModelSpec, Tag(IN_HOUSE)] | Annotated[OwnModel, Tag(OWN)], Discriminator(_kind_of_network)
]
"""A network of a problem: one of ours, or a user's own."""


def readouts(network: nn.Module) -> list[nn.Module]:
    """The last dense layer, of both copies where the network is the difference of two."""
    pairs = [(m.plus, m.minus) for m in network.modules() if isinstance(m, Antisymmetric)]
    stacks = pairs[0] if pairs else (network,)
    return [[m for m in stack.modules() if isinstance(m, nn.Linear)][-1] for stack in stacks]


def notes_on(network: nn.Module) -> list[str]:
    """What a reader has to know of layers that act otherwise in training than in evaluation."""
    found, kept = {}, ""
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            kept = "BatchNorm2d: normalized throughout by the statistics of the training set at the start"
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            found[type(module).__name__] = "statistics of the batch"
        elif isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            found[type(module).__name__] = "random masks"
    return [kept] * bool(kept) + [
        f"{name}: training by gradients uses {what}; kernels, natural gradients and predictions are taken in "
        "evaluation mode. The theory beside it knows nothing of them"
        for name, what in found.items()
    ]
