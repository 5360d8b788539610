"""Ensemble problems: what is predicted of them, what a cell measures, and what it does where members diverge."""

import copy
import math

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.linalg import Evidence
from ntkgap.studies.uncertainty import ensembles
from ntkgap.studies.uncertainty.ensembles import measure as measuring
from ntkgap.studies.uncertainty.ensembles.measure import Networks, members_together
from ntkgap.studies.uncertainty.ensembles.methods import METHODS, SCORES
from ntkgap.studies.uncertainty.ensembles.prediction import PRECISION_BOUNDS, kernels, noise_bounds, predict
from ntkgap.theory import GaussianProcess, InfiniteEnsemble, critical_learning_rate
from tests.reference.infinite import relu_kernels
from tests.tolerances import ITERATED

compute = ng.UncertaintyStudy.compute_cell

TINY = {
    "name": "tiny",
    "kind": "ensemble",
    "model": {"architecture": "mlp", "nonlinearity": "relu", "weight_std": 1.5, "bias_std": 0.2},
    "data": {"name": "toy", "n_train": 8, "n_test": 9},
    "widths": [12],
    "members": 10,
    "training": {"steps": 20, "observations": 3},
}


def tiny(**changes):
    return ng.UncertaintyStudy.build({"seeds": [0], "problems": [{**copy.deepcopy(TINY), **changes}]})


@pytest.fixture(scope="module")
def measured():
    return compute(tiny().cells()[0])


def test_a_cell_is_a_pure_function_of_its_configuration(measured):
    torch.manual_seed(7)
    torch.rand(3)
    assert str(compute(tiny().cells()[0])) == str(measured)  # as text, in which NaN equals NaN
    other = {**tiny().cells()[0], "seed": 1}
    assert compute(other)["scalars"] != measured["scalars"]


def test_a_cell_measures_all_that_claims_and_figures_are_about(measured):
    study = tiny()
    for claim in ensembles.claims():
        assert claim.quantity in measured["scalars"], claim.key
    assert len({claim.key for claim in study.claims()}) == len(study.claims())
    keys = [*(f.key for f in study.figures()), *(claim.key for claim in study.claims())]
    assert len(set(keys)) == len(keys)  # they name files
    for name in METHODS:
        assert all(math.isfinite(measured["scalars"][f"{name}_{score}"]) for score in SCORES)
        assert len(measured["curves"][f"band_{name}_std"]) == len(measured["curves"]["band_x"]) == 9
    assert measured["curves"]["ensemble_steps"] == [3, 7, 20]
    assert not measured["diverged"]


def test_the_prediction_is_the_theory_of_kernels_computed_elsewhere():
    problem = tiny().problems[0]
    found = predict(problem, 12, 0)
    train, test = (data.to(torch.float64) for data in problem.data.load(0))
    (ntk, nngp), (ntk_cross, nngp_cross), (_, nngp_test) = (
        relu_kernels(a, b, 1, 1.5, 0.2) for a, b in ((train.x, train.x), (test.x, train.x), (test.x, test.x))
    )
    theory = InfiniteEnsemble(ntk, nngp, train.y)
    decay = theory.gradient_descent_decay(0.5 * critical_learning_rate(ntk), torch.tensor([3, 7, 20]))
    predicted = theory.predict(decay, ntk_cross, nngp_cross, nngp_test)
    for a, b in (
        (found.comparison.predicted.mean, predicted.mean),
        (found.comparison.predicted.covariance, predicted.covariance),
        (found.methods["infinite_ensemble"].std[:, 0], predicted.std[-1]),
    ):
        torch.testing.assert_close(a, b, rtol=ITERATED, atol=ITERATED)
    # Bayes with its own noise: no other noise within the bounds has more evidence.
    evidence = Evidence(nngp, train.y)
    best = evidence.log_evidence(1.0, found.noise_variance)
    size = float(train.y.square().mean())
    assert best >= max(evidence.log_evidence(1.0, size * 10 ** (-i / 5)) for i in range(21)) - ITERATED
    posterior = GaussianProcess(nngp, train.y, found.noise_variance).predict(nngp_cross, nngp_test)
    torch.testing.assert_close(found.methods["nngp"].mean, posterior.mean, rtol=ITERATED, atol=ITERATED)
    observed = (posterior.variance + found.noise_variance).sqrt()
    torch.testing.assert_close(found.methods["nngp"].observation_std[:, 0], observed, rtol=ITERATED, atol=ITERATED)


