"""The scalar nonlinearities that models are built from, by name."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError


def _finite(name: str, **numbers: float) -> None:
    for key, value in numbers.items():
        if not math.isfinite(value):
            raise ModelError(f"{name}: {key} must be a finite number, got {value!r}")


class Erf(nn.Module):
    """The Gauss error function erf(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return torch.erf(x)


class Sin(nn.Module):
    """A sine, scale · sin(frequency · x + phase), with the phase in radians.

    Raises:
        ModelError: if a number is not finite.
    """

    def __init__(self, scale: float = 1.0, frequency: float = 1.0, phase: float = 0.0) -> None:
        super().__init__()
        _finite("Sin", scale=scale, frequency=frequency, phase=phase)
        self.scale, self.frequency, self.phase = float(scale), float(frequency), float(phase)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return self.scale * torch.sin(self.frequency * x + self.phase)


class Cos(nn.Module):
    """The cosine cos(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return torch.cos(x)


class Abs(nn.Module):
    """The absolute value |x|."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return torch.abs(x)


class Exp(nn.Module):
    """The exponential exp(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return torch.exp(x)


class ExpSquare(nn.Module):
    """The Gaussian bump exp(−x²)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return torch.exp(-x.square())


class RBF(nn.Module):
    """√2 · sin(√(2γ) x + π/4): a wide layer of it has the Gaussian kernel E[φ(u)φ(v)] = exp(−γ E(u − v)²).

    Raises:
        ModelError: if γ is negative or not finite.
    """

    def __init__(self, gamma: float = 1.0) -> None:
        super().__init__()
        _finite("RBF", gamma=gamma)
        if gamma < 0:
            raise ModelError(f"RBF: gamma must not be negative, got {gamma!r}")
        self.gamma = float(gamma)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return math.sqrt(2) * torch.sin(math.sqrt(2 * self.gamma) * x + math.pi / 4)


class Polynomial(nn.Module):
    """A polynomial p_0 + p_1 x + p_2 x² + …

    Raises:
        ModelError: if there is no coefficient or one is not finite.
    """

    def __init__(self, coefficients: Sequence[float]) -> None:
        super().__init__()
        self.coefficients = tuple(float(p) for p in coefficients)
        if not self.coefficients:
            raise ModelError("Polynomial: give at least one coefficient")
        _finite("Polynomial", **{f"coefficient {j}": p for j, p in enumerate(self.coefficients)})

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        total = torch.full_like(x, self.coefficients[-1])
        for p in reversed(self.coefficients[:-1]):
            total = total * x + p
        return total


class Monomial(Polynomial):
    """The power x^degree.

    Raises:
        ModelError: if the degree is not a non-negative integer.
    """

    def __init__(self, degree: int = 2) -> None:
        if not isinstance(degree, int) or isinstance(degree, bool) or degree < 0:
            raise ModelError(f"Monomial: degree must be a non-negative integer, got {degree!r}")
        super().__init__([0.0] * degree + [1.0])
        self.degree = degree


NONLINEARITIES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "erf": Erf,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "sin": Sin,
    "cos": Cos,
    "abs": Abs,
    "exp": Exp,
    "exp_square": ExpSquare,
    "rbf": RBF,
    "square": Monomial,
    "identity": nn.Identity,
}


def make_nonlinearity(name: str) -> nn.Module:
    """Build the nonlinearity called ``name``.

    Raises:
        ModelError: if there is no nonlinearity of that name; the message lists those there are.
    """
    if name not in NONLINEARITIES:
        raise ModelError(f"unknown nonlinearity {name!r}; choose one of {', '.join(sorted(NONLINEARITIES))}")
    return NONLINEARITIES[name]()
