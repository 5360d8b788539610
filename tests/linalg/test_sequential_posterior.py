"""The posterior of a t × t Cholesky factor is that of dense P × P linear-Gaussian algebra."""

import pytest
import torch

from ntkgap.errors import KernelError
from ntkgap.linalg import SequentialPosterior
from tests.tolerances import EXACT, ITERATED


def _dense(features, targets, queries, noise):
    """Variance, log det and mean from Z = s·I + Σggᵀ, in P × P matrices."""
    z = noise * torch.eye(features.shape[1], dtype=torch.float64) + features.mT @ features
    variance = noise * (queries * torch.linalg.solve(z, queries.mT).mT).sum(1)
    log_determinant = torch.logdet(z / noise)
    return variance, float(log_determinant), queries @ torch.linalg.solve(z, features.mT @ targets)


def _fed(features, targets, noise, queries=None):
    posterior = SequentialPosterior(noise)
    for t, (g, target) in enumerate(zip(features, targets, strict=True)):
        cross = features[:t] @ g
        if queries is not None and t % 7 == 0:  # as a bandit does: ask about some points, then take one of them
            asked = torch.stack([queries[0], g, queries[1]])
            posterior.variance(features[:t] @ asked.mT, asked.square().sum(1))
        posterior.append(cross, g @ g, float(target))
    return posterior


def _by_singular_values(features, targets, queries, noise):
    """The same where Z is too ill-conditioned to be inverted; no difference is taken that could cancel."""
    u, sigma, vt = torch.linalg.svd(features, full_matrices=False)
    along, shrunk = queries @ vt.mT, sigma / (sigma.square() + noise)
    unseen = (queries - along @ vt).square().sum(1)
    variance = unseen + along.square() @ (noise / (sigma.square() + noise))
    return variance, float(torch.log1p(sigma.square() / noise).sum()), along @ (shrunk * (u.mT @ targets))


def test_equals_dense_algebra_after_1500_updates(generator):
    features, queries = (torch.randn(n, 60, dtype=torch.float64, generator=generator) for n in (1500, 20))
    targets = torch.randn(1500, dtype=torch.float64, generator=generator)
    posterior = _fed(features, targets, 1.0, queries)
    cross, own = features @ queries.mT, queries.square().sum(1)
    variance, log_determinant, mean = _dense(features, targets, queries, 1.0)
    torch.testing.assert_close(posterior.variance(cross, own), variance, rtol=ITERATED, atol=ITERATED)
    torch.testing.assert_close(posterior.mean(cross), mean, rtol=ITERATED, atol=ITERATED)
    assert posterior.log_determinant() == pytest.approx(log_determinant, rel=ITERATED)


@pytest.mark.parametrize(("parameters", "noise"), [(600, 1e-8), (40, 1e-6)])
def test_tiny_noise(generator, parameters, noise):
    features, queries = (torch.randn(n, parameters, dtype=torch.float64, generator=generator) for n in (400, 20))
    targets = torch.randn(400, dtype=torch.float64, generator=generator)
    posterior = _fed(features, targets, noise, queries)
    cross, own = features @ queries.mT, queries.square().sum(1)
    variance, log_determinant, mean = _by_singular_values(features, targets, queries, noise)
    eps = torch.finfo(torch.float64).eps
    # The variance is what is left of k** ≈ P, of which ε is lost before anything is computed: where t > P it is as
    # small as 5e-8, and no algorithm that is given k** knows it better than to 2e-7 of itself.
    lost = 32 * eps * float(own.max())
    assert lost < 1e-4 * float(variance.min())  # zero would not pass for it
    torch.testing.assert_close(posterior.variance(cross, own), variance, rtol=ITERATED, atol=lost)
    # Where t > P, K is singular and only the noise keeps K + sI invertible: κε of the mean is lost, because the
    # features explain but a fraction of the targets.
    singular = float(features.square().sum()) / noise * eps
    allowed = ITERATED if parameters > 400 else singular
    assert allowed < 1e-4 * float(mean.abs().max())
    torch.testing.assert_close(posterior.mean(cross), mean, rtol=ITERATED, atol=allowed)
    assert posterior.log_determinant() == pytest.approx(log_determinant, rel=ITERATED)


def test_gram_at_once_is_one_by_one_and_goes_on(generator):
    features, queries = (torch.randn(n, 400, dtype=torch.float64, generator=generator) for n in (600, 5))
    targets = torch.randn(600, dtype=torch.float64, generator=generator)
    gram, noise = features @ features.mT, 0.3
    at_once = SequentialPosterior.of_gram(gram[:530, :530], noise, targets[:530])
    for t in range(530, 600):
        at_once.append(gram[:t, t], gram[t, t], float(targets[t]))
    one_by_one = _fed(features, targets, noise)
    cross, own = features @ queries.mT, queries.square().sum(1)
    assert at_once.log_determinant() == pytest.approx(one_by_one.log_determinant(), rel=EXACT)
    for found in (at_once, one_by_one):
        variance, _, mean = _dense(features, targets, queries, noise)
        torch.testing.assert_close(found.variance(cross, own), variance, rtol=ITERATED, atol=ITERATED)
        torch.testing.assert_close(found.mean(cross), mean, rtol=ITERATED, atol=ITERATED)
    right = torch.randn(600, 3, dtype=torch.float64, generator=generator)
    expected = torch.linalg.solve(gram + noise * torch.eye(600, dtype=torch.float64), right)
    torch.testing.assert_close(at_once.solve(right), expected, rtol=ITERATED, atol=ITERATED)


