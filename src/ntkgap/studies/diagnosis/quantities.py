"""What is read off a network before and after its training, each a number with a formula."""

import copy

import torch
from torch import Tensor, nn

from ntkgap.kernels import NTKOperator
from ntkgap.models.calls import output_tensor
from ntkgap.practice import linearize

# Examples that go through a network at once.
CHUNK = 256

# κ_max is told apart from the limit of stability, not more.
EIGENVALUE_TOLERANCE = 1e-3


def outputs_of(model: nn.Module, x: Tensor) -> Tensor:
    """f(x), [n, C], in the mode the network is in."""
    with torch.no_grad():
        parts = [output_tensor(model, model(part)).reshape(len(part), -1) for part in x.split(CHUNK)]
    return torch.cat(parts)


def linearized_at(before: nn.Module, after: nn.Module) -> nn.Module:
    """f(·; θ₀) + J(·; θ₀)(θ − θ₀), with θ₀ the parameters of the first network and θ those of the second."""
    linearized = linearize(before)
    with torch.no_grad():
        for p, q in zip(linearized.parameters(), after.parameters(), strict=True):
            p.copy_(q)
    return linearized


def largest_eigenvalue(model: nn.Module, x: Tensor) -> float:
    """κ_max of the kernel on these examples and all outputs, by Lanczos."""
    return float(NTKOperator(model, x).spectral_norm(tolerance=EIGENVALUE_TOLERANCE, max_steps=100))


def in_float64(model: nn.Module) -> nn.Module:
    """A copy in float64 and evaluation mode."""
    return copy.deepcopy(model).double().eval()
