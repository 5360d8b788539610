"""Kernels that are multiplied and never formed, against those that are."""

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import KernelError
from ntkgap.kernels import CrossOperator
from tests.tolerances import EXACT


class Unseen(torch.autograd.Function):
    """Multiplication whose backward pass has no derivative."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.T

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        return g @ weight, g.T @ x


class Opaque(torch.nn.Module):
    """A layer that only reverse mode gets through, once."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(1)))

    def forward(self, x):
        return Unseen.apply(x, self.weight).tanh()


NETWORKS = {
    "mlp": (lambda: ng.MLP(6, 3, 8, 2, "gelu"), (6,)),
    "antisymmetric": (lambda: ng.MLP(6, 3, 8, 1, antisymmetric=True), (6,)),
    "convolution": (
        lambda: torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Flatten()),
        (2, 4, 4),
    ),
    "frozen": (lambda: frozen(ng.MLP(6, 3, 8, 2)), (6,)),
    "embedding": (
        lambda: torch.nn.Sequential(Rounded(), torch.nn.Embedding(5, 3, sparse=True), torch.nn.Flatten()),
        (2,),
    ),
    "one derivative": (Opaque, (6,)),
}


class Rounded(torch.nn.Module):
    """Numbers as indices."""

    def forward(self, x):
        return x.abs().clamp(0, 4).long()


def frozen(network):
    next(network.parameters()).requires_grad_(False)
    return network


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("memory_budget", [None, 20_000])
def test_products_are_those_of_the_kernel(name, memory_budget, generator):
    make, shape = NETWORKS[name]
    network = make().double()
    rows, columns = (torch.randn(n, *shape, generator=generator, dtype=torch.float64) for n in (13, 5))
    kernel = ng.empirical_ntk(network, rows, columns)
    weights = torch.randn(2, 3, 5, kernel.shape[3], generator=generator, dtype=torch.float64)
    found = CrossOperator(network, rows, memory_budget=memory_budget).product(columns, weights)
    torch.testing.assert_close(found, torch.einsum("knab,stnb->stka", kernel, weights), rtol=EXACT, atol=EXACT)


def test_weights_of_another_shape_are_refused():
    x = torch.randn(4, 6)
    with pytest.raises(KernelError, match=r"\(\.\.\., 4, 3\), got \(4, 2\)"):
        CrossOperator(ng.MLP(6, 3, 8, 1), x).product(x, torch.zeros(4, 2))