def test_an_update_that_was_queried_is_the_same_as_one_that_was_not(generator):
    features = torch.randn(300, 40, dtype=torch.float64, generator=generator)
    asked, unasked = SequentialPosterior(0.1), SequentialPosterior(0.1)
    for t, g in enumerate(features):
        cross, own = features[:t] @ g, g @ g
        asked.variance(torch.stack([cross, -cross], 1), own.expand(2))
        asked.append(cross, own)
        unasked.append(cross, own)
    torch.testing.assert_close(asked.log_determinant(), unasked.log_determinant(), rtol=EXACT, atol=EXACT)


def test_each_observation_adds_the_logarithm_of_its_gain(generator):
    features = torch.randn(50, 8, dtype=torch.float64, generator=generator)
    posterior, total = SequentialPosterior(0.5), 0.0
    for t, g in enumerate(features):
        cross = features[:t] @ g
        total += float(torch.log1p(posterior.variance(cross[:, None], (g @ g)[None])[0] / 0.5))
        posterior.append(cross, g @ g)
        assert posterior.log_determinant() == pytest.approx(total, rel=EXACT)


def test_no_observations_leave_the_prior():
    posterior = SequentialPosterior(2.0)
    own = torch.tensor([1.0, 4.0], dtype=torch.float64)
    assert torch.equal(posterior.variance(torch.zeros(0, 2, dtype=torch.float64), own), own)
    assert posterior.log_determinant() == 0
    assert len(SequentialPosterior.of_gram(torch.zeros(0, 0), 1.0)) == 0


def test_refusals():
    with pytest.raises(KernelError, match="noise must be positive"):
        SequentialPosterior(0.0)
    posterior = SequentialPosterior(1e-3)
    posterior.append(torch.zeros(0), 1.0)
    with pytest.raises(KernelError, match=r"not positive definite .* increase the noise"):
        posterior.append(torch.tensor([2.0], dtype=torch.float64), 1.0)
    with pytest.raises(KernelError, match="not positive definite"):
        posterior.append(torch.tensor([0.0], dtype=torch.float64), float("nan"))
    with pytest.raises(KernelError, match="NaN or infinite"):
        posterior.variance(torch.tensor([[float("nan")]]), torch.ones(1))
    with pytest.raises(KernelError, match="1 observations were seen"):
        posterior.variance(torch.zeros(2, 3), torch.ones(3))
    assert len(posterior) == 1  # a refused update leaves no trace
    with pytest.raises(KernelError, match="increase the noise"):
        SequentialPosterior.of_gram(-torch.eye(3), 0.1)


def test_the_mean_of_the_first_few_is_that_of_a_posterior_of_these_alone(generator):
    features, queries = (torch.randn(n, 9, dtype=torch.float64, generator=generator) for n in (300, 4))
    targets = torch.randn(300, dtype=torch.float64, generator=generator)
    every = _fed(features, targets, 0.3)
    for n in (0, 1, 100, 256, 299, 300):
        few = _fed(features[:n], targets[:n], 0.3)
        found = every.mean(features @ queries.mT, of_first=n)
        assert torch.allclose(found, few.mean(features[:n] @ queries.mT), rtol=0, atol=ITERATED)


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 1), ()], ids=str)
def test_own_norms_are_one_a_point(shape):
    posterior = SequentialPosterior(1.0)
    posterior.append(torch.zeros(0), 1.0)
    with pytest.raises(KernelError, match=r"own must be one squared norm for each of 3 points, \[3\], got"):
        posterior.variance(torch.zeros(1, 3), torch.ones(shape))


@pytest.mark.parametrize("shape", [(2,), (4,), (1, 3), (3, 2), ()], ids=str)
def test_targets_are_one_an_observation(shape):
    with pytest.raises(KernelError, match="targets must be one for each of 3 observations"):
        SequentialPosterior.of_gram(torch.eye(3), 1.0, torch.ones(shape))
    found = SequentialPosterior.of_gram(torch.eye(3), 1.0, torch.ones(3, 1)).mean(torch.eye(3))
    assert torch.allclose(found, torch.full((3,), 0.5).double(), atol=EXACT)


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (0, 2), (3, 3, 1)], ids=str)
def test_a_gram_matrix_is_square(shape):
    with pytest.raises(KernelError, match=r"the Gram matrix must be square \[t, t\]"):
        SequentialPosterior.of_gram(torch.ones(shape), 1.0)


def test_what_is_no_observation_is_refused():
    posterior = SequentialPosterior(1.0)
    with pytest.raises(KernelError, match="must be finite"):
        posterior.append(torch.zeros(0), 1.0, float("nan"))
    with pytest.raises(KernelError, match="not symmetric"):
        SequentialPosterior.of_gram(torch.tensor([[1.0, 0.5], [0.1, 1.0]]), 0.1)
    with pytest.raises(KernelError, match="targets have NaN"):
        SequentialPosterior.of_gram(torch.eye(2), 0.1, torch.tensor([1.0, float("nan")]))


def test_targets_are_optional_and_then_zero():
    gram = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    without, zeros = (SequentialPosterior.of_gram(gram, 0.1, t) for t in (None, torch.zeros(2)))
    assert torch.equal(without.mean(gram), torch.zeros(2).double())
    assert torch.equal(without.variance(gram, gram.diagonal()), zeros.variance(gram, gram.diagonal()))
