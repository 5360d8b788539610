"""Training as a user does it in the optimization study: beside the kernel's prediction where there is one."""

import math
import re

import pytest
import torch
import yaml
from torch import nn

import ntkgap as ng
from tests.tolerances import FOLLOWS

TINY = {
    "description": "",
    "seeds": [0],
    "problems": [
        {
            "name": "MLP, digits",
            "model": {"architecture": "mlp"},
            "data": {"name": "digits", "n_train": 8, "n_test": 6},
            "widths": [512],
            "natural_gradient": {"steps": 1},
            "gradient_descent": {"steps": 2},
        }
    ],
}


def build(width, in_features, n_outputs):
    return nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, n_outputs))


def fit(model, data, seed):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        (model(data.x) - data.y).square().mean().backward()
        optimizer.step()


def half_huber(outputs, targets):
    return 0.5 * nn.functional.huber_loss(outputs, targets, reduction="sum")


def trained(tmp_path, train, model=build):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    study = ng.OptimizationStudy.preset(str(path), model=model, train=train)
    return ng.OptimizationStudy.compute_cell(study.cells()[0])


@pytest.mark.parametrize(
    "train",
    [
        {"optimizer": "sgd", "loss": "cross_entropy", "learning_rate": 2e-3, "steps": 12, "batch_size": 3},
        {"optimizer": "gd", "loss": half_huber, "learning_rate": 2e-3, "steps": 12, "clip": 1.0},
        {"optimizer": torch.optim.SGD, "loss": nn.CrossEntropyLoss(), "learning_rate": 0.05, "steps": 12},
        {"optimizer": "sgd", "loss": "MSELoss", "learning_rate": 0.02, "steps": 12, "weight_decay": 0.1},
        {"optimizer": "sgd", "loss": "MSELoss", "learning_rate": 0.02, "steps": 12, "batch_size": 3},
        {"optimizer": "sgd", "learning_rate": 2e-3, "steps": 12, "schedule": lambda step: 1 / (1 + step)},
    ],
    ids=["minibatches", "clipped", "classes of torch", "weight decay", "batch means", "schedule"],
)
def test_a_wide_network_follows_the_prediction(train, tmp_path):
    found = trained(tmp_path, train)
    scalars = found["scalars"]
    assert scalars["own_loss_end"] < 0.9
    assert scalars["own_loss_gap"] < FOLLOWS * (1 - scalars["own_loss_end"])
    assert scalars["own_prediction_gap"] < FOLLOWS
    assert len(found["curves"]["own_loss"]) == len(found["curves"]["own_loss_predicted"]) == 13


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ({"optimizer": torch.optim.AdamW, "loss": "squared", "learning_rate": 1e-3, "steps": 3}, "steps of AdamW"),
        ({"optimizer": lambda groups: torch.optim.RMSprop(groups), "learning_rate": 1e-3, "steps": 3}, "model"),
        (
            {
                "optimizer": "sgd",
                "learning_rate": 1e-3,
                "steps": 3,
                "schedule": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2),
            },
            "a scheduler of torch",
        ),
        (fit, "may do anything"),
    ],
    ids=["AdamW", "a function", "a scheduler", "fit"],
)
def test_what_no_kernel_predicts_is_not_asked(train, reason, tmp_path):
    found = trained(tmp_path, train)
    assert found["scalars"]["own_kernel_change"] > 0
    assert math.isnan(found["scalars"]["own_loss_gap"])
    assert reason in found["not_asked"]["own_prediction_gap"]


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"optimizer": "adamw", "learning_rate": 1.0}, "there is no 'adamw'; choose one of .*AdamW"),
        ({"optimizer": "sgd"}, "needs steps, learning_rate"),
        ({"optimizer": "sgd", "learning_rate": 1.0, "loss": "mse"}, "there is no 'mse'"),
        ({"optimizer": "sgd", "learning_rate": -1.0}, "greater than 0"),
        ({"optimizer": "SGD", "learning_rate": 1.0, "steps": 2, "momentum": 0.9}, "would not see momentum"),
        ({"optimizer": "gd", "learning_rate": 1.0, "steps": 2, "batch_size": 2}, "no batch_size"),
        ({"optimizer": half_huber, "steps": 2, "weight_decay": 0.1}, "would not see weight_decay"),
        ({"fit": fit, "steps": 3}, "would not see steps"),
        ({"optimizer": "adam", "learning_rate": 1.0}, "needs steps"),
        ({"stepz": 3, "optimizer": "sgd", "learning_rate": 1.0}, "stepz"),
        ("train.py:fit", "there is no file"),
    ],
)
def test_settings_are_checked_before_the_sweep(train, words, tmp_path):
    with pytest.raises(ng.NtkgapError, match=words):
        trained(tmp_path, train)


