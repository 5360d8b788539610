"""Multi-layer perceptrons with one width knob and one depth knob."""

import math

from torch import Generator, Tensor, nn

from ntkgap.errors import ModelError
from ntkgap.models.layers import NTKLinear, check_positive_integers, check_scales
from ntkgap.models.nonlinearities import make_nonlinearity

PARAMETRIZATIONS = ("ntk", "standard")


def standard_linear(
    in_features: int,
    out_features: int,
    weight_std: float,
    bias_std: float,
    *,
    bias: bool,
    generator: Generator | None,
) -> nn.Linear:
    """Build an ``nn.Linear`` with W ~ N(0, σ_w²/in_features) and b ~ N(0, σ_b²): the scale sits in the weights."""
    layer = nn.Linear(in_features, out_features, bias=bias)
    nn.init.normal_(layer.weight, std=weight_std / math.sqrt(in_features), generator=generator)
    if bias:
        nn.init.normal_(layer.bias, std=bias_std, generator=generator)
    return layer


class MLP(nn.Sequential):
    """Fully connected network: ``depth`` hidden layers of ``width`` units and a linear readout.

    Both parametrisations draw the same random function at initialisation; they differ in how gradient
    descent moves it (``"ntk"``: the scale 1/√fan_in multiplies the weights in the forward pass;
    ``"standard"``: it is part of their initial variance).

    Args:
        in_features: number of inputs.
        out_features: number of outputs C.
        width: units of every hidden layer.
        depth: number of hidden layers, at least 1.
        nonlinearity: name from ``ntkgap.models.NONLINEARITIES``.
        parametrization: ``"ntk"`` or ``"standard"``.
        weight_std: σ_w of every layer, readout included; √2 keeps the size of a ReLU network's signal.
        bias_std: σ_b of every layer.
        bias: whether layers have a bias; the default has one where ``bias_std > 0``. In standard
            parametrisation ``bias=True, bias_std=0`` gives trainable biases that start at zero.
        generator: source of the random initial values; torch's global one if not given.

    Shapes: input [n, ...] whose trailing dimensions hold in_features entries, output [n, out_features].

    Raises:
        ModelError: if a size is not a positive integer, a scale is negative or not finite, or a name is unknown.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        depth: int,
        nonlinearity: str = "relu",
        parametrization: str = "ntk",
        *,
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        bias: bool | None = None,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(in_features=in_features, out_features=out_features, width=width, depth=depth)
        check_scales(weight_std=weight_std, bias_std=bias_std)
        if parametrization not in PARAMETRIZATIONS:
            raise ModelError(
                f"unknown parametrization {parametrization!r}; choose one of {', '.join(PARAMETRIZATIONS)}"
            )
        bias = bias_std > 0 if bias is None else bias
        if parametrization == "ntk" and bias != (bias_std > 0):
            raise ModelError(
                f"bias={bias} with bias_std={bias_std:g}: in NTK parametrisation a layer has a bias "
                "exactly where bias_std > 0; set bias_std, or use parametrization='standard'"
            )

        def linear(fan_in: int, fan_out: int) -> nn.Module:
            if parametrization == "ntk":
                return NTKLinear(fan_in, fan_out, weight_std, bias_std, generator=generator)
            return standard_linear(fan_in, fan_out, weight_std, bias_std, bias=bias, generator=generator)

        layers: list[nn.Module] = [nn.Flatten()]
        fan_in = in_features
        for _ in range(depth):
            layers += [linear(fan_in, width), make_nonlinearity(nonlinearity)]
            fan_in = width
        super().__init__(*layers, linear(fan_in, out_features))
        self.in_features, self.out_features = in_features, out_features
        self.width, self.depth = width, depth

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, ...] to [n, out_features].

        Raises:
            ModelError: if an example does not have ``in_features`` entries.
        """
        features = math.prod(input.shape[1:])
        if input.ndim < 2 or features != self.in_features:
            raise ModelError(
                f"an MLP with in_features={self.in_features} was given an input of shape "
                f"{tuple(input.shape)}; it takes [n, ...] with {self.in_features} entries an example"
            )
        return super().forward(input)
