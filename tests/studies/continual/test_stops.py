"""Training budgets in steps and epochs, training scores, learning rates by width, and what width saves at each."""

import copy
import math
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from torch import nn

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.reporting.gains import gain_figure
from ntkgap.studies import assess, assess_variations
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.continual.decomposition import complete
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.saved import saved_figure, saved_table
from ntkgap.studies.measured import Measured
from tests.here import Here
from tests.studies.continual.test_prediction import TINY
from tests.tolerances import EXACT

mpl.use("agg")

compute = ng.ContinualStudy.compute_cell

SGD = {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 5, "steps": [3, 12]}


def tiny(**changes):
    return ng.ContinualStudy.build({"seeds": [0], "problems": [{**copy.deepcopy(TINY), **changes}]})


def problem(**training):
    return tiny(training=training, kernels=[]).problems[0]


def test_epochs_are_training_budgets_in_passes_over_a_task():
    """Of 12 examples in batches of 5 a pass is two updates: what does not fill a batch is left out."""
    epochs = {k: v for k, v in SGD.items() if k != "steps"} | {"epochs": [1, 6]}
    assert problem(**epochs).stops == [2, 12]
    assert "after 1, 6 epochs a task" in problem(**epochs).describe()
    found, same = (
        compute(tiny(training=training, kernels=[]).cells()[0]) for training in (epochs, {**SGD, "steps": [2, 12]})
    )
    assert found["curves"] == same["curves"]


def test_tasks_are_left_at_a_training_score_or_it_is_not_reached():
    training = {"fraction_of_critical": 0.4, "steps": [2, 60], "accuracies": [0.5, 0.8]}
    found = compute(tiny(training=training, widths=[32], kernels=["infinite"]).cells()[0])["curves"]
    assert found["scores_wanted"] == [0.5, 0.8]
    low, high = found["train_score_at_score"]
    assert 0.5 <= low <= high
    assert high >= 0.8
    assert found["steps_to_score"][0] < found["steps_to_score"][1] <= 60
    never = {**training, "steps": [1, 2], "accuracies": [1.0]}
    found = compute(tiny(training=never, kernels=["infinite"]).cells()[0])
    assert math.isnan(found["curves"]["forgetting_at_score"][0])
    assert not found["diverged"]
    assert "forgetting_at_score_long" not in found["scalars"]  # of training budgets alone


def test_scores_that_no_network_reaches_are_inconclusive_in_one_line(tmp_path):
    training = {"fraction_of_critical": 0.4, "steps": [1, 2], "accuracies": [0.995]}
    study = tiny(training=training, widths=[4, 8], kernels=["infinite"])
    runs = ng.run(study, tmp_path / "store", engine=Here(), progress=False)
    (verdict,) = (v for v in assess(runs) if v.claim.key == "width_helps_at_score_99_5")
    assert verdict.state == "inconclusive"
    assert "did not score 99.5 % on every task within the largest training budget" in verdict.sentence
    keys = [v.claim.key for v in assess(runs) if v.claim.key.startswith("width_helps")]
    assert keys[:2] == ["width_helps_after_1", "width_helps_after_2"]
    (table, *_) = study.tables(measured_cells(runs), [])
    assert [row[0] for row in table.rows] == [
        "1 steps a task",
        "2 steps a task",
        "training score 99.5 % (– and – steps)",
    ]
    assert table.rows[-1][1] == "–"


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({**SGD, "steps": [3, 3, 12]}, "steps must name every stop once, and 3 is there twice"),
        ({**SGD, "steps": [12, 3]}, r"steps must be ascending, got \[12, 3\]"),
        ({**SGD, "epochs": [1, 2]}, "give one of both lists"),
        ({"optimizer": "sgd", "learning_rate": 0.1}, "give one of both lists"),
        ({**SGD, "accuracies": [0.9, 0.9]}, "accuracies must name every stop once"),
        ({**SGD, "accuracies": [0.9, 0.8]}, "accuracies must be ascending"),
        ({**SGD, "accuracies": [1.2]}, "less than or equal to 1"),
        ({**SGD, "batch_size": 50}, "batch_size 50 is larger than the 12 training examples"),
        ({**SGD, "rate_by_width": "inverse_width"}, "takes learning_rate and at_width"),
        ({**SGD, "rate_by_width": "fraction_of_critical"}, "takes fraction_of_critical"),
        ({**SGD, "at_width": 8}, "takes learning_rate, and no at_width"),
        (
            {
                "optimizer": "adam",
                "rate_by_width": "fraction_of_critical",
                "fraction_of_critical": 0.5,
                "steps": [1, 2],
            },
            "no critical rate",
        ),
    ],
)
def test_stops_and_rates_that_make_no_sense_are_refused_in_one_line(training, words):
    with pytest.raises(StudyError, match=words) as raised:
        problem(**training)
    assert "\n" not in str(raised.value)


