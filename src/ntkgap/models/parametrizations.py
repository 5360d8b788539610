"""The parametrizations of width: where the powers of the width sit decides what training does to the features."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator

from ntkgap.errors import ModelError
from ntkgap.models.checks import check_choice, check_positive_integers, check_scales
from ntkgap.models.layers import (
    Initialization,
    NTKConv2d,
    NTKLinear,
    ScaledConv2d,
    ScaledLinear,
    ntk_initialization,
    pair,
)

ROLES = ("input", "hidden", "output")


@dataclass(frozen=True)
class Place:
    """Where a layer stands in its network.

    Attributes:
        role: ``"input"`` (fan-in independent of the width), ``"hidden"`` or ``"output"`` (the readout).
        fan_in: number of inputs of a unit, k·k·channels for a convolution.
        width: the width m of the network.
    """

    role: str
    fan_in: int
    width: int


def standard(place: Place, weight_std: float, bias_std: float) -> Initialization:
    """Weights w ~ N(0, σ_w²/fan_in), no multiplier: abc = (0, ½, 0), in the input layer (0, 0, 0)."""
    return Initialization(1.0, weight_std / math.sqrt(place.fan_in), 1.0, bias_std)


def ntk(place: Place, weight_std: float, bias_std: float) -> Initialization:
    """Weights w ~ N(0, 1), multiplier σ_w/√fan_in: abc = (½, 0, 0), in the input layer (0, 0, 0)."""
    return ntk_initialization(place.fan_in, weight_std, bias_std)


def mean_field(place: Place, weight_std: float, bias_std: float) -> Initialization:
    """As ``ntk``, output divided by √m more: abc = (1, 0, −1) in the readout, (½, 0, −1) in hidden layers.

    With one hidden layer this is f = (1/m) Σ a_r φ(w_r·x) trained with learning rate η·m. With more it is
    the natural extension, which is ``mup`` with √m moved from the multipliers into the weights.
    """
    more = 1 / math.sqrt(place.width) if place.role == "output" else 1.0
    return ntk_initialization(place.fan_in, more * weight_std, more * bias_std)


def mup(place: Place, weight_std: float, bias_std: float) -> Initialization:
    """Maximal update: abc = (−½, ½, 0) in the input layer, (0, ½, 0) in hidden ones, (½, ½, 0) in the readout.

    A bias is an input weight with fan-in 1; that of the readout has multiplier 1.
    """
    root = math.sqrt(place.width)
    weight = weight_std / math.sqrt(place.fan_in)
    if place.role == "input":
        return Initialization(root, weight / root, root, bias_std / root)
    if place.role == "hidden":
        return Initialization(1.0, weight, root, bias_std / root)
    return Initialization(1 / root, weight, 1.0, bias_std / root)


PARAMETRIZATIONS: dict[str, Callable[[Place, float, float], Initialization]] = {
    "ntk": ntk,
    "standard": standard,
    "mean_field": mean_field,
    "mup": mup,
}


def learning_rate_factors(
    parametrization: str, place: Place, start: Initialization
) -> dict[str, dict[str, float]]:
    """What the learning rate of weight and bias is multiplied by, for SGD and for Adam.

    SGD: m in ``"mean_field"`` (c = −1), 1 elsewhere (c = 0).

    Adam moves every parameter by about η whatever the size of its gradient, so its factors follow from
    what the effective weights shall do: move by η/fan_in in every layer and by η in every bias, which
    moves each preactivation by Θ(η). That is Θ(1) for input weights and biases and Θ(1/m) for hidden and
    output weights, the maximal update (Yang et al. 2022; their constant of the input layer differs).
    ``"standard"`` and ``"ntk"`` do not adjust Adam: the learning rate is used as it is given.
    """
    if parametrization in ("standard", "ntk"):
        return {}
    rate = float(place.width) if parametrization == "mean_field" else 1.0
    # A scale of zero switches a parameter off; then its learning rate does not matter.
    adam = {
        "weight": 1 / (place.fan_in * start.weight_scale) if start.weight_scale else 1.0,
        "bias": 1 / start.bias_scale if start.bias_scale else 1.0,
    }
    return {"sgd": {"weight": rate, "bias": rate}, "adam": adam}


@dataclass(frozen=True)
class LayerFactory:
    r"""Makes the layers of one network, all in one parametrization.

    In *abc* form (Yang & Hu 2021) a layer has W = m^{-a} w, w ~ N(0, m^{-2b}), learning
    rate η m^{-c}, m the width:

    =============  =============  =============  =============  ====
    ..             input (a, b)   hidden (a, b)  output (a, b)  c
    =============  =============  =============  =============  ====
    ``standard``   0, 0           0, ½           0, ½           0
    ``ntk``        0, 0           ½, 0           ½, 0           0
    ``mean_field`` 0, 0           ½, 0           1, 0           −1
    ``mup``        −½, ½          0, ½           ½, ½           0
    =============  =============  =============  =============  ====

    At finite width the fan-in of a layer stands for the m that its variance is divided by, and all
    weights are multiplied by σ_w; the remaining m is the width of the network. Under gradient descent
    with the factors of ``parameter_groups`` the change of the features after Θ(1) steps is of order
    √m in hidden layers (``standard``: unstable at a fixed learning rate), 1/√m (``ntk``: none in the limit)
    or 1 (``mean_field``, ``mup``); ``practice.coordinate_check`` measures it.

    Args:
        width: the width m of the network.
        parametrization: a name of the table.
        weight_std: σ_w of every layer.
        bias_std: σ_b of every layer.
        bias: whether layers have a bias; the default has one where ``bias_std > 0``. In standard
            parametrization and in μP ``bias=True, bias_std=0`` gives trainable biases that start at zero.
        generator: source of the random initial values; torch's global one if not given.

    Raises:
        ModelError: if the width is not a positive integer, a scale is negative or not finite, the
            parametrization is unknown or cannot have a bias that starts at zero.
    """

    width: int
    parametrization: str = "ntk"
    weight_std: float = 1.0
    bias_std: float = 0.0
    bias: bool | None = None
    generator: Generator | None = None

    def __post_init__(self) -> None:
        check_positive_integers(width=self.width)
        check_scales(weight_std=self.weight_std, bias_std=self.bias_std)
        check_choice("parametrization", self.parametrization, PARAMETRIZATIONS)
        if self.parametrization in ("ntk", "mean_field") and self.has_bias != (self.bias_std > 0):
            raise ModelError(
                f"bias={self.bias} with bias_std={self.bias_std:g}: in {self.parametrization} parametrization a "
                "layer has a bias exactly where bias_std > 0; set bias_std, or use parametrization='standard'"
            )

    @property
    def has_bias(self) -> bool:
        """Whether the layers have a bias."""
        return self.bias_std > 0 if self.bias is None else self.bias

    def linear(self, fan_in: int, fan_out: int, role: str = "hidden") -> ScaledLinear:
        """A dense layer; see ``ScaledLinear``."""
        check_choice("role", role, ROLES)
        if self.parametrization == "ntk":
            return NTKLinear(fan_in, fan_out, self.weight_std, self.bias_std, generator=self.generator)
        start, factors = self._scales(role, fan_in)
        return ScaledLinear(
            fan_in,
            fan_out,
            start,
            bias=self.has_bias,
            learning_rate_factors=factors,
            generator=self.generator,
        )

    def conv(
        self,
        cin: int,
        cout: int,
        kernel_size: int,
        role: str = "hidden",
        *,
        stride: int = 1,
        padding: int = 0,
        padding_mode: str = "zeros",
    ) -> ScaledConv2d:
        """A convolution; see ``ScaledConv2d``."""
        check_choice("role", role, ROLES)
        if self.parametrization == "ntk":
            return NTKConv2d(
                cin,
                cout,
                kernel_size,
                stride,
                padding,
                padding_mode,
                self.weight_std,
                self.bias_std,
                generator=self.generator,
            )
        start, factors = self._scales(role, cin * math.prod(pair("kernel_size", kernel_size, 1)))
        return ScaledConv2d(
            cin,
            cout,
            kernel_size,
            start,
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            bias=self.has_bias,
            learning_rate_factors=factors,
            generator=self.generator,
        )

    def _scales(self, role: str, fan_in: int) -> tuple[Initialization, dict[str, dict[str, float]]]:
        place = Place(role, fan_in, self.width)
        start = PARAMETRIZATIONS[self.parametrization](place, self.weight_std, self.bias_std)
        return start, learning_rate_factors(self.parametrization, place, start)
