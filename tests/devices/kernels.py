"""Calls about kernels."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

import ntkgap as ng
from tests.devices.made import case, drawn, grams, images, inputs, net, plain


@case
def empirical_ntk(device):
    network, x = net(device), inputs(device)
    kinds = ("full", "mean", "diagonal", "sum")
    found = [ng.empirical_ntk(network, x, x[:2], outputs=kind) for kind in kinds]
    found += [ng.empirical_ntk(network, x, outputs=kind, dtype=torch.float64) for kind in kinds]
    found += [ng.empirical_ntk(network, x, layerwise=True), ng.as_matrix(found[0])]
    found += [ng.empirical_ntk(network, x, differentiable=True)]
    return found


@case
def empirical_ntk_of_convolutions(device):
    network, x = plain(device), images(device)
    return [ng.empirical_ntk(network, x, outputs=kind) for kind in ("full", "mean", "diagonal", "sum")]


@case
def empirical_ntk_in_blocks(device):
    network, x = plain(device), drawn(12, 2, 4, 4, seed=3).to(device)
    return ng.empirical_ntk(network, x, outputs="mean", memory_budget=400_000)


class _Other(nn.Module):
    """Layers of other kinds, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.recurrent = nn.Embedding(7, 4), nn.GRU(4, 4, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.free, self.last = nn.Parameter(torch.ones(4)), nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))

    def forward(self, tokens: Tensor) -> Tensor:
        h, _ = self.recurrent(self.table(tokens))
        return self.last(self.attention(h).mean(1) * self.free.cumsum(0))


@case
def empirical_ntk_of_other_layers(device):
    torch.manual_seed(0)
    network = _Other().eval().to(device)
    tokens = torch.randint(7, (5, 3), generator=torch.Generator().manual_seed(0)).to(device)
    return ng.empirical_ntk(network, tokens), ng.NTKOperator(network, tokens).trace()


@case
def networks(device):
    x, image = inputs(device), drawn(2, 3, 8, 8).to(device)
    made = [
        (net(device, parametrization="mup"), x),
        (ng.models.Antisymmetric(net(torch.device("cpu"))).to(device), x),
        (ng.models.Scaled(net(torch.device("cpu")), 2.0).to(device), x),
        (ng.models.ShallowNet(3, 8, generator=torch.Generator().manual_seed(0)).to(device), x),
        (ng.ConvNet(3, 2, 4, 2, generator=torch.Generator().manual_seed(0)).to(device), image),
    ]
    return [[m(x), ng.empirical_ntk(m, x, outputs="mean"), ng.parameter_groups(m, 0.1)[0]["lr"]] for m, x in made]


@case
def ntk_operator(device):
    v = drawn(12).to(device)
    op, in_blocks = (ng.NTKOperator(net(device), inputs(device), memory_budget=b) for b in (None, 100_000))
    found = [op @ v, op.trace(2), op.solve(v, 0.1), op.effective_rank(2, 3), op.to_scipy() @ v.cpu().numpy()]
    found += [dataclasses.astuple(op.eigenvalue_range(max_steps=4))[:2], op.spectral_norm()]
    return [*found, in_blocks @ v, in_blocks.trace(2)]


@case
def kernel_changes(device):
    one, two, x = net(device), net(device, seed=1), inputs(device)
    operators = [kind(one, two, x) for kind in (ng.kernels.JacobianChange, ng.kernels.KernelChange)]
    return [o.spectral_norm() for o in operators], operators[0].jacobian_norm()


@case
def kernels_compared(device):
    k, _, _ = grams(device)
    other = k + torch.eye(6, dtype=k.dtype, device=device)
    y = drawn(6, 2).to(device)
    found = ng.spectrum(k)
    return [
        ng.kernel_distance(k, other), ng.kernels.relative_change(k, other),
        ng.kernels.target_alignment(k, y[:, :1]),
        found.eigenvalues, found.condition_number, found.effective_rank, ng.theory.critical_learning_rate(k),
        ng.theory.required_width(inputs(device)),
    ]  # fmt: skip


@case
def evidence(device):
    k, _, _ = grams(device)
    found = ng.linalg.Evidence(k, drawn(6, 2).double().to(device))
    return (
        found.log_evidence(1.0, 0.1),
        found.maximum(),
        ng.linalg.Evidence.of_features(inputs(device), drawn(6, 1).to(device)).log_evidence(1.0, 0.1),
    )


@case
def infinite_width(device):
    found = []
    networks = [
        (net(device), inputs(device)),
        (net(device, nonlinearity="erf"), inputs(device)),
        (net(device, nonlinearity="gelu"), inputs(device)),
        (
            ng.ConvNet(3, 2, 4, 2, generator=torch.Generator().manual_seed(0)).to(device),
            drawn(3, 3, 8, 8).to(device),
        ),
    ]
    for network, x in networks:
        limit = ng.infinite_width(network)
        found += [limit.ntk(x), limit.nngp(x, x[:2])]
    return found


@case
def infinite_width_of_torch_layers(device):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 2),
        nn.LeakyReLU(), nn.Flatten(), nn.Linear(4, 3),
    ).to(device)  # fmt: skip
    limit = ng.infinite_width(network)
    return limit.ntk(images(device)), limit.nngp(images(device))


@case
def monte_carlo(device):
    x = inputs(device, 3)

    def build(width=8):
        return ng.MLP(3, 2, width, 2).to(device)

    found = ng.infinite_width_monte_carlo(build, width=16, draws=4)
    one = ng.kernels.monte_carlo_kernel(build, x, draws=2)
    return found.ntk(x), one.ntk
