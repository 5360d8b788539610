"""Diagnoses under trainings of one's own, of an ensemble, and of tasks in sequence."""

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.diagnosis.own import diagnosis_of
from ntkgap.studies.diagnosis.quantities import (
    outputs_of,
)
from ntkgap.studies.diagnosis.training_recipe import recipe_of
from tests.studies.diagnosed import study


def fit(model, data, seed):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        rows = torch.randint(len(data.x), (8,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.x[rows]), data.y[rows]).backward()
        optimizer.step()


def picky(model, data, seed):
    with torch.no_grad():
        model[0].weight.mul_(0.9)  # the linearized model has no first layer


def build(width, in_features, n_outputs):
    return nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, n_outputs))


def normalized(width, in_features, n_outputs):
    layers = nn.Linear(in_features, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, n_outputs)
    return nn.Sequential(*layers)


def cell(model=build, train=None, width=24):
    preset = ng.studies.DiagnosisStudy.preset("smoke", model=model, train=train, widths=[width], seeds=1)
    return ng.studies.DiagnosisStudy.compute_cell(preset.cells()[0])


def test_a_function_trains_the_linearized_model_too_and_is_judged_by_the_loss_that_fell_more():
    found = cell(train=fit)
    assert found["scalars"]["loss_fall"] > 0.3
    assert "your loss is another" in found["not_asked"]["ntk_gp_evidence_nll_excess"]
    assert found["scalars"]["prediction_gap"] > 0
    assert len(found["curves"]["loss_predicted"]) == 2
    assert "training function" in found["not_asked"]["stability"]
    assert "squared loss, which is not yours" in found["not_asked"]["kernel_end_test_ratio"]
    assert "kernel_end_test_score" in found["scalars"]


def test_a_function_that_looks_inside_is_measured_without_its_linearized_model():
    found = cell(train=picky)
    for name in ("curve_gap", "prediction_gap"):
        assert "your function does not train the linearized model" in found["not_asked"][name]
    assert found["scalars"]["linearization_gap"] >= 0
    assert found["scalars"]["ntk_gp_evidence_crps_ratio"] > 0  # the members need no linearized model
    assert "kernel_start_test_score" in found["scalars"]


def test_what_the_kernel_knows_nothing_of_is_not_asked():
    found = cell(normalized)
    assert "batch statistics" in found["not_asked"]["prediction_gap"]
    assert found["scalars"]["twin_test_ratio"] > 0
    adam = cell(train={"optimizer": "adam", "learning_rate": 1e-3, "steps": 20, "loss": "cross_entropy"})
    assert "SGD alone" in adam["not_asked"]["stability"]
    assert adam["scalars"]["prediction_gap"] > 0


@pytest.mark.usefixtures("rule_alone")
@pytest.mark.parametrize(("loss", "scale"), [("squared", 1.0), ("MSELoss", 2 / (24 * 10))], ids=["sum", "mean"])
def test_the_step_is_measured_against_the_kernel(loss, scale):
    """η_critical = 2(1 + μ)/κ_max of ½‖f − y‖²; a mean of squares over nC numbers has 2/(nC) of its kernel."""
    rate = 1e-3 / scale
    train = {"optimizer": "sgd", "momentum": 0.5, "loss": loss, "learning_rate": rate, "steps": 2}
    found = cell(train=train)["scalars"]
    other = cell(train=train | {"loss": "squared", "learning_rate": 1e-3})["scalars"]
    assert found["stability"] == pytest.approx(other["stability"], rel=1e-3)
    assert other["stability_start"] > 0


def test_every_claim_and_figure_finds_its_numbers():
    found = cell()
    claims = study({}, [8]).claims()
    of_tasks = {claim.quantity for claim in claims if claim.quantity.startswith("tasks")}
    assert {claim.quantity for claim in claims} - of_tasks <= set(found["scalars"])
    for figure in study({}, [8]).figures():
        references = [name for name, _ in getattr(figure, "references", ())]
        names = [figure.measured, *references, *filter(None, [getattr(figure, "predicted", None)])]
        assert set(names) <= set(found["scalars"]) | set(found["curves"])


