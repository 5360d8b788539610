import pytest
import torch

from ntkgap.errors import AccuracyWarning, JitterWarning, KernelError
from ntkgap.theory import GaussianProcess
from tests.reference.linear_model import linear_problem, posterior
from tests.tolerances import EXACT, ITERATED, SINGLE


@pytest.fixture
def problem(generator):
    return linear_problem(generator)


def grams(p):
    return p.nngp(p.train, p.train), p.nngp(p.test, p.train), p.nngp(p.test, p.test)


@pytest.mark.parametrize("noise_variance", [0.01, 1.0])
def test_the_posterior_is_bayes_rule_for_the_weights(problem, noise_variance):
    gram, cross, test = grams(problem)
    found = GaussianProcess(gram, problem.y, noise_variance).predict(cross, test)
    mean, covariance = problem.function(problem.test, *posterior(problem, noise_variance))
    torch.testing.assert_close(found.mean, mean, rtol=ITERATED, atol=ITERATED)
    torch.testing.assert_close(found.covariance, covariance, rtol=ITERATED, atol=ITERATED)


def test_without_noise_it_interpolates(problem):
    gram, _, _ = grams(problem)
    found = GaussianProcess(gram, problem.y).predict(gram, gram)
    torch.testing.assert_close(found.mean, problem.y, rtol=ITERATED, atol=ITERATED)
    assert (found.variance >= 0).all()
    assert found.variance.max() < EXACT * gram.trace()


def test_the_marginal_likelihood_is_the_density_of_the_targets(problem):
    gram, _, _ = grams(problem)
    found = GaussianProcess(gram, problem.y, 0.3).log_marginal_likelihood()
    density = torch.distributions.MultivariateNormal(
        torch.zeros(7).double(), gram + 0.3 * torch.eye(7, dtype=torch.float64)
    )
    torch.testing.assert_close(found, density.log_prob(problem.y.T), rtol=EXACT, atol=0)


def test_single_precision_is_promoted(problem):
    gram, cross, test = grams(problem)
    exact = GaussianProcess(gram, problem.y, 0.1).predict(cross, test)
    found = GaussianProcess(gram.float(), problem.y.float(), 0.1).predict(cross.float(), test.float())
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    torch.testing.assert_close(found.mean, exact.mean, rtol=SINGLE, atol=SINGLE)
    torch.testing.assert_close(found.covariance, exact.covariance, rtol=SINGLE, atol=SINGLE)


def test_a_singular_prior_says_what_it_added(problem):
    problem.train[1] = problem.train[0]
    gram, cross, test = grams(problem)
    with pytest.warns(
        JitterWarning, match=r"prior's Gram matrix \+ noise_variance·I.*\(rows 0 = 1\), or raise noise_variance"
    ):
        process = GaussianProcess(gram, problem.y)
    assert process.jitter > 0
    # Where an input occurs twice with different targets, the posterior passes between them.
    with pytest.warns(
        AccuracyWarning, match=r"leave out inputs that repeat others \(rows 0 = 1\), or raise noise"
    ):
        found = process.predict(gram, gram)
    # Duals are as large as 1/jitter, and what products with them lose is a tenth of what is between the targets.
    lost = 7 * torch.finfo(torch.float64).eps * gram.abs().max() * process.duals.norm(dim=0)
    assert (lost < 0.1 * (problem.y[0] - problem.y[1]).abs()).all()
    assert ((found.mean[0] - problem.y[:2].mean(dim=0)).abs() <= lost).all()
    assert GaussianProcess(gram, problem.y, 0.1).jitter == 0
    with pytest.warns(AccuracyWarning):
        assert (process.predict(cross, test).variance >= 0).all()


def test_what_does_not_fit_is_named(problem):
    gram, cross, test = grams(problem)
    with pytest.raises(KernelError, match=r"targets must have shape \(7, any\), got \(6, 2\)"):
        GaussianProcess(gram, problem.y[:6])
    with pytest.raises(KernelError, match=r"prior's Gram matrix: the matrix is not symmetric"):
        GaussianProcess(gram + torch.triu(gram), problem.y)
    for noise in (-0.1, float("nan"), float("inf")):
        with pytest.raises(KernelError, match=r"noise_variance must be finite and at least 0"):
            GaussianProcess(gram, problem.y, noise)
    process = GaussianProcess(gram, problem.y, 0.1)
    with pytest.raises(KernelError, match=r"cross kernel must have shape \(any, 7\), got \(7, 4\)"):
        process.predict(cross.T, test)
    with pytest.raises(KernelError, match=r"test points must have shape \(4, 4\), got \(3, 3\)"):
        process.predict(cross, test[:3, :3])
    with pytest.raises(KernelError, match=r"do not belong together"):
        process.predict(3 * cross, test)


def test_every_point_may_have_its_own_noise(problem):
    gram, cross, test = grams(problem)
    noise = torch.linspace(0.1, 0.9, len(gram), dtype=torch.float64)
    found = GaussianProcess(gram.numpy(), problem.y.numpy(), noise).predict(cross, test)
    solved = torch.linalg.solve(gram + noise.diag(), torch.cat([problem.y, cross.T], 1))
    torch.testing.assert_close(found.mean, cross @ solved[:, : problem.y.shape[1]], rtol=ITERATED, atol=ITERATED)
    right = test - cross @ solved[:, problem.y.shape[1] :]
    torch.testing.assert_close(found.covariance, right, rtol=ITERATED, atol=ITERATED)
    for bad in (noise[:2], -noise):
        with pytest.raises(KernelError, match="noise_variance must be"):
            GaussianProcess(gram, problem.y, bad)
