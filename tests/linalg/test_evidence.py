"""The evidence from Gram matrices against Gaussian densities written out, and its maximum against a fine grid."""

import re
import warnings

import numpy as np
import pytest
import torch

from ntkgap.errors import AccuracyWarning, KernelError
from ntkgap.linalg import Evidence
from tests.reference import linear_gaussian
from tests.tolerances import EXACT, ITERATED, SINGLE

PAIRS = [(1.0, 1.0), (0.03, 2.0), (50.0, 1e-3)]
ROUTES = {
    "gram": lambda features, residual: Evidence(features @ features.T, residual),
    "features": Evidence.of_features,
}


def draw(generator, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.fixture(params=[(6, 15), (15, 6), (1, 3), (5, 5)], ids=lambda s: f"r{s[0]}-P{s[1]}")
def problem(request, generator):
    r, p = request.param
    return draw(generator, r, p), draw(generator, r)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    "build", [lambda j, y: Evidence(j @ j.T, y), Evidence.of_features], ids=["gram", "features"]
)
def test_equals_densities_of_data_and_of_weights(problem, pair, build):
    features, residual = problem
    found = build(features, residual).log_evidence(*pair)
    assert found == pytest.approx(linear_gaussian.log_evidence(features, residual, *pair), rel=ITERATED)
    assert found == pytest.approx(linear_gaussian.log_marginal(features, residual, *pair), rel=ITERATED)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    "build", [lambda j, y: Evidence(j @ j.T, y), Evidence.of_features], ids=["gram", "features"]
)
def test_determinant_and_effective_parameters(problem, pair, build):
    features, residual = problem
    evidence, (delta, noise) = build(features, residual), pair
    eye = torch.eye(len(features), dtype=torch.float64)
    dense = torch.logdet(features @ features.T / delta + noise * eye)
    assert evidence.log_determinant(*pair) == pytest.approx(float(dense), rel=ITERATED)
    _, covariance = linear_gaussian.posterior(features, residual, *pair)
    decided = features.shape[1] - delta * float(covariance.trace())  # MacKay's γ
    assert evidence.effective_parameters(*pair) == pytest.approx(decided, rel=ITERATED)


def test_fit_counts_once(problem):
    """The data fit of ỹ under N(0, K/δ + σ²I) already holds the prior's term; adding it again is wrong."""
    features, residual = problem
    mean, _ = linear_gaussian.posterior(features, residual, 0.7, 0.3)
    prior_term = 0.5 * 0.7 * float(mean.square().sum())
    truth = linear_gaussian.log_marginal(features, residual, 0.7, 0.3)
    found = Evidence(features @ features.T, residual).log_evidence(0.7, 0.3)
    assert prior_term > 1e-3
    assert abs(found - truth) < 1e-6 * prior_term < abs(found - prior_term - truth)


def test_outputs_that_share_a_kernel(generator):
    features, residual = draw(generator, 6, 4), draw(generator, 6, 3)
    evidence = Evidence(features @ features.T, residual)
    alone = [Evidence(features @ features.T, column) for column in residual.T]
    assert evidence.log_evidence(2.0, 0.1) == pytest.approx(
        sum(e.log_evidence(2.0, 0.1) for e in alone), rel=EXACT
    )
    assert Evidence.of_features(features, residual).log_evidence(2.0, 0.1) == pytest.approx(
        evidence.log_evidence(2.0, 0.1), rel=EXACT
    )


def test_outputs_laid_out_example_by_example(generator):
    features, residual = draw(generator, 6, 4), draw(generator, 2, 3)
    gram = features @ features.T
    kernel = gram.view(2, 3, 2, 3).permute(0, 2, 1, 3)  # [n, n, C, C]
    flat = Evidence(gram, residual.flatten()).log_evidence(2.0, 0.1)
    assert Evidence(kernel, residual).log_evidence(2.0, 0.1) == flat
    assert Evidence(kernel, residual.flatten()).log_evidence(2.0, 0.1) == flat


