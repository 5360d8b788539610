"""Multi-layer perceptrons with one width knob and one depth knob."""

from torch import Generator, nn

from ntkgap.models.checks import check_positive_integers
from ntkgap.models.input_checks import Flatten
from ntkgap.models.nonlinearities import make_nonlinearity
from ntkgap.models.output_scale import Network, scaled_parametrization
from ntkgap.models.parametrizations import LayerFactory


class MLP(Network):
    """Fully connected network: ``depth`` hidden layers of ``width`` units and a linear readout.

    Parametrizations draw the same random function at initialization, up to the 1/√width of the readout
    in ``"mean_field"`` and ``"mup"``; they differ in how gradient descent moves it (see ``LayerFactory``).

    Args:
        in_features: number of inputs.
        out_features: number of outputs C.
        width: units of every hidden layer.
        depth: number of hidden layers, at least 1.
        nonlinearity: name from ``ntkgap.models.NONLINEARITIES``.
        parametrization: ``"ntk"``, ``"standard"``, ``"mean_field"`` or ``"mup"``.
        weight_std: σ_w of every layer, readout included; √2 keeps the size of a ReLU network's signal.
        bias_std: σ_b of every layer.
        bias: whether layers have a bias; the default has one where ``bias_std > 0``. In standard
            parametrization and μP ``bias=True, bias_std=0`` gives trainable biases that start at zero.
        alpha: α multiplies the output, and 1/α² the learning rate; large is lazy (see ``Scaled``).
        gamma0: divides the output by γ0√width and multiplies the learning rate by γ0²·width, NTK
            parametrization only: γ0 → 0 is lazy, γ0 = 1 the mean-field regime.
        antisymmetric: whether the network starts at 0, as the difference of two equal ones
            (see ``Antisymmetric``).
        generator: source of the random initial values; torch's global one if not given.

    Shapes: input [n, ...] whose trailing dimensions hold in_features entries, output [n, out_features].

    Raises:
        ModelError: if a size is not a positive integer, a scale is out of range, a name is unknown or does not go
            with another; when called, if an example does not have in_features entries.

    Example:
        >>> net = ng.MLP(in_features=64, out_features=10, width=128, depth=3, nonlinearity="erf")
        >>> net(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
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
        alpha: float = 1.0,
        gamma0: float | None = None,
        antisymmetric: bool = False,
        generator: Generator | None = None,
    ) -> None:
        check_positive_integers(in_features=in_features, out_features=out_features, width=width, depth=depth)
        parametrization = scaled_parametrization(parametrization, gamma0)
        factory = LayerFactory(width, parametrization, weight_std, bias_std, bias, generator)
        layers: list[nn.Module] = []
        for i in range(depth):
            first = factory.linear(in_features, width, "input") if i == 0 else factory.linear(width, width)
            layers += [first, make_nonlinearity(nonlinearity)]
        layers.append(factory.linear(width, out_features, "output"))
        super().__init__(
            Flatten(in_features),
            layers,
            [width] * depth,
            alpha=alpha,
            gamma0=gamma0,
            antisymmetric=antisymmetric,
        )
        self.in_features, self.out_features = in_features, out_features
        self.width, self.depth = width, depth
