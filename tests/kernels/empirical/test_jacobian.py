"""A remembered Jacobian against one written out row by row."""

import sys

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError
from ntkgap.kernels import jacobian
from ntkgap.linalg import as_matrix
from tests.reference.empirical import row_jacobian
from tests.tolerances import EXACT


class Unused(nn.Module):
    """A parameter that the outputs do not depend on, between two that they do."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.idle = nn.Parameter(torch.randn(2))
        self.last = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


def tied():
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    two.weight = one.weight
    return nn.Sequential(one, nn.Tanh(), two), (3,)


NETWORKS = {
    "mlp": lambda: (ng.MLP(3, 2, 5, 2, "relu", bias_std=0.2), (3,)),
    "conv": lambda: (nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.Flatten(), nn.Linear(8, 3)), (1, 4, 4)),
    "tied": tied,
    "unused": lambda: (Unused(), (3,)),
}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_products_equal_the_matrix_row_by_row(build, generator):
    torch.manual_seed(0)
    model, shape = build()
    model = model.double()
    x = torch.randn(4, *shape, dtype=torch.float64, generator=generator)
    at, rows = jacobian(model, x), row_jacobian(model, x).flatten(0, 1)
    torch.testing.assert_close(at.matrix(), rows, rtol=EXACT, atol=EXACT)
    w = {k: torch.randn(p.shape, dtype=p.dtype, generator=generator) for k, p in model.named_parameters()}
    product = rows @ torch.cat([v.flatten() for v in w.values()])
    torch.testing.assert_close(at.jvp(w).flatten(), product, rtol=EXACT, atol=EXACT)
    u = torch.randn(at.outputs.shape, dtype=torch.float64, generator=generator)
    back = torch.cat([v.flatten() for v in at.vjp(u).values()])
    torch.testing.assert_close(back, u.flatten() @ rows, rtol=EXACT, atol=EXACT)


def test_direction_must_fit_the_parameters():
    at = jacobian(nn.Linear(3, 2), torch.ones(1, 3))
    with pytest.raises(KernelError, match="weight, bias"):
        at.jvp({"weight": torch.ones(2, 3)})
    with pytest.raises(KernelError, match="shape"):
        at.jvp({"weight": torch.ones(3, 2), "bias": torch.ones(2)})


@pytest.mark.parametrize("n", [5, 70])
@pytest.mark.parametrize(
    "network", [ng.models.ShallowNet(20, 5000), ng.MLP(20, 3, 64, 2)], ids=["one output", "three"]
)
def test_a_gram_matrix_is_symmetric_to_the_last_bit(network, n):
    gram = as_matrix(jacobian(network, torch.randn(n, 20, generator=torch.Generator().manual_seed(0))).gram())
    assert gram.equal(gram.T)


def test_what_was_checked_is_believed_and_watched(monkeypatch):
    model, x = ng.MLP(3, 2, 8, 2), torch.randn(5, 3)
    recipe = jacobian(model, x).recipe
    expected = jacobian(model, x, recipe=recipe).matrix()
    module = sys.modules[jacobian.__module__]  # in its package the name is the function's
    monkeypatch.setattr(module, "disagreeing", lambda *_: pytest.fail("checked again"))
    assert torch.equal(jacobian(model, x, recipe=recipe, checked=True).matrix(), expected)
