"""The scale and the start of a network's output: what decides between the lazy and the rich regime."""

import copy
import math

from torch import Tensor, nn

from ntkgap.errors import ModelError


class Scaled(nn.Module):
    r"""A network times a fixed factor: f = factor · h.

    ``parameter_groups``, and so ``practice.train``, divides the learning rates of what is inside by
    factor² (by \|factor\| for Adam). Gradient descent then moves f at the same speed whatever the
    factor, but the parameters by 1/factor: the larger the factor, the closer to the linearization. With
    factor α this is training α·h with the loss divided by α², whose linearization error is O(1/α) when h
    starts at 0 (Chizat, Oyallon, Bach 2019).

    Args:
        module: the network h; held, not copied.
        factor: finite and not 0.

    Raises:
        ModelError: if the factor is 0 or not finite.

    Example:
        >>> net = ng.models.Scaled(nn.Linear(3, 2), factor=10)
        >>> [group["lr"] for group in ng.parameter_groups(net, 1.0)]
        [0.01]
    """

    def __init__(self, module: nn.Module, factor: float) -> None:
        super().__init__()
        if not math.isfinite(factor) or factor == 0:
            raise ModelError(f"factor must be finite and not 0, got {factor!r}")
        self.module = module
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the network's output."""
        return self.module(x) * self.factor

    def extra_repr(self) -> str:
        """The factor, as shown by ``print(model)``."""
        return f"factor={self.factor:g}"


class Antisymmetric(nn.Module):
    r"""Two copies of a network that start equal, and the difference of their outputs, which starts at 0.

    .. math:: f(x; \theta, \theta') = \frac{g(x; \theta) - g(x; \theta')}{\sqrt 2}, \qquad \theta' = \theta

    at the start. Both copies are trained. The empirical kernel at the start is that of g, while the
    initial function, which the kernel regime otherwise carries along, is gone (Zhang, Xu, Luo, Ma 2020;
    Hu, Li, Yu 2020).

    Args:
        module: the network g; copied twice, not changed.

    Shapes: those of g.

    Example:
        >>> net = ng.models.Antisymmetric(nn.Linear(3, 2))
        >>> net(torch.ones(1, 3)).abs().max().item()
        0.0
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.plus = copy.deepcopy(module)
        self.minus = copy.deepcopy(module)

    def forward(self, x: Tensor) -> Tensor:
        """(g(x; θ) − g(x; θ'))/√2."""
        return (self.plus(x) - self.minus(x)) / math.sqrt(2)


class Network(nn.Sequential):
    """Layers in a row behind a check of the input: the base of the reference networks.

    Args:
        entrance: checks the input, has no parameters.
        layers: the network itself.
        hidden_widths: units (channels) of the hidden layers along the main path, for ``describe``.
        alpha: α, what the output is multiplied by.
        gamma0: γ0, what it is divided by.
        antisymmetric: whether the difference of two equal copies is taken.

    Raises:
        ModelError: if α or γ0 is not positive and finite.
    """

    def __init__(
        self,
        entrance: nn.Module,
        layers: list[nn.Module],
        hidden_widths: list[int],
        *,
        alpha: float,
        gamma0: float | None,
        antisymmetric: bool,
    ) -> None:
        check_positive(alpha=alpha)
        factor = alpha
        if gamma0 is not None:
            check_positive(gamma0=gamma0)
            factor = alpha / gamma0
        if antisymmetric:
            layers = [Antisymmetric(nn.Sequential(*layers))]
        if factor != 1:
            layers = [Scaled(layers[0] if antisymmetric else nn.Sequential(*layers), factor)]
        super().__init__(entrance, *layers)
        self.hidden_widths = tuple(hidden_widths)


def scaled_parametrization(parametrization: str, gamma0: float | None) -> str:
    """The parametrization of the layers when the output is also divided by γ0√m and η multiplied by γ0² m.

    What is left after γ0 itself, output/√m and η·m, is the step from ``"ntk"`` to ``"mean_field"``.

    Raises:
        ModelError: if γ0 is asked of another parametrization than ``"ntk"``.
    """
    if gamma0 is None:
        return parametrization
    if parametrization != "ntk":
        raise ModelError(
            f"gamma0={gamma0!r} with parametrization={parametrization!r}: γ0 is the dial between the kernel and "
            "the mean-field regime of parametrization='ntk'; use that, or alpha to scale the output of any other"
        )
    return "mean_field"


def check_positive(**numbers: float) -> None:
    """Refuse numbers that are not positive and finite, naming the argument.

    Raises:
        ModelError: for the first one.
    """
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ModelError(f"{name} must be positive and finite, got {number!r}")