def test_networks_with_batch_statistics_are_not_asked(tmp_path):
    def normalized(width, in_features, n_outputs):
        return nn.Sequential(nn.Linear(in_features, width), nn.BatchNorm1d(width), nn.Linear(width, n_outputs))

    found = trained(tmp_path, {"optimizer": "sgd", "learning_rate": 1e-4, "steps": 3}, normalized)
    assert "batch statistics" in found["not_asked"]["own_loss_gap"]
    assert found["scalars"]["own_kernel_change"] > 0


def test_what_diverges_and_is_not_predictable_is_no_failure_of_theory(tmp_path):
    found = trained(tmp_path, {"optimizer": "Adadelta", "learning_rate": 1e9, "steps": 8})
    assert found["diverged"]
    assert math.isinf(found["scalars"]["own_kernel_change"])
    assert "own_loss_gap" in found["not_asked"]


def ensembles_trained(tmp_path, train, model=build):
    study = ng.UncertaintyStudy.preset("smoke", problems=["toy"], model=model, widths=[8], seeds=[0], train=train)
    return ng.UncertaintyStudy.compute_cell(study.cells()[0])


@pytest.fixture(scope="module")
def preset_ensembles(tmp_path_factory):
    """As the preset trains them."""
    return ensembles_trained(tmp_path_factory.mktemp("preset"), None)


@pytest.mark.parametrize(
    "train",
    [
        {"optimizer": torch.optim.Adam, "loss": nn.MSELoss(), "learning_rate": 1e-2, "steps": 40, "batch_size": 4},
        {"optimizer": "sgd", "learning_rate": 1e-3, "steps": 40, "clip": 5.0},
        fit,
    ],
    ids=["Adam", "sgd", "fit"],
)
def test_ensembles_are_trained_as_the_user_does(train, tmp_path, preset_ensembles):
    mine, theirs = ensembles_trained(tmp_path, train), preset_ensembles
    reason = mine["not_asked"]["ensemble_mean_bias"]
    assert "trained in its own way" in reason or "no kernel of infinite width" in reason or "limit" in reason
    for method, is_changed in (("deep_ensemble", True), ("laplace", True), ("prior_ensemble", False)):
        key = f"{method}_rmse"
        assert math.isfinite(mine["scalars"][key])
        assert (mine["scalars"][key] != theirs["scalars"][key]) == is_changed
    assert mine == ensembles_trained(tmp_path, train)


def test_an_ensemble_that_diverges_is_said(tmp_path):
    found = ensembles_trained(tmp_path, {"optimizer": "gd", "learning_rate": 1e3, "steps": 40})
    assert found["diverged"]
    assert found["scalars"]["deep_ensemble_rmse"] == math.inf
    assert math.isfinite(found["scalars"]["prior_ensemble_rmse"])