@pytest.mark.parametrize("shape", [(3, 2), (6, 1), (1, 6), (2,), (5,), ()], ids=str)
def test_a_transposed_residual_is_refused(shape):
    """Its numbers would be given to other examples' outputs, and the evidence be that of other data."""
    kernel = torch.eye(6, dtype=torch.float64).view(2, 3, 2, 3).permute(0, 2, 1, 3)
    with pytest.raises(KernelError, match=r"the kernel is of 2 examples and 3 outputs; give \[2, 3\]"):
        Evidence(kernel, torch.ones(shape))


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 6)], ids=str)
def test_a_matrix_does_not_say_how_many_outputs_it_has(shape):
    with pytest.raises(KernelError, match=r"give \[6\], or .*\[n, n, C, C\], or flattened"):
        Evidence(torch.eye(6), torch.ones(shape))
    with pytest.raises(KernelError, match=r"give \[6\], or .*\[n, n, C, C\], or flattened"):
        Evidence.of_features(torch.eye(6), torch.ones(shape))


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 2, 1, 3), (2, 2, 2)], ids=str)
def test_a_kernel_is_of_inputs_with_themselves(shape):
    with pytest.raises(KernelError):
        Evidence(torch.ones(shape), torch.ones(2, 1))


@pytest.mark.parametrize("bounds", [(0.1, 10), ((0.1, 10),), ((0.1, 10), 3.0), ((1, 2), (1, 2, 3)), ((1, 2), None),
                                    ((1, 2), ("a", "b")), 1.0], ids=str)  # fmt: skip
def test_bounds_are_two_pairs(bounds):
    with pytest.raises(KernelError, match="bounds must be two pairs of numbers"):
        Evidence(torch.eye(4), torch.ones(4)).maximum(bounds=bounds)


@pytest.mark.parametrize("pair", PAIRS)
def test_gradient_equals_finite_differences(problem, pair):
    features, residual = problem
    evidence, step = Evidence(features @ features.T, residual), 1e-5
    for k, slope in enumerate(evidence.gradient(*pair)):
        ends = [evidence.log_evidence(*np.array(pair) * np.exp(sign * step * np.eye(2)[k])) for sign in (-1, 1)]
        # Central differences: ε·|L|/step of rounding, step² of truncation.
        assert slope == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("given", [{}, {"prior_precision": 0.5}, {"noise_variance": 0.2}], ids=str)
def test_maximum_beats_a_fine_grid(generator, given):
    features = draw(generator, 20, 8)
    residual = features @ draw(generator, 8) * 2 + 0.5 * draw(generator, 20)
    evidence = Evidence(features @ features.T, residual)
    best = evidence.maximum(**given)
    deltas = [given["prior_precision"]] if "prior_precision" in given else np.geomspace(1e-3, 1e3, 121)
    noises = [given["noise_variance"]] if "noise_variance" in given else np.geomspace(1e-3, 1e3, 121)
    grid = {(d, s): evidence.log_evidence(d, s) for d in deltas for s in noises}
    at = max(grid, key=grid.get)
    assert grid[at] <= best.log_evidence <= grid[at] + 0.05  # a twentieth of a decade is not far from the top
    assert best.log_evidence == evidence.log_evidence(best.prior_precision, best.noise_variance)
    assert not best.at_edge
    for name, value in given.items():
        assert getattr(best, name) == value
    slopes = evidence.gradient(best.prior_precision, best.noise_variance)
    for name, slope in zip(("prior_precision", "noise_variance"), slopes, strict=True):
        assert name in given or abs(slope) < 1e-5


def test_known_truth_is_recovered(generator):
    """2000 observations of 400 weights: log δ̂ and log σ̂² lie within five standard errors √(2/count)."""
    delta, noise = 4.0, 0.25
    features = draw(generator, 2000, 400)
    residual = features @ draw(generator, 400) / delta**0.5 + noise**0.5 * draw(generator, 2000)
    best = Evidence.of_features(features, residual).maximum()
    assert abs(np.log(best.prior_precision / delta)) < 5 * (2 / 400) ** 0.5
    assert abs(np.log(best.noise_variance / noise)) < 5 * (2 / 1600) ** 0.5


def test_nothing_to_explain_is_at_the_edge(generator):
    features = draw(generator, 5, 3)
    best = Evidence(features @ features.T, torch.zeros(5).double()).maximum()
    assert best.at_edge
    assert np.isfinite(best.log_evidence)


@pytest.mark.parametrize("build", ROUTES.values(), ids=ROUTES)
def test_residual_out_of_reach_leaves_the_precision_to_the_bounds(generator, build):
    """Nothing in the residual looks like the features, so the evidence rises, ever more slowly, as δ → ∞."""
    features, residual = draw(generator, 20, 3), draw(generator, 20)
    residual = residual - features @ torch.linalg.lstsq(features, residual).solution
    evidence = build(features, residual)
    assert evidence.maximum().at_edge
    noise_alone = evidence.maximum(prior_precision=1e12)
    assert not noise_alone.at_edge
    assert noise_alone.noise_variance == pytest.approx(float(residual.square().mean()), rel=1e-4)  # L-BFGS


