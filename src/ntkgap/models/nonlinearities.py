"""The scalar nonlinearities that models are built from, by name."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError


class Erf(nn.Module):
    """The Gauss error function, applied elementwise; infinitely wide erf networks have closed-form kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``erf`` to every entry."""
        return torch.erf(x)


class Sin(nn.Module):
    """The sine, applied elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``sin`` to every entry."""
        return torch.sin(x)


NONLINEARITIES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "erf": Erf,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "sin": Sin,
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