def test_ensembles_refuse_losses_of_logits_and_bandits_other_training(tmp_path):
    given = {"optimizer": "sgd", "learning_rate": 1e-2, "steps": 3}
    with pytest.raises(ng.NtkgapError, match=r"under the loss 'CrossEntropyLoss' outputs are logits"):
        ensembles_trained(tmp_path, given | {"loss": nn.CrossEntropyLoss()})
    with pytest.raises(ng.NtkgapError, match=r"batch_size 500 is more than the \d+ training examples"):
        ensembles_trained(tmp_path, given | {"batch_size": 500})
    with pytest.raises(ng.NtkgapError, match=r"bandits train as their presets say"):
        ng.UncertaintyStudy.preset("smoke", problems=["wheel"], train=given)
    for loss, kind in (("squared", "ensemble"), ("cross_entropy", "classification")):
        with pytest.warns(ng.errors.StudyWarning) as said:
            study = ng.UncertaintyStudy.preset("smoke", train=given | {"loss": loss})
        assert [problem.kind for problem in study.problems] == [kind]
        words = " ".join(str(warning.message) for warning in said)
        assert re.search(r"'wheel.*' is left out: bandits train as their presets say", words)
        assert "logits" in words or "softmax of outputs" in words


def classifiers_trained(train):
    study = ng.UncertaintyStudy.preset(
        "smoke", problems=["1 hidden layer), digits"], widths=[8], seeds=[0], train=train
    )
    return ng.UncertaintyStudy.compute_cell(study.cells()[0])["scalars"]


@pytest.fixture(scope="module")
def preset_classifiers():
    """As the preset trains them."""
    return classifiers_trained(None)


@pytest.mark.parametrize(
    "train",
    [{"optimizer": torch.optim.AdamW, "loss": nn.CrossEntropyLoss, "learning_rate": 1e-2, "steps": 20}, fit],
    ids=["AdamW", "fit"],
)
def test_classifiers_are_trained_as_the_user_does(train, preset_classifiers):
    mine, theirs = classifiers_trained(train), preset_classifiers
    for name in ("class_ensemble_nll", "class_laplace_evidence_nll"):
        assert math.isfinite(mine[name])
        assert mine[name] != theirs[name]
    assert mine["class_ntk_gp_nll"] == theirs["class_ntk_gp_nll"]


def given(**changes):
    return {"optimizer": "sgd", "learning_rate": 1e-3, "steps": 3} | changes


def one_argument(model):
    raise AssertionError


def not_a_number(outputs, targets):
    return (outputs - targets).sum() * math.nan


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (one_argument, r"one_argument\(model\) cannot be called with \(model, data, seed\)"),
        (given(loss=not_a_number), "the loss 'not_a_number' is nan before training"),
        (given(loss=lambda outputs, targets: (outputs - targets) ** 2), "loss"),
        (
            given(optimizer=lambda ps: torch.optim.SGD(list(ps)[-1:], lr=0.1), learning_rate=None),
            "optimizer",
        ),
    ],
    ids=["signature", "nan", "no scalar", "some parameters"],
)
@pytest.mark.parametrize("study", [ng.OptimizationStudy, ng.UncertaintyStudy])
def test_mistakes_in_own_training_show_before_the_sweep(study, train, words):
    problem = {ng.OptimizationStudy: "MLP", ng.UncertaintyStudy: "toy"}[study]
    with pytest.raises(ng.NtkgapError, match=words):
        study.preset("smoke", problems=[problem], widths=[4], seeds=[0], train=train).check()


def test_batches_are_held_against_ones_own_data():
    x, y = torch.randn(60, 3), torch.randint(3, (60,))
    study = ng.OptimizationStudy.preset(
        "smoke", model=build, data=(x, y), n_train=40, n_test=10, train=given(batch_size=32)
    )
    assert [problem.train.batch_size for problem in study.problems] == [32]
    with pytest.raises(ng.NtkgapError, match="batch_size 41 is more than the 40 training examples"):
        ng.OptimizationStudy.preset(
            "smoke", model=build, data=(x, y), n_train=40, n_test=10, train=given(batch_size=41)
        )


def idle(model, data, seed):
    pass


def test_a_training_that_fails_costs_nothing_else(tmp_path):
    found = trained(tmp_path, idle)
    assert "your training failed: fit=idle changed no parameter" in found["not_asked"]["own_kernel_change"]
    assert math.isfinite(found["scalars"]["gd_loss_end"])