def test_singular_kernel(generator):
    features = draw(generator, 8, 2)
    gram = (features @ features.T).float()
    evidence = Evidence(gram, draw(generator, 8))
    assert np.isfinite(evidence.log_evidence(1.0, 1e-4))
    assert np.isfinite(Evidence(torch.zeros(3, 3), torch.ones(3)).maximum().log_evidence)


def test_bad_input_is_refused(generator):
    gram = torch.eye(4).double()
    with pytest.raises(KernelError, match="positive semidefinite"):
        Evidence(-gram, torch.ones(4))
    with pytest.raises(KernelError, match=r"shape \(3,\)"):
        Evidence(gram, torch.ones(3))
    with pytest.raises(KernelError, match="finite"):
        Evidence(gram, torch.tensor([1.0, float("nan"), 0, 0]))
    with pytest.raises(KernelError, match="features must be finite"):
        Evidence.of_features(torch.full((4, 2), float("inf")), torch.ones(4))
    with pytest.raises(KernelError, match="features must be finite"):
        Evidence.of_features(torch.ones(4, 2, dtype=torch.long), torch.ones(4))
    for shape in [(4,), (4, 0), (4, 2, 1)]:
        with pytest.raises(KernelError, match=r"features must be a matrix \[r, P\], got shape"):
            Evidence.of_features(torch.ones(shape), torch.ones(4))
    evidence = Evidence(gram, torch.ones(4))
    for pair in [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (1.0, float("inf"))]:
        with pytest.raises(KernelError, match="positive and finite"):
            evidence.log_evidence(*pair)
    with pytest.raises(KernelError, match="low < high"):
        evidence.maximum(bounds=((1.0, 1.0), (1.0, 2.0)))


def test_rounding_that_decides_the_evidence_is_said(generator):
    """A kernel of rank 3 in float32: what the residual has beyond it is explained by noise, or by rounding."""
    features, residual = draw(generator, 20, 3), draw(generator, 20)
    exact = features @ features.T
    rounded = exact.float()

    def evidence(gram):
        return Evidence(gram, residual)

    rough = evidence(rounded)
    with pytest.warns(AccuracyWarning, match=r"known to within .* in float32.* nats an observation"):
        decided = rough.log_evidence(1.0, 1e-7)
    truth = linear_gaussian.log_marginal(features, residual, 1.0, 1e-3)
    assert abs(decided - evidence(exact).log_evidence(1.0, 1e-7)) > 1
    with pytest.warns(AccuracyWarning, match="give bounds that keep the noise larger"):
        rough.maximum(noise_variance=1e-8, bounds=((0.5, 2.0), (1e-9, 1e-7)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rough.log_evidence(1.0, 1e-3) == pytest.approx(truth, rel=SINGLE)
        Evidence.of_features(features.float(), residual).log_evidence(1.0, 1e-7)  # has no K that was rounded


def test_the_warned_change_bounds_that_of_noise_in_the_kernel(generator):
    """Of noise with ‖E‖₂ = φ the evidence changes by at most the nats that are said, to first order."""
    features, residual = draw(generator, 12, 4), 3 * draw(generator, 12)
    gram, noise = features @ features.T, 1e-6
    with pytest.warns(AccuracyWarning) as caught:
        Evidence(gram.float(), residual).log_evidence(1.0, noise)
    said = float(re.search(r"by (\S+) nats an observation", str(caught[0].message))[1])
    covariance = gram + noise * torch.eye(12, dtype=torch.float64)
    duals, inverse = torch.linalg.solve(covariance, residual), torch.linalg.inv(covariance)
    floor = 12 * torch.finfo(torch.float32).eps * float(torch.linalg.eigvalsh(gram)[-1])
    fit = max(12.0, float(residual @ duals))
    bound = 0.5 * floor * float(duals.square().sum() + inverse.trace()) / fit
    assert said == pytest.approx(bound, rel=0.1)  # two digits are said


def test_a_kernel_that_was_cast_gives_itself_away_whatever_decomposed_it():
    """Its eigenvalues come from one decomposition, the message from another: their last digits differ."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        features, error = draw(generator, 20, 6), draw(generator, 20, 20)
        evidence = Evidence(features @ features.T + 3e-13 * (error + error.T), draw(generator, 20))
        with pytest.warns(AccuracyWarning, match="if it came from a coarser type, compute the kernel in float64"):
            evidence.log_evidence(1.0, 1e-13)
