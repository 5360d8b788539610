"""Training as a user does it, in place of the preset's training of tasks."""

import dataclasses
import functools
import json
import math

import pytest
import torch
import yaml
from torch import nn

import ntkgap as ng
from ntkgap.errors import StudyWarning
from ntkgap.studies import assess, factories, not_asked
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.continual.learner import Learner
from tests.here import Here
from tests.studies.continual.test_prediction import TINY

compute = ng.ContinualStudy.compute_cell

METHODS = {"joint": True, "ogd": 12, "ewc": 1.0, "replay": 4}
HEADS = {"kind": "split", "tasks": 3, "heads": "per_task"}


def fit(model, data, seed):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.x), data.y).backward()
        optimizer.step()


def warm(step):
    return min(1.0, (step + 1) / 5)


def study(tmp_path, train, **changes):
    problem = {**TINY, "methods": METHODS, **changes}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({"description": "", "seeds": [0], "problems": [problem]}))
    return ng.ContinualStudy.preset(str(path), train=train)


def measured(tmp_path, train, **changes):
    (cell,) = study(tmp_path, train, **changes).cells()
    return compute(cell)


ADAM = {"optimizer": torch.optim.AdamW, "loss": nn.CrossEntropyLoss(), "learning_rate": 0.1, "steps": 30}
SGD = {
    "optimizer": "sgd",
    "loss": "cross_entropy",
    "learning_rate": 0.3,
    "steps": 30,
    "batch_size": 5,
    "clip": 1.0,
}


@pytest.mark.parametrize(
    ("train", "reason", "methods"),
    [
        (ADAM, "steps of AdamW", {"replay"}),
        (SGD, "the loss cross_entropy, momentum, clipping, batches", {"ogd", "ewc", "replay"}),
        ({**SGD, "schedule": warm}, "a schedule", {"ogd", "ewc"}),
        ({**SGD, "weight_decay": 1e-3}, "weight decay", {"ogd", "ewc", "replay"}),
    ],
    ids=["Adam", "SGD", "schedule", "weight decay"],
)
def test_tasks_are_trained_as_the_user_does_it(train, reason, methods, tmp_path):
    found = measured(tmp_path, train)
    scalars = found["scalars"]
    assert found["curves"]["stops"] == [3, 30]
    assert scalars["train_score_long"] > max(0.6, scalars["train_score_short"])
    for name in ("gap_initial_long", "gap_infinite_short", "gap_task_start_long", "forgetting_gap_initial_long"):
        assert math.isnan(scalars[name])
        assert reason in found["not_asked"][name]
    assert {name for name in ("ogd", "ewc", "replay") if f"{name}_forgetting" in scalars} == methods
    assert scalars["joint_accuracy"] > 0.2  # chance is 0.1; clipped, a third of the rate takes it no further
    bent = train["optimizer"] != "sgd" or "weight_decay" in train
    assert ("kernel_change_long" in found["not_asked"]) == bent
    assert ("ogd_stored_forgetting" in found["not_asked"]) == bent


def test_it_is_train_tasks_with_the_same_settings(tmp_path):
    (cell,) = study(tmp_path, SGD).cells()
    problem = ng.ContinualStudy.problem_of(cell)
    learner = Learner(problem, 8, 0)
    given = {k: v for k, v in SGD.items() if k != "steps"}
    runs = ng.continual.train_tasks(
        [learner.network()], learner.stream, stop=ng.continual.Steps(30), seeds=[0], **given
    )
    assert compute(cell)["curves"]["scores_long"] == runs.scores[0].flatten().tolist()