def test_learning_rates_by_width():
    def rates(rule, width):
        numbers = {"learning_rate": 0.1, "at_width": 8, "fraction_of_critical": 0.5}
        training = {"optimizer": "sgd", "steps": [3, 12], "rate_by_width": rule, **numbers}
        return Learner(problem(**training), width, 0).plan.rates

    assert rates("constant", 8) == rates("constant", 32) == [0.1] * 3
    assert rates("inverse_width", 8) == [0.1] * 3
    assert rates("inverse_width", 32) == [0.1 / 4] * 3
    learner = Learner(problem(optimizer="gd", fraction_of_critical=0.5, steps=[3, 12]), 32, 0)
    assert rates("fraction_of_critical", 32) == learner.plan.rates
    assert "η = 0.1 · 8/width" in problem(**SGD | {"rate_by_width": "inverse_width", "at_width": 8}).describe()


def test_a_constant_rate_of_gradient_descent_is_predicted_too():
    lazy = {**TINY["model"], "alpha": 100.0}
    base = tiny(model=lazy, widths=[32]).problems[0]
    rate = min(Learner(base, 32, 0).plan.rates)
    training = {"rate_by_width": "constant", "learning_rate": rate, "steps": [2, 15]}
    scalars = compute(tiny(model=lazy, widths=[32], training=training).cells()[0])["scalars"]
    assert scalars["gap_initial_long"] < 0.02
    assert scalars["train_score_long"] > 0.8


def test_the_rule_of_the_learning_rate_is_an_axis_along_which_width_is_judged(tmp_path):
    training = {**SGD, "rate_by_width": "constant", "at_width": 4}
    variations = {"width": [4, 16], "axes": {"training.rate_by_width": ["inverse_width"]}}
    study = tiny(training=training, kernels=[], widths=[4, 16], variations=variations)
    runs = ng.run(study, tmp_path / "store", engine=Here(), progress=False)
    assert len(runs.cells) == 4
    (found,) = (v for v in assess_variations(runs) if v.claim.key == "width_helps_after_12")
    assert found.along.width == 16
    assert set(found.results) == {"constant", "inverse_width"}


def made(width, seed, forgetting, at_score=0.1, train_score=1.0):
    losses = [0.9, 0.5, 0.1]
    curves = {
        "stops": [1.0, 10.0, 100.0],
        "forgetting": forgetting,
        "train_loss": losses,
        "train_score": [0.4, 0.8, train_score],
        "scores_wanted": [0.9],
        "forgetting_at_score": [at_score],
        "train_score_at_score": [0.91],
        "steps_to_score": [20.0],
    }
    return Measured({"width": width, "seed": seed, "problem": "p"}, {}, curves, [], False, 0.0)


SAVED = [[-0.06, 0.02, 0.03], [-0.04, -0.01, 0.05], [-0.05, 0.01, 0.04], [-0.02, 0.03, 0.02], [-0.05, 0.05, 0.01]]


@pytest.fixture(scope="module")
def pairs():
    narrow = [made(8, seed, [0.1, 0.2, 0.3], at_score=0.25) for seed in range(5)]
    wide = [
        made(64, s, [a - b for a, b in zip([0.1, 0.2, 0.3], saved, strict=True)]) for s, saved in enumerate(SAVED)
    ]
    return complete([*narrow, *wide])