def test_the_ensemble_is_of_networks_trained_one_by_one():
    preset = ng.studies.DiagnosisStudy.preset("smoke", model=build, widths=[24], seeds=1)
    problem = preset.problems[0]
    train_data, test_data = problem.load(0)
    found = ng.studies.DiagnosisStudy.compute_cell(preset.cells()[0])["scalars"]
    streams = np.random.SeedSequence([0, 24]).generate_state(problem.members).tolist()
    outputs = []
    for i, stream in enumerate(streams):
        network = problem.network(train_data, 24, torch.Generator().manual_seed(stream))
        if not i:
            settings = recipe_of(problem, network, train_data.x, 10).settings
        ng.train(network, train_data, generator=torch.Generator().manual_seed(stream % 2**31), **settings)
        outputs.append(outputs_of(network, test_data.x))
    error = (torch.stack(outputs).mean(0) - test_data.y).square().mean().sqrt()
    assert found["deep_ensemble_rmse"] == pytest.approx(float(error), rel=1e-4)
    excess = found["ntk_gp_evidence_nll"] - found["deep_ensemble_nll"]
    assert found["ntk_gp_evidence_nll_excess"] == pytest.approx(excess)


def tasks():
    """Three tasks of two digits each."""
    data, _ = ng.load_data("digits", n_train=300, n_test=4)
    labels = data.y.argmax(dim=1)
    return [(data.x[labels // 2 == k][:40], labels[labels // 2 == k][:40]) for k in range(3)]


def with_tasks(model, train):
    examples = [torch.cat(parts) for parts in zip(*tasks(), strict=True)]
    return diagnosis_of(model, tuple(examples), widths=[24], seeds=1, train=train, tasks=tasks())


@pytest.mark.usefixtures("rule_alone")
def test_the_linearized_model_forgets_what_the_kernel_says():
    """Beside the closed form of kernel regression task by task, of the continual study."""
    planned = with_tasks(build, {"optimizer": "gd", "learning_rate": 0.002, "steps": 30})
    found = ng.studies.DiagnosisStudy.compute_cell(planned.cells()[0])["scalars"]
    learner = Learner(planned.problems[0].continual(24), 24, 0)
    assert len(learner.stream) == 3
    said = ng.continual.predict_tasks(learner.network(), learner.stream, learning_rate=0.002, steps=[30]).matrix(0)
    assert found["tasks_twin_forgetting"] == pytest.approx(said.forgetting("max_minus_last"), abs=1e-6)
    assert found["tasks_twin_average"] == pytest.approx(said.average_accuracy, abs=1e-6)
    assert found["tasks_forgetting_gap"] == abs(found["tasks_forgetting"] - found["tasks_twin_forgetting"])


@pytest.mark.usefixtures("rule_alone")
def test_a_linear_model_forgets_what_its_linearized_model_forgets():
    def linear(width, in_features, n_outputs):
        return nn.Linear(in_features, n_outputs)

    planned = with_tasks(linear, None)
    found = ng.studies.DiagnosisStudy.compute_cell(planned.cells()[0])["scalars"]
    assert found["tasks_gap"] == found["tasks_forgetting_gap"] == 0
    assert found["tasks_learning"] > 0.9
    assert found["tasks_forgetting"] > 0.1


@pytest.mark.usefixtures("rule_alone")
def test_what_the_linearized_model_cannot_follow_is_not_asked():
    planned = with_tasks(normalized, {"optimizer": "adam", "learning_rate": 0.003, "steps": 5})
    found = ng.studies.DiagnosisStudy.compute_cell(planned.cells()[0])
    assert "batch statistics" in found["not_asked"]["tasks_gap"]
    assert found["scalars"]["tasks_forgetting"] >= 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([tasks()[0]], "at least two tasks"),
        ("a.npz:x,y", "at least two tasks"),
        (7, "got int"),
        ([tasks()[0], "b.npz:x,y"], "b.npz"),
        ([tasks()[0], (torch.randn(40, 5), torch.arange(40) % 2)], "one shape"),
    ],
)
def test_what_are_no_tasks_is_refused(given, message):
    with pytest.raises(ng.NtkgapError, match=message):
        diagnosis_of(build, tasks()[0], widths=[8], seeds=1, tasks=given)
