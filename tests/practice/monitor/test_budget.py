"""Looking takes no more of the time than it may, by a clock that the tests turn."""

import math

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.practice.monitor import budget as budget_module
from ntkgap.practice.monitor import equal_ratio_steps
from ntkgap.practice.monitor import probe as probe_module
from ntkgap.practice.monitor.linearization_gap import Linearization
from ntkgap.practice.monitor.probe_kernel import ProbeKernel

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A clock by which a Jacobian-vector product takes 1 s and a kernel 4 s."""
    clock = Clock()
    for module in (budget_module, probe_module):
        monkeypatch.setattr(module, "perf_counter", clock)

    def taking(seconds, method):
        def slow(*args, **kwargs):
            clock.now += seconds
            return method(*args, **kwargs)

        return slow

    monkeypatch.setattr(Linearization, "product", taking(1.0, Linearization.product))
    monkeypatch.setattr(ProbeKernel, "at", taking(4.0, ProbeKernel.at))
    return clock


def watched(clock, seconds_a_step, steps, **arguments):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    monitor = ng.Monitor(model, X, **arguments)
    for step in range(1, steps[-1] + 1):
        clock.now += seconds_a_step
        with torch.no_grad():
            model[0].weight += 0.01
        if step in steps:
            monitor.due(step, steps[-1], len(steps))
            monitor.observe(step)
    return monitor


def test_everything_where_it_is_cheap(clock):
    monitor = watched(clock, 200.0, [1, 2, 4])
    assert monitor.to_pandas()[["kernel_change", "linearization_gap"]].notna().all(axis=None)
    assert not any("left out" in note for note in monitor.notes)
    assert monitor.overhead == pytest.approx(15 / 800)


@pytest.mark.parametrize("seconds", [0.4, 1.0, 5.0, 20.0])
@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.5])
def test_the_budget_is_kept(clock, seconds, fraction):
    monitor = watched(clock, seconds, [1, 2, 4, 8, 16, 32, 64], budget=fraction)
    table = monitor.to_pandas()
    assert len(table) == 7
    assert monitor.overhead <= fraction + 1e-9
    lacking = table["kernel_change"].isna() | table["linearization_gap"].isna()
    noted = {note.split(":")[0] for note in monitor.notes if "left out to keep the budget" in note}
    assert noted == {f"step {step}" for step in table["step"][lacking]}
    total = 64 * seconds * fraction
    if total > 5:  # what there is room for is used
        assert monitor.overhead > 0.4 * min(fraction, 35 / (64 * seconds))


def test_a_short_training_counts_as_twenty_seconds(clock):
    monitor = watched(clock, 0.001, [1, 2, 4], budget=0.5)
    assert monitor.to_pandas()["kernel_change"].notna().sum() == 1  # the last, complete look takes 5 of 10 seconds
    assert monitor._budget.spent <= 10
    assert watched(clock, 0.001, [1, 2, 4], budget=0.04)._budget.spent == 0


def test_expensive_quantities_take_turns(clock):
    table = watched(clock, 3.0, [1, 2, 4, 8, 16, 32, 64]).to_pandas()  # 9.6 of 35 seconds
    assert table["linearization_gap"].notna().sum() >= 1
    assert table["kernel_change"].notna().sum() >= 1
    assert table["parameter_change"].notna().all()


def test_construction_is_stated_and_not_counted(clock):
    model = nn.Sequential(nn.Linear(4, 3))
    monitor = ng.Monitor(model, X)
    assert monitor.construction_seconds > 0
    assert math.isnan(monitor.overhead)
    clock.now += 1000
    monitor.observe(1)
    assert monitor.overhead == 0  # nothing has moved: what was found at the start is given again


def test_no_limit_and_complete(clock):
    assert watched(clock, 0.001, [1, 2, 4], budget=None).to_pandas()["kernel_change"].notna().all()
    model = nn.Sequential(nn.Linear(4, 3))
    monitor = ng.Monitor(model, X, budget=0)
    for step in (1, 2):
        with torch.no_grad():
            model[0].weight += 0.01
        found = monitor.observe(step, complete=step == 2)
        assert math.isnan(found["kernel_change"]) == (step == 1)
        assert found["parameter_change"] > 0


def test_steps_in_equal_ratios():
    assert equal_ratio_steps(100, 8) == [1, 2, 4, 7, 14, 27, 52, 100]
    assert equal_ratio_steps(3, 8) == [1, 2, 3]
    assert equal_ratio_steps(50, 1) == [50]
    monitor = ng.Monitor(nn.Sequential(nn.Linear(4, 3)), X)
    assert [step for step in range(20) if monitor.due(step)] == [1, 2, 4, 8, 16]
    assert [step for step in range(200) if monitor.due(step, 100)] == equal_ratio_steps(100, 8)
