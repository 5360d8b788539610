"""Targets and losses as people have them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.practice.monitor.targets import ProbeLoss, target_columns

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.tensor([2, 0, 1, 1])


def test_class_numbers_and_columns():
    outputs = torch.zeros(4, 3)
    hot = F.one_hot(LABELS, 3).float()
    for y in (LABELS, LABELS[:, None], LABELS.int(), LABELS.numpy(), hot, hot.bool(), hot.tolist()):
        assert torch.equal(target_columns(y, outputs), hot)
    assert torch.equal(target_columns(LABELS, torch.zeros(4, 1)), LABELS[:, None].float())  # a count is a number
    assert torch.equal(target_columns(LABELS.float(), torch.zeros(4)), LABELS[:, None].float())


def test_classes_at_places():
    y = torch.randint(0, 3, (2, 5), generator=GENERATOR)
    hot = F.one_hot(y, 3).float()  # [n, T, C]
    assert torch.equal(target_columns(y, torch.zeros(2, 5, 3)), hot.flatten(1))
    assert torch.equal(target_columns(y, torch.zeros(2, 3, 5)), hot.movedim(-1, 1).flatten(1))


@pytest.mark.parametrize(
    ("loss", "y", "curvature"),
    [
        ("squared", torch.randn(4, 3, generator=GENERATOR), torch.eye(12)),
        (nn.MSELoss(), torch.randn(4, 3, generator=GENERATOR), torch.eye(12) * 2 / 12),
        (nn.MSELoss(reduction="sum"), torch.randn(4, 3, generator=GENERATOR), torch.eye(12) * 2),
        (nn.L1Loss(), torch.randn(4, 3, generator=GENERATOR), torch.zeros(12, 12)),
        (lambda f, y: f.mean(), LABELS, torch.zeros(12, 12)),
    ],
)
def test_curvature_of_losses(loss, y, curvature):
    outputs = torch.randn(4, 3, generator=GENERATOR)
    product = ProbeLoss(loss, y).curvature(outputs)
    found = torch.stack([product(w.view(4, 3)).flatten() for w in torch.eye(12)])
    assert torch.allclose(found, curvature, atol=1e-6)


def test_targets_without_the_axis_of_one_output():
    """Outputs [n, 1] less targets [n] would be [n, n]."""
    outputs, y = torch.randn(4, 1, generator=GENERATOR), torch.randn(4, generator=GENERATOR)
    assert float(ProbeLoss(F.mse_loss, y)(outputs)) == pytest.approx(float((outputs[:, 0] - y).square().mean()))


class Casting(nn.Module):
    """Computes in float32 whatever it holds."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.one, self.two = nn.Linear(3, 4, dtype=dtype), nn.Linear(4, 2, dtype=dtype)

    def forward(self, x):
        return self.two(torch.tanh(self.one(x.float())).float())


def test_precision():
    x = torch.randn(4, 3, generator=GENERATOR)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    assert ng.Monitor(net, x).dtype == torch.float64
    assert ng.Monitor(Casting(), x).dtype == torch.float32
    assert ng.Monitor(ng.MLP(3, 2, width=400, depth=2), x).dtype == torch.float32
    half = net.to(torch.bfloat16)
    monitor = ng.Monitor(half, x.to(torch.bfloat16), budget=None)
    with torch.no_grad():
        half[0].weight += 0.5
    assert 0 < monitor.observe(1)["linearization_gap"] < 1
    assert monitor.dtype == torch.float64
    assert half[0].weight.dtype == torch.bfloat16
