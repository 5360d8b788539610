"""The diagnosis on networks of a known regime, its rule on made-up numbers, its parts beside dense algebra."""

import copy
import math

import numpy as np
import pytest
import scipy
import torch
from torch import nn

import ntkgap as ng
from ntkgap.data import Dataset
from ntkgap.practice.monitor.linearization_gap import gap
from ntkgap.practice.monitor.parameter_change import parameter_change
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.diagnosis import measure as measuring
from ntkgap.studies.diagnosis.own import diagnosis_of
from ntkgap.studies.diagnosis.quantities import (
    largest_eigenvalue,
    linearized_at,
    outputs_of,
)
from ntkgap.studies.diagnosis.regression import kernel_of, kernel_predictions, training_time
from ntkgap.studies.diagnosis.training_recipe import recipe_of
from tests.studies.clear_cut import clear_cut
from tests.studies.diagnosed import diagnosed, regime_from, study
from tests.tolerances import EXACT, ITERATED

LAZY = {"antisymmetric": True, "alpha": 100.0}


@pytest.fixture
def moved():
    """A network, the same with other parameters, and inputs, in float64."""
    torch.manual_seed(0)
    before = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    after = copy.deepcopy(before)
    with torch.no_grad():
        for p in after.parameters():
            p += 0.1 * torch.randn_like(p)
    return before, after, torch.randn(6, 5, dtype=torch.float64)


def dense_jacobian(model, x):
    rows = []
    for out in model(x).reshape(-1):
        grads = torch.autograd.grad(out, list(model.parameters()), retain_graph=True)
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    return torch.stack(rows)


def test_the_gap_is_that_of_the_dense_jacobian(moved):
    before, after, x = moved
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    step = torch.cat([(q - p).detach().reshape(-1) for p, q in pairs])
    start, end = before(x).detach(), after(x).detach()
    change = (dense_jacobian(before, x) @ step).reshape(end.shape)
    expected = float((end - start - change).norm() / (end - start).norm())
    found = gap(end - start, outputs_of(linearized_at(before, after), x) - start)
    assert found == pytest.approx(expected, rel=ITERATED)
    assert expected > 0.01
    size = torch.cat([p.detach().reshape(-1) for p in before.parameters()]).norm()
    assert parameter_change(before, after) == pytest.approx(float(step.norm() / size), rel=EXACT)
    assert math.isnan(gap(start - start, start - start))


def test_the_largest_eigenvalue_is_that_of_the_dense_kernel(moved):
    _, after, x = moved
    jacobian = dense_jacobian(after, x)
    assert largest_eigenvalue(after, x) == pytest.approx(
        float(torch.linalg.eigvalsh(jacobian @ jacobian.T)[-1]), rel=1e-3
    )