def test_what_is_saved_is_paired_by_seed_at_every_stop_and_score(pairs):
    for cell in pairs[5:]:
        for stop, saved in zip((1, 10, 100), SAVED[cell.seed], strict=True):
            assert cell.scalars[f"drop_after_{stop}"] == pytest.approx(saved, abs=EXACT)
        assert cell.scalars["drop_at_score_90"] == pytest.approx(0.15, abs=EXACT)
    assert "drop_after_1" not in pairs[0].scalars


def test_the_table_and_the_figure_show_medians_intervals_and_the_crossing(pairs):
    (table,) = saved_table(0, "p", pairs)
    rows = {row[0]: row[1:] for row in table.rows}
    medians = [100 * float(np.median(column)) for column in zip(*SAVED, strict=True)]
    columns = zip((1, 10, 100), medians, ("[-6, -2]", "[-1, 5]", "[1, 5]"), ("40", "80", "100"), strict=True)
    for stop, median, ends, score in columns:
        assert rows[f"{stop} steps a task"] == (f"{median:g} {ends}", score, score)
    assert rows["training score 90 % (20 and 20 steps)"] == ("15 [15, 15]", "91", "91")
    # By hand, linear in log steps: medians −5 and 2; upper bounds −2 and 5; lower bounds −1 and 1 a decade later.
    (crossing,) = (name for name in rows if name.startswith("from costing to saving"))
    expected = [10 ** (5 / 7), 10 ** (2 / 7), 10**1.5]
    assert crossing == "from costing to saving at {:.3g} [{:.3g}, {:.3g}] steps".format(*expected)
    figure = gain_figure(saved_figure(), {"p": pairs})
    line = next(line for line in figure.axes[0].lines if line.get_label() == "width 64")
    assert list(line.get_ydata()) == pytest.approx(medians)


def test_classes_come_in_an_order_drawn_by_the_seed():
    settings = {"stream": {"kind": "split", "tasks": 5, "heads": "single"}, "data": {**TINY["data"], "n_train": 8}}
    streams = [tiny(**settings).problems[0].load(seed) for seed in range(4)]
    orders = [tuple(task.name for task in stream.tasks) for stream in streams]
    assert len(set(orders)) == 4
    classes = [sorted(name.split()[i].strip(",") for name in order for i in (1, 2)) for order in orders]
    assert all(a == b for a, b in pairwise(classes))
    listed = {**settings, "stream": {**settings["stream"], "order": "listed"}}
    assert tiny(**listed).problems[0].load(2).tasks[0].name == "classes 0, 1"


def test_networks_with_batch_statistics_are_measured_and_not_held_against_the_kernel():
    def normalized(width, in_features, n_outputs):
        return nn.Sequential(
            nn.Linear(in_features, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, n_outputs)
        )

    study = ng.ContinualStudy.preset("smoke", model=normalized, widths=[8], problems=["rotated"], n_train=12)
    found = compute(study.cells()[0])
    assert math.isfinite(found["scalars"]["forgetting_long"])
    assert "batch statistics" in found["not_asked"]["gap_initial_long"]
    assert "batch statistics" in found["not_asked"]["forgetting_gap_initial_long"]


@pytest.mark.parametrize("architecture", ["convnet", "wideresnet"])
def test_networks_for_images_may_be_normalized(architecture):
    model = {"architecture": architecture, "weight_std": 1.4}
    images = {"name": "digits", "n_train": 12, "n_test": 10, "options": {"scaling": "unit_norm"}}
    training = {"optimizer": "sgd", "learning_rate": 0.05, "steps": [1, 3]}

    def cell(normalization, **changes):
        settings = {"model": model | ({"normalization": normalization} if normalization else {})}
        problem = {"data": images, "training": training, "kernels": [], "widths": [4], **settings, **changes}
        return tiny(**problem).cells()[0]

    plain, group, batch = (compute(cell(n))["curves"]["train_loss"] for n in (None, "group", "batch"))
    assert plain != group != batch
    predicted = {"training": {"fraction_of_critical": 0.1, "steps": [1, 2]}, "kernels": ["initial"]}
    found = compute(cell("batch", **predicted))
    assert "batch statistics" in found["not_asked"]["gap_initial_long"]
    with pytest.raises(StudyError, match="batch statistics; leave 'infinite' out"):
        cell("batch", **{**predicted, "kernels": ["infinite"]})
