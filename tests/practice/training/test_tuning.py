import copy
import math

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice import LogarithmicGrid, TrainingCurve, final_loss, mean_loss, train, tune
from tests.tolerances import EXACT


def bowl(learning_rate, momentum=0.0):
    """Best at a learning rate of 1 and a momentum of ½; diverges above 50."""
    last = math.inf if learning_rate > 50 else math.log10(learning_rate) ** 2 + (momentum - 0.5) ** 2
    return TrainingCurve([100.0, last])


def test_logarithmic_grids_go_on_at_both_ends():
    grid = LogarithmicGrid(1e-3, 1e-1, 5)
    values = [grid.value(i) for i in range(-2, 7)]
    assert values == pytest.approx([10 ** (-3 + i / 2) for i in range(-2, 7)], rel=EXACT)


@pytest.mark.parametrize(("low", "high"), [(0.1, 10.0), (1e-5, 1e-3), (10.0, 1000.0)])
def test_the_best_is_found_inside_beyond_and_below_the_grid(low, high):
    tuning = tune(bowl, {"learning_rate": LogarithmicGrid(low, high, 3), "momentum": (0.0, 0.5, 0.9)})
    assert tuning.best.settings["learning_rate"] == pytest.approx(1.0, rel=EXACT)
    assert tuning.best.settings["momentum"] == 0.5
    assert tuning.at_edge == ()
    assert tuning.best in tuning.trials
    rates = sorted({trial.settings["learning_rate"] for trial in tuning.trials})
    assert rates[0] < 0.5 < 2 < rates[-1]  # it lies inside of what was tried
    assert len(tuning.trials) == 3 * len(rates)  # with every momentum, and none twice
    assert tune(bowl, {"learning_rate": LogarithmicGrid(low, high, 3), "momentum": (0.0, 0.5, 0.9)}) == tuning


def test_diverged_runs_are_reported_and_not_chosen():
    tuning = tune(bowl, {"learning_rate": LogarithmicGrid(1.0, 1e4, 3)})
    scores = {trial.settings["learning_rate"]: trial.score for trial in tuning.trials}
    assert scores[1.0] == tuning.best.score == 0.25
    assert math.inf in scores.values()
    with pytest.raises(StudyError, match=r"all 2 runs of the search diverged"):
        tune(bowl, {"learning_rate": LogarithmicGrid(100.0, 200.0, 2)})


def test_a_grid_that_would_go_on_forever_is_said_to_be_at_its_edge():
    tuning = tune(
        lambda learning_rate: TrainingCurve([1.0, learning_rate]),
        {"learning_rate": LogarithmicGrid(0.1, 1.0, 2)},
        most_extensions=3,
    )
    assert tuning.at_edge == ("learning_rate",)
    assert tuning.best.settings["learning_rate"] == pytest.approx(1e-4, rel=EXACT)
    assert len(tuning.trials) == 5


def test_scores():
    curve = TrainingCurve([4.0, 3.0, 1.0, 2.0])
    assert final_loss(curve) == 2.0
    assert mean_loss(curve) == 2.5
    assert final_loss(TrainingCurve([1.0, math.nan])) == final_loss(TrainingCurve([1.0, 2e6])) == math.inf
    ended = TrainingCurve([4.0, 1.0], stopped="the Gram matrix is numerically singular at step 1")
    assert (final_loss(ended), mean_loss(ended)) == (1.0, math.inf)
    grid = {"momentum": (0.0, 0.5)}
    fast_then_worse = {0.0: TrainingCurve([4.0, 1.0, 2.0]), 0.5: TrainingCurve([4.0, 3.5, 1.9])}
    assert tune(lambda momentum: fast_then_worse[momentum], grid).best.settings == {"momentum": 0.5}
    by_area = tune(lambda momentum: fast_then_worse[momentum], grid, score=mean_loss)
    assert by_area.best.settings == {"momentum": 0.0}


def test_gradient_descent_on_a_quadratic_is_tuned_to_the_best_known_rate(generator):
    """Many steps on eigenvalues κ₁ ≥ … ≥ κ_n: the rate 2/(κ₁ + κ_n) is the best (both ends shrink alike)."""
    x = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator)).Q
    data = ng.Dataset(torch.tensor([1.0, 1.2, 1.5, 2.0]).double().sqrt()[:, None] * x, torch.ones(4, 1).double())
    model = nn.Linear(4, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    optimum = 2 / (1.0 + 2.0)
    tuning = tune(
        lambda learning_rate: train(copy.deepcopy(model), data, learning_rate=learning_rate, steps=12),
        {"learning_rate": LogarithmicGrid(optimum / 1.1**3, optimum * 1.1**2, 6)},
    )
    assert tuning.best.settings["learning_rate"] == pytest.approx(optimum, rel=EXACT)


@pytest.mark.parametrize(
    ("grid", "words"),
    [({}, r"names no setting"), ({"momentum": ()}, r"no values for momentum")],
)
def test_empty_grids_are_refused(grid, words):
    with pytest.raises(StudyError, match=words):
        tune(bowl, grid)


@pytest.mark.parametrize("bad", [(0.0, 1.0, 3), (1.0, 0.5, 3), (0.1, math.inf, 3), (0.1, 1.0, 1), (0.1, 1.0, 2.5)])
def test_bad_grids_are_refused(bad):
    with pytest.raises(StudyError):
        LogarithmicGrid(*bad)


def test_a_bad_number_of_extensions_is_refused():
    with pytest.raises(StudyError, match=r"most_extensions"):
        tune(bowl, {"learning_rate": (1.0,)}, most_extensions=-1)
