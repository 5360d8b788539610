import copy
import functools
import itertools
import math

import pytest
import torch
from torch.func import functional_call, jacrev

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice import TrainingCurve, train
from ntkgap.studies.findings import Findings
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.optimization.comparison_runs import Comparison
from ntkgap.studies.optimization.comparison_spec import FIRST_ORDER, METHODS, ComparisonSpec
from ntkgap.studies.optimization.drift import PathDrift, observed_steps
from ntkgap.studies.optimization.finish import Bounds, needed, ratio_of_best, score, steps_to
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.optimization.start import initialize
from ntkgap.theory import critical_learning_rate
from tests.tolerances import CANCELLING, EXACT, ITERATED, SINGLE

compute = OptimizationStudy.compute_cell

PROBLEM = {
    "name": "tiny",
    "widths": [32],
    "model": {"architecture": "mlp", "depth": 1, "nonlinearity": "tanh"},
    "data": {"name": "sphere", "n_train": 6, "n_test": 7, "options": {"dim": 5}},
    "natural_gradient": {"learning_rate": 0.5, "steps": 5},
    "gradient_descent": {"steps": 10},
}
COMPARISON = {"steps": 40, "second_order_steps": 8, "target": 0.05, "tuning_points": 2}


def cell(width=32, **changes):
    problem = copy.deepcopy(PROBLEM) | changes
    del problem["widths"]
    return problem | {"problem": problem.pop("name"), "width": width, "seed": 0}


def start(width=32, **changes):
    problem = OptimizationProblem(**(PROBLEM | changes))
    return initialize(problem, width, 0, Findings())


@functools.cache
def compared():
    return compute(cell(comparison=COMPARISON, width=64))


def test_every_method_starts_at_the_same_loss_and_its_clock_runs_forward():
    found = start(width=64)
    at_start = found.residual_norm**2 / found.train.y.square().sum().item()
    for method in METHODS:
        if method == "ngd_theorem":  # C′ is above ½ on this path
            continue
        loss, seconds = compared()["curves"][f"race_{method}_loss"], compared()["curves"][f"seconds_race_{method}"]
        assert loss[0] == pytest.approx(at_start, rel=SINGLE)
        assert len(loss) == len(seconds)
        assert seconds[0] == 0
        assert all(a < b for a, b in itertools.pairwise(seconds)), method
        reached = compared()["scalars"][f"race_{method}_steps"]
        assert loss[int(reached)] <= 0.05 < loss[int(reached) - 1]
        assert compared()["scalars"][f"seconds_race_{method}"] == seconds[int(reached)]


def test_the_theorem_is_run_only_where_it_allows_a_step():
    assert compared()["scalars"]["c_prime"] > 0.5
    assert math.isnan(compared()["scalars"]["race_ngd_theorem_steps"])
    assert "race_ngd_theorem_loss" not in compared()["curves"]
    linear = {"architecture": "shallow", "nonlinearity": "identity"}
    comparison = COMPARISON | {"optimizers": ["ngd_theorem"]}
    found = compute(cell(model=linear, data=PROBLEM["data"] | {"n_train": 4}, comparison=comparison))["scalars"]
    assert found["race_ngd_theorem_learning_rate"] == pytest.approx(1, rel=SINGLE)  # C = 0
    assert found["race_ngd_theorem_steps"] == 1
    assert "ngd_steps_ratio" not in found  # nobody to compare with


def test_ratios_are_those_of_the_best():
    best = {
        group: min(v for k, v in compared()["scalars"].items() if k in names and not math.isnan(v))
        for group, names in {
            "ours": [f"race_{m}_steps" for m in METHODS if m.startswith("ngd")],
            "theirs": [f"race_{m}_steps" for m in FIRST_ORDER],
        }.items()
    }
    assert compared()["scalars"]["ngd_steps_ratio"] == best["ours"] / best["theirs"] < 1


def test_predicted_curves_are_those_of_a_linear_model():
    """With the identity as nonlinearity the shallow network is its own linearization, at finite width."""
    model = {"architecture": "shallow", "nonlinearity": "identity"}
    comparison = COMPARISON | {"optimizers": ["gd", "ngd"], "steps": 15}
    curves = compute(cell(model=model, data=PROBLEM["data"] | {"n_train": 4}, comparison=comparison))["curves"]
    assert curves["race_gd_loss"] == pytest.approx(curves["race_gd_predicted"], rel=10 * SINGLE)  # float32
    assert curves["race_ngd_loss"] == pytest.approx(curves["race_ngd_predicted"], rel=ITERATED)
    assert len(curves["race_gd_limit"]) == 16


