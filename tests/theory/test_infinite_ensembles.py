import pytest
import torch

from ntkgap.errors import KernelError
from ntkgap.theory import GaussianProcess, InfiniteEnsemble, RandomizedPriorEnsemble, critical_learning_rate
from tests.reference.linear_model import descend, flow, linear_problem, ridge
from tests.tolerances import EXACT, ITERATED, SINGLE


@pytest.fixture
def problem(generator):
    return linear_problem(generator)


def kernels(p, a, b):
    return p.tangent(a, b), p.nngp(a, b)


def ensemble_of(p, **keywords):
    return InfiniteEnsemble(*kernels(p, p.train, p.train), p.y, **keywords)


def predict(ensemble, p, decay, **keywords):
    return ensemble.predict(decay, *kernels(p, p.test, p.train), p.nngp(p.test, p.test), **keywords)


def assert_gaussian(found, expected, tolerance=ITERATED):
    torch.testing.assert_close(found.mean, expected[0], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found.covariance, expected[1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("features", [5, 12])  # 5: the Gram matrix of 7 points is singular
@pytest.mark.parametrize("fraction", [0.5, 1.0])  # 1.0 overshoots along the largest modes
def test_gradient_descent_is_the_iterated_map_of_the_weights(generator, features, fraction):
    p = linear_problem(generator, features=features)
    ensemble = ensemble_of(p)
    rate = fraction * critical_learning_rate(p.tangent(p.train, p.train))
    steps = torch.tensor([0, 1, 30])
    found = predict(ensemble, p, ensemble.gradient_descent_decay(rate, steps))
    fitted = ensemble.predict_training(ensemble.gradient_descent_decay(rate, steps))
    for t, step in enumerate(steps.tolist()):
        weights = descend(p, rate, step)
        at_test, at_train = p.function(p.test, *weights), p.function(p.train, *weights)
        torch.testing.assert_close(found.mean[t], at_test[0], rtol=ITERATED, atol=ITERATED)
        torch.testing.assert_close(found.covariance[t], at_test[1], rtol=ITERATED, atol=ITERATED)
        torch.testing.assert_close(fitted.mean[t], at_train[0], rtol=ITERATED, atol=ITERATED)
        torch.testing.assert_close(fitted.covariance[t], at_train[1], rtol=ITERATED, atol=ITERATED)


@pytest.mark.parametrize("time", [0.01, 0.3, 5.0])
def test_gradient_flow_is_the_matrix_exponential_of_the_weights(problem, time):
    p, ensemble = problem, ensemble_of(problem)
    found = predict(ensemble, p, ensemble.gradient_flow_decay(time))
    assert_gaussian(found, p.function(p.test, *flow(p, time)))


def test_it_starts_at_the_prior(problem):
    p, ensemble = problem, ensemble_of(problem)
    found = predict(ensemble, p, ensemble.gradient_flow_decay(0.0))
    assert_gaussian(found, (torch.zeros(4, 2).double(), p.nngp(p.test, p.test)), EXACT)


def test_it_ends_at_interpolation_and_is_the_limit_of_late_times(problem):
    p, ensemble = problem, ensemble_of(problem)
    end = ensemble.converged_decay()
    fitted = ensemble.predict_training(end)
    assert_gaussian(fitted, (p.y, torch.zeros(7, 7).double()), EXACT)
    late = predict(ensemble, p, ensemble.gradient_flow_decay(1e9))
    assert_gaussian(predict(ensemble, p, end), (late.mean, late.covariance), EXACT)


def test_a_singular_kernel_ends_at_the_least_squares_fit_nearest_to_the_start(generator):
    p = linear_problem(generator, features=5)
    ensemble = ensemble_of(p)
    pseudo = torch.linalg.pinv(p.train)  # of full column rank: the start is forgotten
    assert_gaussian(
        predict(ensemble, p, ensemble.converged_decay()),
        (p.test @ pseudo @ p.y, torch.zeros(4, 4).double()),
    )
    torch.testing.assert_close(
        ensemble.predict_training(ensemble.converged_decay()).mean,
        p.train @ pseudo @ p.y,
        rtol=ITERATED,
        atol=ITERATED,
    )


def test_only_the_readout_trained_ends_at_the_nngp_posterior(problem):
    p = problem
    gram, cross, test = (p.nngp(a, b) for a, b in ((p.train, p.train), (p.test, p.train), (p.test, p.test)))
    ensemble = InfiniteEnsemble(gram, gram, p.y)
    found = ensemble.predict(ensemble.converged_decay(), cross, cross, test)
    posterior = GaussianProcess(gram, p.y).predict(cross, test)
    assert_gaussian(found, (posterior.mean, posterior.covariance))


def test_an_initial_function_is_carried_along(problem, generator):
    p = problem
    start = torch.randn(12, 2, dtype=torch.float64, generator=generator)
    ensemble = ensemble_of(p, initial=p.train @ start)
    rate = 0.5 * critical_learning_rate(p.tangent(p.train, p.train))
    decay = ensemble.gradient_descent_decay(rate, 20)
    weights = descend(p, rate, 20, start)
    assert_gaussian(predict(ensemble, p, decay, initial=p.test @ start), p.function(p.test, *weights))
    fitted = ensemble.predict_training(decay)
    assert_gaussian(fitted, p.function(p.train, *weights))


def test_a_fixed_start_leaves_no_variance(problem):
    p = problem
    ensemble = InfiniteEnsemble(p.tangent(p.train, p.train), None, p.y)
    decay = ensemble.gradient_flow_decay(torch.tensor([0.0, 0.3], dtype=torch.float64))
    found = ensemble.predict(decay, p.tangent(p.test, p.train))
    p.prior = torch.zeros_like(p.prior)
    torch.testing.assert_close(found.mean[1], p.function(p.test, *flow(p, 0.3))[0], rtol=ITERATED, atol=ITERATED)
    assert found.covariance.shape == (2, 4, 4)
    assert not found.covariance.any()
    assert not ensemble.predict_training(decay).covariance.any()


@pytest.mark.parametrize("noise_variance", [0.01, 1.0])
def test_randomized_priors_are_the_anchored_ridge_fits_of_the_weights(problem, noise_variance):
    p = problem
    ensemble = RandomizedPriorEnsemble(*kernels(p, p.train, p.train), p.y, noise_variance)
    found = ensemble.predict(*kernels(p, p.test, p.train), p.nngp(p.test, p.test))
    assert_gaussian(found, p.function(p.test, *ridge(p, noise_variance)))
    assert ensemble.jitter == 0


def test_a_randomized_prior_with_the_ntk_as_covariance_is_the_ntk_posterior(problem):
    p = problem
    gram, cross, test = (p.tangent(a, b) for a, b in ((p.train, p.train), (p.test, p.train), (p.test, p.test)))
    found = RandomizedPriorEnsemble(gram, gram, p.y, 0.3).predict(cross, cross, test)
    posterior = GaussianProcess(gram, p.y, 0.3).predict(cross, test)
    assert_gaussian(found, (posterior.mean, posterior.covariance), EXACT)


def test_without_noise_a_randomized_prior_is_the_converged_ensemble(problem):
    p, plain = problem, ensemble_of(problem)
    found = RandomizedPriorEnsemble(*kernels(p, p.train, p.train), p.y, 0.0).predict(
        *kernels(p, p.test, p.train), p.nngp(p.test, p.test)
    )
    end = predict(plain, p, plain.converged_decay())
    assert_gaussian(found, (end.mean, end.covariance))


def test_single_precision_is_promoted(problem):
    p, ensemble = problem, ensemble_of(problem)
    end = ensemble.converged_decay()
    exact = predict(ensemble, p, end)
    for name in ("train", "test", "prior", "y"):
        setattr(p, name, getattr(p, name).float())
    found = predict(ensemble_of(p), p, end)
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    assert_gaussian(found, (exact.mean, exact.covariance), SINGLE)


def test_covariances_are_symmetric_and_positive_up_to_rounding(problem):
    """At the training points of a converged ensemble everything cancels; the test points repeat them."""
    p, ensemble = problem, ensemble_of(problem)
    p.test = p.train
    found = predict(ensemble, p, ensemble.converged_decay())
    assert torch.equal(found.covariance, found.covariance.T)
    assert (found.variance >= 0).all()
    assert found.std.isfinite().all()
    assert torch.linalg.eigvalsh(found.covariance)[0] > -EXACT * p.nngp(p.train, p.train).trace()


def test_what_does_not_fit_is_named(problem):
    p, ensemble = problem, ensemble_of(problem)
    ntk, nngp = kernels(p, p.train, p.train)
    cross, test = kernels(p, p.test, p.train), p.nngp(p.test, p.test)
    decay = ensemble.converged_decay()
    with pytest.raises(KernelError, match=r"NTK Gram matrix must have shape \(7, 7\).*got \(6, 6\)"):
        InfiniteEnsemble(ntk[:6, :6], nngp, p.y)
    with pytest.raises(KernelError, match=r"NNGP Gram matrix must have shape \(7, 7\), got \(6, 6\)"):
        InfiniteEnsemble(ntk, nngp[:6, :6], p.y)
    with pytest.raises(KernelError, match=r"targets must have shape \(any, any\), got \(7,\)"):
        InfiniteEnsemble(ntk, nngp, p.y[:, 0])
    with pytest.raises(KernelError, match=r"initial must have shape \(7, 2\), got \(7, 1\)"):
        InfiniteEnsemble(ntk, nngp, p.y, initial=p.y[:, :1])
    with pytest.raises(KernelError, match=r"ntk_cross must have shape \(any, 7\), got \(7, 4\)"):
        ensemble.predict(decay, cross[0].T, cross[1], test)
    with pytest.raises(KernelError, match=r"nngp_cross must have shape \(4, 7\), got \(7, 4\)"):
        ensemble.predict(decay, cross[0], cross[1].T, test)
    with pytest.raises(KernelError, match=r"nngp_test must have shape \(4, 4\), got \(3, 3\)"):
        ensemble.predict(decay, *cross, test[:3, :3])
    with pytest.raises(KernelError, match=r"nngp_test.*not symmetric"):
        ensemble.predict(decay, *cross, test + torch.triu(torch.ones(4, 4)))
    with pytest.raises(KernelError, match=r"nngp_cross and nngp_test are needed"):
        ensemble.predict(decay, cross[0])
    with pytest.raises(KernelError, match=r"takes no NNGP kernel"):
        InfiniteEnsemble(ntk, None, p.y).predict(decay, *cross, test)
    with pytest.raises(KernelError, match=r"initial function on both"):
        ensemble.predict(decay, *cross, test, initial=torch.zeros(4, 2))
    with pytest.raises(KernelError, match=r"ntk_cross has NaN"):
        ensemble.predict(decay, cross[0] * float("nan"), cross[1], test)
    with pytest.raises(KernelError, match=r"decay must hold .* shape \(\.\.\., 7\).*got \(5,\)"):
        ensemble.predict(decay[:5], *cross, test)
    with pytest.raises(KernelError, match=r"noise_variance must be finite and at least 0, got -1"):
        RandomizedPriorEnsemble(ntk, nngp, p.y, -1)


def test_kernels_that_do_not_belong_together_are_refused(problem):
    p, ensemble = problem, ensemble_of(problem)
    cross = kernels(p, p.test, p.train)
    with pytest.raises(KernelError, match=r"variance is negative .*do not belong together"):
        ensemble.predict(ensemble.converged_decay(), cross[0], 10 * cross[1], p.nngp(p.test, p.test))