def test_plain_gradient_descent_on_the_squared_loss_is_predicted(tmp_path):
    """Of a lazy network, at a rate that a preset would have taken."""
    lazy = {**TINY["model"], "alpha": 100.0}
    (cell,) = study(tmp_path, None, model=lazy, widths=[32]).cells()
    rate = min(Learner(ng.ContinualStudy.problem_of(cell), 32, 0).plan.rates)
    own = measured(tmp_path, {"optimizer": "gd", "learning_rate": rate, "steps": 20}, model=lazy, widths=[32])
    assert "not_asked" not in own
    assert own["scalars"]["gap_initial_long"] < 0.02
    assert own["scalars"]["train_score_long"] > 0.8


def test_a_training_function_is_one_stop_without_methods_but_joint(tmp_path):
    found = measured(tmp_path, fit)
    scalars = found["scalars"]
    assert found["curves"]["stops"] == [1]
    assert scalars["train_score_long"] > 0.9
    assert scalars["joint_accuracy"] > scalars["average_long"]
    assert "forgetting_short" not in scalars
    assert not any(f"{name}_forgetting" in scalars for name in ("ogd", "ewc", "replay"))
    assert "may do anything" in found["not_asked"]["gap_initial_long"]
    assert "single stop" in found["not_asked"]["drop_matched_long"]


class Elsewhere(Here):
    """Computes as a process that knows of the user's functions only what it is sent, in letters."""

    def run(self, tasks):
        for task in tasks:
            sent = dataclasses.replace(task, supplies=json.loads(json.dumps(task.supplies)))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(factories, "_KNOWN", {})
                found = list(super().run([sent]))
            yield from found


def test_functions_travel_and_what_is_not_asked_has_no_verdict(tmp_path):
    own = study(tmp_path, fit, widths=[4, 16], methods={})
    assert list(own.supplies()["code"]) == list(own.problems[0].own_code)
    runs = ng.run(own, tmp_path / "store", engine=Elsewhere(), progress=False)
    assert runs.counts()["done"] == 2
    keys = {v.claim.key for v in assess(runs)}
    assert keys >= {"width_helps_converged", "width_helps_own"}
    assert not any("predict" in key or "after" in key for key in keys)
    assert {n.claim.key for n in not_asked(runs)} >= {"initial_predicts_long", "forgetting_predicted"}
    for table in own.tables(measured_cells(runs), assess(runs)):
        assert all("steps a task" not in row[0] for row in table.rows)
    (answered,) = own.answers(measured_cells(runs), assess(runs))
    assert len(answered.rows) == 1


def test_problems_that_a_training_function_cannot_learn_are_left_out(tmp_path):
    with pytest.warns(StudyWarning, match="outputs of their own"):
        kept = ng.ContinualStudy.preset("smoke", train=fit)
    assert [p.stream.kind for p in kept.problems] == ["rotated"]
    with pytest.raises(ng.NtkgapError, match="outputs of their own"):
        study(tmp_path, fit, stream=HEADS)


def test_axes_of_the_training_that_is_replaced_are_left_out(tmp_path):
    axes = {"training.fraction_of_critical": [0.1], "stream.angle": [10]}
    kept = study(tmp_path, ADAM, variations={"width": 8, "axes": axes})
    assert list(kept.problems[0].variations.axes) == ["stream.angle"]


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({**ADAM, "optimizer": "adamw"}, "there is no 'adamw'"),
        ({**ADAM, "batch_size": 50}, "between 1 and the 12 training examples"),
        ({**ADAM, "loss": nn.NLLLoss()}, "NLLLoss failed|loss=.* failed"),
        ({**ADAM, "schedule": "fast"}, "fast"),
        ({**ADAM, "steps": 0}, "greater than or equal to 1"),
        ({"fit": fit, "steps": 3}, "would not see steps"),
        ({**ADAM, "optimizer": functools.partial(torch.optim.SGD, lr=-1.0)}, "Invalid learning rate|learning"),
    ],
)
def test_wrong_settings_are_refused_before_the_sweep_starts(train, words, tmp_path):
    with pytest.raises(ng.NtkgapError, match=words) as raised:
        study(tmp_path, train).check()
    assert "\n" not in str(raised.value)