def test_tuning_finds_better_than_where_it_began():
    found = start()
    spec = ComparisonSpec(**COMPARISON)
    comparison = Comparison(spec, found, {"learning_rate": 0.5, "damping": 0.0}, 0.1, 0.0, 0)
    critical = critical_learning_rate(found.gram)
    began = {
        "sgd": {"learning_rate": critical / 16, "momentum": 0.0},
        "adam": {"learning_rate": 1e-3},
        "kfac": {"learning_rate": 0.5, "damping": found.gram.diagonal().mean().item()},
    }
    for method, settings in began.items():
        first = comparison.kfac(**settings) if method == "kfac" else comparison.first_order(method, **settings)
        tuned = comparison.run(method)
        assert score(tuned.curve, comparison.target) < score(first, comparison.target), method
        assert comparison.run(method) == tuned


def test_only_small_networks_are_compared():
    result = compute(cell(comparison=COMPARISON | {"max_parameters": 32 * 6 - 1}))
    assert not any(k.startswith(("race", "seconds")) or "sgd" in k for k in result["scalars"] | result["curves"])


def test_a_diverging_method_is_a_finding():
    gradient_descent = {"fraction_of_critical": 40.0, "steps": 3}
    comparison = COMPARISON | {"optimizers": ["gd", "ngd_search"], "steps": 60}
    result = compute(cell(gradient_descent=gradient_descent, comparison=comparison))
    assert any("optimizer comparison, gd: diverged" in note for note in result["notes"])
    scalars = result["scalars"]
    assert scalars["race_gd_steps"] == scalars["race_gd_final"] == scalars["seconds_race_gd"] == math.inf
    assert scalars["ngd_steps_ratio"] == 0  # gradient descent never gets there


CLASSES = {"name": "digits", "n_train": 10, "n_test": 20}


def test_cross_entropy_compares_first_order_methods_in_minibatches():
    comparison = COMPARISON | {
        "optimizers": list(FIRST_ORDER),
        "loss": "cross_entropy",
        "batch_size": 5,
        "steps": 20,
    }
    model = {"architecture": "mlp", "depth": 1}
    result = compute(cell(data=CLASSES, model=model, comparison=comparison))
    for method in FIRST_ORDER:
        assert result["scalars"][f"race_{method}_final"] < 1
    assert "race_gd_predicted" not in result["curves"]  # theory is about the squared loss
    assert "ngd_steps_ratio" not in result["scalars"]


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        ({"loss": "cross_entropy"}, r"about the squared loss.*ngd.*compare only gd, sgd, adam"),
        ({"loss": "cross_entropy", "optimizers": ["kfac"]}, "so are kfac"),
        ({"optimizers": ["lbfgs"]}, "optimizers"),
        ({"batch_size": 7}, "batch_size 7 is larger than the 6 training examples"),
        ({"momenta": [1.0]}, "momenta must be at least 0 and below 1"),
        ({"optimizers": ["gd", "adam", "gd"]}, "every optimizer is run once; gd is listed more often"),
        ({"target": 1.0}, "less than 1"),
    ],
)
def test_bad_comparisons_are_refused(comparison, words):
    with pytest.raises(StudyError, match=words):
        ng.OptimizationStudy.build({"seeds": [0], "problems": [PROBLEM | {"comparison": COMPARISON | comparison}]})


def test_targets_that_do_not_go_with_the_loss_show_before_the_sweep():
    comparison = COMPARISON | {"optimizers": ["adam"], "loss": "cross_entropy"}
    study = ng.OptimizationStudy.build({"seeds": [0], "problems": [PROBLEM | {"comparison": comparison}]})
    with pytest.raises(StudyError, match="one-hot"):
        study.check()


def curve(*losses, stopped=None):
    return TrainingCurve(list(losses), stopped, seconds=[0.5 * k for k in range(len(losses))])


def test_what_a_target_takes():
    reached, short = curve(8.0, 4.0, 1.0, 0.9, 0.5), curve(8.0, 4.0, 3.0)
    passing = curve(8.0, 0.5, 2.0, 0.5)
    ended, diverged = curve(8.0, 4.0, stopped="singular at step 1"), curve(8.0, 1e9, stopped="diverged at step 1")
    assert steps_to(reached, 1.0) == 2
    assert needed(reached, 1.0, range(5)) == Bounds(2, 2)
    assert needed(reached, 1.0, reached.seconds) == Bounds(1.0, 1.0)
    assert needed(short, 1.0, range(3)) == Bounds(2, math.inf)
    assert needed(ended, 1.0, range(2)) == needed(diverged, 1.0, range(2)) == Bounds(math.inf, math.inf)
    assert steps_to(passing, 1.0) == 3
    assert steps_to(curve(8.0, 0.5, math.nan), 1.0) is None
    assert steps_to(curve(0.5, 0.4), 1.0) == 0


def test_scores_order_runs_by_steps_then_by_loss():
    target = 1.0
    ordered = [
        curve(8.0, 0.5, 0.5),
        curve(8.0, 1.0, 0.1),  # the same step, a larger loss there
        curve(8.0, 2.0, 0.1),
        curve(8.0, 4.0, 3.0),  # not reached
        curve(8.0, 4.0, 5.0),
        curve(8.0, 9.0, 1e4, 1e8, stopped="diverged at step 3"),
        curve(8.0, 1e8, stopped="diverged at step 1"),
    ]
    scores = [score(c, target) for c in ordered]
    assert scores == sorted(set(scores))
    assert math.isfinite(scores[-1])


