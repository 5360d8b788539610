"""Kernels along sampled outputs: right on average, and as far off as they say."""

import math

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.practice.monitor import SampledOutputs, alignment, effective_rank, kernel_movement
from tests.tolerances import CANCELLING, EXACT

DRAWS = 200


@pytest.fixture(scope="module")
def kernels():
    """Two kernels of a network at 12 inputs, whole, [12, 12, 8, 8], and targets."""
    generator = torch.Generator().manual_seed(0)
    model = ng.MLP(5, 8, width=24, depth=2, generator=generator).double()
    x = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(12, 8, generator=generator, dtype=torch.float64)
    start = ng.empirical_ntk(model, x)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return start, ng.empirical_ntk(model, x), y


def along(sample, kernel):
    v = sample.combinations
    return torch.einsum("iac,ijcd,jbd->ijab", v, kernel, v)


def samples(y, targets=None, count=3):
    return [SampledOutputs.drawn(y, targets, count, seed) for seed in range(DRAWS)]


def test_products_and_traces_are_estimated_without_bias(kernels):
    start, now, y = kernels
    products, traces = [], []
    for sample in samples(y):
        a, b = along(sample, now), along(sample, start)
        products.append(float((sample.weighted(a) * sample.weighted(b)).sum()))
        traces.append(sample.trace(a))
    for found, truth in ((products, (now * start).sum()), (traces, torch.einsum("iiaa->", now))):
        found = torch.tensor(found)
        assert abs(found.mean() - truth) < 4 * found.std() / DRAWS**0.5
        assert found.std() / DRAWS**0.5 < 0.02 * truth


def test_errors_cover_what_sampling_does(kernels):
    start, now, y = kernels
    exact = kernel_movement(now, start)
    found = [kernel_movement(along(s, now), along(s, start), s) for s in samples(y)]
    for name in ("change", "distance"):
        off = torch.tensor([getattr(m, name) for m in found]) - getattr(exact, name)
        stated = torch.tensor([getattr(m, f"{name}_error") for m in found])
        within = (off.abs() < 2 * stated).double().mean()
        assert within > 0.9
        assert off.std() < 1.2 * stated.mean()  # also for the choice of examples: rather too large
        assert stated.mean() < 4 * off.std()


def test_errors_fall_with_the_number_of_combinations(kernels):
    start, now, y = kernels

    def spread(count):
        found = [kernel_movement(along(s, now), along(s, start), s).change for s in samples(y, count=count)]
        return float(torch.tensor(found).std())

    assert spread(6) < 0.75 * spread(2)


def test_alignment_and_rank(kernels):
    _, now, y = kernels
    sample = SampledOutputs.drawn(y, y, 6, 0)
    found = alignment(along(sample, now), y, sample)
    size = sample.weighted(along(sample, now)).norm()
    exact = torch.einsum("ia,ijab,jb->", y, now, y) / (size * y.square().sum())
    assert found == pytest.approx(float(exact), rel=EXACT)  # only ‖K‖ is estimated
    assert found == pytest.approx(alignment(now, y), rel=0.1)
    assert effective_rank(along(sample, now), sample) == pytest.approx(effective_rank(now), rel=0.2)


def test_a_monitor_that_samples():
    generator = torch.Generator().manual_seed(0)
    model = ng.MLP(5, 10, width=32, depth=2, generator=generator)
    x, y = torch.randn(30, 5, generator=generator), torch.randint(0, 10, (30,), generator=generator)
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    sampled = ng.Monitor(model, x, y, loss=loss, optimizer=optimizer, budget=None)
    whole = ng.Monitor(model, x, y, loss=loss, optimizer=optimizer, budget=None, outputs=10)
    assert "2 random combinations of the 10 outputs for each of 30 examples" in sampled.notes[0]
    assert not whole.notes
    for step in range(1, 8):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
        found, truth = sampled.observe(step), whole.observe(step)
    errors = sampled.sampling_errors().set_index("step").loc[7]
    for quantity in ("kernel_change", "kernel_distance"):
        assert 0 < errors[quantity] < truth[quantity]
        assert abs(found[quantity] - truth[quantity]) < 3 * errors[quantity]
    assert found["linearization_gap"] == pytest.approx(truth["linearization_gap"], rel=CANCELLING)
    assert 0.8 * truth["kappa_max"] < found["kappa_max"] <= (1 + 1e-6) * truth["kappa_max"]
    assert not math.isnan(found["stability_ratio"])
    assert sampled.by_layer().query("step == 7")["kernel_change"].sum() == pytest.approx(1)


def test_the_seed_decides():
    generator = torch.Generator().manual_seed(0)
    model = ng.MLP(5, 10, width=16, depth=1, generator=generator)
    x = torch.randn(30, 5, generator=generator)
    ranks = [ng.Monitor(model, x, seed=seed, budget=None).observe(0)["effective_rank"] for seed in (0, 0, 1)]
    assert ranks[0] == ranks[1] != ranks[2]