@pytest.mark.parametrize("left", [0.5, 0.01])
def test_kernel_regression_is_gradient_flow(moved, left):
    model, _, x = moved
    x_test, y = torch.randn(4, 5, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    both = torch.cat([x, x_test])
    full = dense_jacobian(model, both)
    mean = (full @ full.T).reshape(10, 3, 10, 3).diagonal(dim1=1, dim2=3).mean(-1)
    kernel, cross = mean[:6, :6].detach(), mean[6:, :6].detach()
    kappa, modes = torch.linalg.eigh(kernel)
    t = training_time(kappa, (modes.T @ y).square().sum(1), left)
    decay = torch.as_tensor(scipy.linalg.expm(-kernel.numpy() * t))
    assert float((decay @ y).square().sum() / y.square().sum()) == pytest.approx(left, rel=1e-4)
    expected = cross @ torch.linalg.solve(kernel, (torch.eye(6) - decay) @ y)
    found = kernel_predictions(kernel_of(model, Dataset(x, y), Dataset(x_test, y[:4])), y, left)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_kernel_regression_stops_at_last():
    kappa, squares = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([1.0, 1.0], dtype=torch.float64)
    assert training_time(kappa, squares, 0.1) == 1e6  # half of it cannot be fitted
    assert training_time(kappa, squares, 1.5) == 0.0


# The rule, on made-up numbers.


def wide(*values, seeds=6, spread=0.02):
    """Numbers of seeds around these, at widths 64, 256, ..."""
    return {64 * 4**i: [v * (1 + spread * (s - 2.5)) for s in range(seeds)] for i, v in enumerate(values)}


def test_kernel_where_all_is_below():
    found = regime_from(kernel_constant=wide(0.3, 0.05, 0.02), linearization_gap=wide(0.2, 0.08, 0.01))
    assert found.name == "kernel"
    assert "from width 256 on" in found.sentence


@pytest.mark.parametrize(
    "numbers",
    [
        {"kernel_constant": wide(0.3, 0.097)},  # its interval contains the limit
        {"kernel_constant": wide(0.01, 0.01), "linearization_gap_test": wide(0.3, 0.2)},
        {"kernel_constant": wide(0.9, 0.45)},  # falls as theory says
        {"kernel_constant": wide(0.6, 0.4)},  # not rich at every width
        {"kernel_constant": wide(0.01, 0.01), "stable": wide(1.3, 1.4)},
    ],
)
def test_mixed_is_what_is_neither(numbers):
    assert regime_from(**numbers).name == "mixed"


def test_feature_learning_is_large_at_every_width_and_does_not_fall():
    found = regime_from(kernel_constant=wide(2.0, 2.1, 1.9))
    assert found.name == "feature learning"
    assert "extrapolated" not in found.sentence
    assert regime_from(kernel_constant={64: [0.9]}).name == "feature learning"
    assert "single seed" in regime_from(kernel_constant={64: [0.9]}).sentence
    assert regime_from(kernel_constant=wide(0.2, 0.2), linearization_gap=wide(0.8, 0.9)).name == "feature learning"
    assert (
        regime_from(kernel_constant=wide(2.0, 0.6, seeds=2)).name == "mixed"
    )  # medians fall, without an interval


@pytest.mark.parametrize(
    "few", [{"learned": wide(0.5, 0.05)}, {"moved": wide(0.5, 0.02)}, {"learned": wide(0.5, 0.1)}]
)
def test_what_was_not_trained_is_never_in_the_kernel_regime(few):
    found = regime_from(kernel_constant=wide(1e-6, 1e-6), **few)
    assert found.name == "not trained enough"
    assert "cannot be told" in found.sentence


def test_a_diverged_training_says_so_with_its_step():
    diverged = {64: [-math.inf] * 5, 256: [-math.inf] * 5}
    found = regime_from(kernel_constant=wide(1, 1), learned=diverged, stable=wide(1.5, 1.5))
    assert found.name == "not trained enough"
    assert "training diverged, and the step is 1.5" in found.sentence
    assert found.sentence.startswith("Training diverged: ")
    grown = regime_from(kernel_constant=wide(1, 1), learned=diverged, stable=wide(math.nan, math.nan))
    assert "take a smaller step" in grown.sentence
    lost = regime_from(kernel_constant=wide(1, 1), learned=diverged, linearization_gap={64: [1.0], 256: [1.0]})
    assert "single seed" not in lost.sentence


def test_an_extrapolated_width_is_a_bracket_within_reach():
    falling = {w: [1.05 * (w / 64) ** -0.5 * (1 + 0.003 * s) for s in range(6)] for w in (64, 256, 1024, 4096)}
    found = regime_from(kernel_constant=falling)
    assert found.name == "mixed"
    assert "extrapolated, the kernel regime would hold from width" in found.outlook
    late = {w: [0.13 * (w / 64) ** -0.5 * (1 + 0.1 * (s - 2.5)) for s in range(6)] for w in falling}
    beside = {w: [0.1 * (w / 4096) ** -0.5 * (1 + 0.01 * (s - 2.5)) for s in range(6)] for w in falling}
    found = regime_from(kernel_constant=late, linearization_gap=beside)
    assert found.name == "mixed"
    assert "would hold from width 4096 [4096, " in found.outlook  # of a number that is inconclusive there
    floor = {w: [0.2 + v for v in values] for w, values in falling.items()}
    assert "cannot be told: a floor" in regime_from(kernel_constant=floor).outlook


# Networks whose regime is known, five seeds each.


@pytest.fixture
def rule_alone(in_process, monkeypatch):
    """Cells in this process, without what the rule does not see."""
    for part in ("generalize", "compare_uncertainty"):
        monkeypatch.setattr(measuring, part, lambda *args: None)
    monkeypatch.setattr(measuring, "train_linearized", lambda *args: (None, "left out by a test"))


@pytest.mark.usefixtures("in_process")
def test_a_linear_model_is_in_the_kernel_regime(tmp_path, digits):
    found = ng.diagnose(nn.Linear(64, 10), digits, seeds=5, store=tmp_path / "runs", progress=False)
    assert found.regime == "kernel"
    frame = found.to_pandas()
    assert (frame[["linearization_gap", "linearization_gap_test", "kernel_change"]] <= 1e-6).to_numpy().all()
    assert (frame[["curve_gap", "prediction_gap"]] <= 1e-4).to_numpy().all()
    assert (frame.loss_fall > 0.9).all()


@pytest.fixture
def digits():
    train, _ = ng.load_data("digits", n_train=32, n_test=4)
    return train.x, train.y.argmax(dim=1)


@pytest.mark.usefixtures("rule_alone")
def test_a_lazy_network_is_in_the_kernel_regime(tmp_path):
    found = diagnosed(tmp_path, LAZY, [32, 128], n_train=8, steps=40)
    assert found.regime == "kernel"
    assert "it holds at every width" in found.sentence


@pytest.mark.usefixtures("rule_alone")
@pytest.mark.parametrize("rich", [{"gamma0": 1.0}, {"parametrization": "mup"}], ids=["gamma0", "mup"])
def test_a_rich_network_learns_features_at_every_width(rich, tmp_path):
    found = diagnosed(tmp_path, rich, [64, 256, 1024], n_train=8, steps=50)
    assert found.regime == "feature learning"
    assert "extrapolated" not in found.sentence


@pytest.mark.usefixtures("rule_alone")
def test_standard_parametrization_comes_nearer_to_the_kernel_regime_with_width(tmp_path):
    model = {"parametrization": "standard", "depth": 2}
    found = diagnosed(tmp_path, model, [256, 2048], steps=15, n_train=6, probe=3)
    assert found.regime in ("kernel", "mixed")
    trend = next(v.trend for v in found._verdicts if v.claim.key == "linearization_gap")
    assert -0.9 < trend.slope.value < -0.3


@pytest.mark.usefixtures("rule_alone")
def test_ten_tiny_steps_tell_nothing(tmp_path):
    tiny = {"optimizer": "gd", "learning_rate": 1e-6, "steps": 10}
    found = diagnosed(tmp_path, {}, [16, 64], train=tiny, n_train=8)
    assert found.regime == "not trained enough"


@pytest.mark.usefixtures("rule_alone")
def test_past_the_edge_of_stability_is_not_the_kernel_regime(tmp_path):
    found = diagnosed(tmp_path, {}, [16, 64], fraction_of_critical=1.5, momentum=0.0, n_train=8)
    assert found.regime in ("mixed", "feature learning")
    assert "the step is 1.5 times the largest at which the kernel regime is stable" in found.sentence
    assert (found.to_pandas().stability > 1).all()


@pytest.mark.usefixtures("rule_alone")
@pytest.mark.parametrize("number", range(4))
def test_no_clear_cut_network_is_taken_for_its_opposite(number, tmp_path):
    """A few of what benchmarks/diagnose.py does two hundred times."""
    half, settings = clear_cut(number)
    found = diagnosed(tmp_path, seeds=3, **settings)
    assert found.regime != {"lazy": "feature learning", "rich": "kernel"}[half], found.sentence


# Trainings.


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


# An ensemble, and tasks.


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