never, known, open_ended = Bounds(math.inf, math.inf), Bounds(10, 10), Bounds(50, math.inf)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([Bounds(5, 5), open_ended], [known, Bounds(20, 20)], 0.5),
        ([known], [known], 1.0),
        ([known], [open_ended], 0.2),  # a bound: it may be less
        ([open_ended], [known], 5.0),  # it may be more
        ([Bounds(60, 60)], [open_ended], math.nan),  # they might have needed 55 or 65
        ([Bounds(5, math.inf)], [known], math.nan),
        ([open_ended], [open_ended], math.nan),
        ([known], [never], 0.0),
        ([never], [known], math.inf),
        ([never], [never], math.nan),
        ([never], [open_ended], math.nan),
        ([Bounds(0, 0)], [known], 0.0),
        ([known], [Bounds(0, 0)], math.inf),
        ([Bounds(0, 0)], [Bounds(0, 0)], math.nan),  # both are there before they start
        # Who has not finished may still have been the best: its budget bounds what the best needs.
        ([known], [Bounds(20, 20), Bounds(15, math.inf)], 10 / 15),
    ],
)
def test_ratios_say_no_more_than_is_known(ours, theirs, expected):
    assert ratio_of_best(ours, theirs) == pytest.approx(expected, nan_ok=True)


def test_steps_that_are_looked_at():
    assert observed_steps(100, 3) == [1, 10, 100]
    assert observed_steps(2, 10) == [1, 2]
    assert observed_steps(50, 1) == [50]
    assert observed_steps(0, 4) == [0]


def dense_jacobian(network, x):
    parameters = dict(network.named_parameters())
    blocks = jacrev(lambda p: functional_call(network, p, (x,)).flatten())(parameters)
    return torch.cat([b.flatten(1) for b in blocks.values()], dim=1)


def test_drift_along_a_path_is_that_of_the_dense_jacobian():
    found = start(8)
    network = copy.deepcopy(found.network).float()
    drift = PathDrift(network, found, steps=6, points=6)
    initial, expected, grams = dense_jacobian(found.network, found.train.x), [], []

    def observe(step):
        drift.observe(step)
        jacobian = dense_jacobian(copy.deepcopy(network).double(), found.train.x)
        grams.append(jacobian @ jacobian.T)
        expected.append(3 * torch.linalg.matrix_norm(jacobian - initial, 2).item() / math.sqrt(found.lambda_min))

    curve = train(network, found.train.to(torch.float32), learning_rate=0.3, steps=6, observe=observe)
    findings = Findings()
    drift.record("path", curve, findings)
    assert findings.scalars["c_prime_path"] == pytest.approx(max(expected[1:]), rel=CANCELLING)
    assert findings.scalars["c_prime_path_end"] == pytest.approx(expected[-1], rel=CANCELLING)
    torch.testing.assert_close(drift.gram, grams[-1], rtol=EXACT, atol=EXACT)
    pairs = zip(network.parameters(), found.network.parameters(), strict=True)
    moved = torch.cat([(p - q).flatten() for p, q in pairs])
    assert findings.scalars["path_distance"] == pytest.approx(moved.norm().item(), rel=EXACT)


def test_a_linear_model_does_not_drift_and_a_lost_path_confirms_nothing():
    linear = {"architecture": "shallow", "nonlinearity": "identity"}
    comparison = COMPARISON | {"optimizers": ["sgd"], "steps": 10}
    found = compute(cell(model=linear, data=PROBLEM["data"] | {"n_train": 4}, comparison=comparison))["scalars"]
    for path in ("gd", "sgd"):
        assert found[f"c_prime_{path}"] < 3 * CANCELLING * math.sqrt(found["condition_number"])
        assert found[f"{path}_distance"] > 0.1
    lost = compute(cell(gradient_descent={"fraction_of_critical": 40.0, "steps": 60}))["scalars"]
    assert lost["c_prime_gd"] >= 0.5
    assert math.isnan(lost["c_prime_gd_end"])
    assert lost["gd_distance"] == math.inf


def test_the_key_of_older_presets_is_read_and_a_cell_is_what_it_was():
    """Stores have the settings as ``race``, the name of an earlier version."""
    now, before = (
        ng.OptimizationStudy.build({"seeds": [0], "problems": [PROBLEM | {key: COMPARISON}]})
        for key in ("comparison", "race")
    )
    assert now == before
    assert now.cells()[0]["race"]["steps"] == COMPARISON["steps"]
    assert "comparison" not in now.cells()[0]
    assert ng.OptimizationStudy.build(now.configuration()) == now
    with pytest.raises(StudyError, match=r"race\.step: there is no such key; did you mean 'steps'"):
        ng.OptimizationStudy.build({"seeds": [0], "problems": [PROBLEM | {"race": COMPARISON | {"step": 3}}]})