def test_members_are_all_different_and_do_not_depend_on_who_is_trained_together(monkeypatch):
    problem = tiny().problems[0]
    networks = Networks(problem, predict(problem, 12, 0), 12, 0)
    starts = [torch.cat([p.flatten() for p in networks.member(i).parameters()]) for i in range(3)]
    assert not torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[1], starts[2])
    whole = compute(tiny().cells()[0])["scalars"]["ensemble_covariance"]
    monkeypatch.setattr(measuring, "members_together", lambda *sizes: 3)
    parts = compute(tiny().cells()[0])["scalars"]["ensemble_covariance"]
    assert parts == pytest.approx(whole, rel=1e-3)  # float32, in another order
    assert members_together(10**9, 0) == 1


@pytest.mark.parametrize(("steps", "words"), [(4, "their loss exceeds"), (400, "has diverged by step 400")])
def test_members_that_diverge_are_reported_and_kernels_scored_all_the_same(steps, words):
    """Kernels of two units are often twice the infinite one, whose critical rate is then too much."""
    hot = {"steps": steps, "observations": 1, "fraction_of_critical": 0.95}
    result = compute(tiny(widths=[2], training=hot).cells()[0])
    assert result["diverged"]
    assert any(note.startswith("deep ensemble: ") and words in note for note in result["notes"])
    scalars = result["scalars"]
    for name in ("ensemble_mean_bias", "ensemble_covariance_bias", "ensemble_draw", "deep_ensemble_nll"):
        assert scalars[name] == math.inf
    assert scalars["deep_ensemble_coverage"] == 0
    assert math.isfinite(scalars["ntk_gp_nll"])
    claims = {claim.key: claim for claim in tiny().claims()}
    assert not claims["ensemble_mean"].holds(scalars["ensemble_mean_bias"])
    assert not claims["deep_ensemble_covers"].holds(scalars["deep_ensemble_coverage"])


def test_processes_are_also_fitted_as_the_laplace_approximation_is():
    """The dense posterior with K/δ and σ² that no point of a grid explains the targets better than."""
    problem = tiny().problems[0]
    prediction = predict(problem, 12, 0)
    train, found = prediction.train, prediction.methods["ntk_gp_evidence"]
    ntk, _ = kernels(problem.network(train, 8, torch.Generator()).double(), train, prediction.test)
    bounds = (PRECISION_BOUNDS, noise_bounds(train))

    def covariance(precision, noise):
        return ntk.train / precision + noise * torch.eye(len(train), dtype=torch.float64)

    def log_evidence(precision, noise):
        c, y = covariance(precision, noise), train.y[:, 0]
        return float(-0.5 * (y @ torch.linalg.solve(c, y) + torch.logdet(c)))

    best = Evidence(ntk.train, train.y).maximum(bounds=bounds)
    axes = [torch.logspace(*torch.tensor(b).log10().tolist(), 60).tolist() for b in bounds]
    grid = max(log_evidence(p, s) for p in axes[0] for s in axes[1])
    assert log_evidence(best.prior_precision, best.noise_variance) >= grid - ITERATED
    assert found.noise_variance == best.noise_variance
    c, cross = covariance(best.prior_precision, best.noise_variance), ntk.cross / best.prior_precision
    assert torch.allclose(found.mean, cross @ torch.linalg.solve(c, train.y), atol=ITERATED)
    variance = ntk.test.diagonal() / best.prior_precision - (cross * torch.linalg.solve(c, cross.mT).mT).sum(1)
    assert torch.allclose(found.std[:, 0] ** 2, variance, atol=ITERATED)


def test_several_outputs_are_taken_together():
    data = {"name": "digits", "n_train": 12, "n_test": 15}
    result = compute(tiny(data=data).cells()[0])
    assert math.isfinite(result["scalars"]["ensemble_wasserstein"])
    assert "band_x" not in result["curves"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": TINY["model"] | {"parametrization": "standard"}}, "takes parametrization 'ntk'"),
        ({"model": TINY["model"] | {"gamma0": 1.0}}, "takes parametrization 'ntk'"),
        ({"model": TINY["model"] | {"antisymmetric": True}}, "no antisymmetric"),
        ({"members": 2}, "greater than or equal to 3"),
        ({"training": {"steps": 5, "fraction_of_critical": 1.0}}, "less than 1"),
        ({"training": {"steps": 0}}, "greater than or equal to 1"),
        ({"kind": "bandit of a kind"}, "kind"),
        ({"spirit": 1}, "spirit"),
    ],
)
def test_problems_without_a_prediction_are_refused(changes, words):
    with pytest.raises(StudyError, match=words):
        tiny(**changes)


def test_problems_are_checked_before_the_sweep():
    study = tiny(model={"architecture": "convnet"})
    with pytest.raises(StudyError, match="takes images"):
        study.check()


def test_cells_lead_back_to_their_problem():
    study = ng.UncertaintyStudy.preset("smoke")
    for cell in study.cells():
        (origin,) = (p for p in study.problems if p.name == cell["problem"])
        assert study.problem_of(cell).training == origin.training
