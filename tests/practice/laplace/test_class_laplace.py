"""Laplace approximations of classifiers against dense algebra in weight space, and what is read out of them."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.practice.laplace import linearized_laplace as laplace_module
from tests.practice.laplace.problems import Problem, fit
from tests.tolerances import EXACT, ITERATED

pytestmark = [
    pytest.mark.filterwarnings("ignore:the network is not at the mode"),
    pytest.mark.filterwarnings("ignore:prior_precision .* is not to be trusted"),
]

CASES = [("categorical", n, soft) for n in (4, 30) for soft in (False, True)] + [
    ("bernoulli", n, soft) for n in (10, 70) for soft in (False, True)
]


@pytest.fixture(params=CASES, ids=str)
def problem(request, generator):
    likelihood, n, soft = request.param
    return Problem(likelihood, n, generator, soft=soft)


@pytest.mark.parametrize("route", ["gram", "parameters", "auto"])
@pytest.mark.parametrize("delta", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("centered", [False, True], ids=["prior-at-0", "prior-at-network"])
def test_equals_dense_algebra_in_weight_space(problem, route, delta, centered):
    prior = problem.prior if centered else None
    laplace = fit(problem, prior_precision=delta, prior_mean=prior, route=route)
    hessian, slope = problem.hessian(delta)
    step, p = problem.step(centered), len(hessian)
    value = float(problem.log_likelihood(problem.model(problem.data.x).detach()))
    evidence = value - 0.5 * (delta * float(step @ step) + float(torch.logdet(hessian)) - p * math.log(delta))
    assert laplace.log_evidence == pytest.approx(evidence, rel=ITERATED)

    newton = torch.linalg.solve(hessian, slope - delta * step)
    found = torch.cat([s.flatten() for s in laplace.map_step().values()])
    torch.testing.assert_close(found, newton, rtol=ITERATED, atol=ITERATED * float(newton.abs().max()))
    said = laplace.predict(problem.test, covariance=True)
    k, c, _ = problem.at_test.shape
    j = problem.at_test.flatten(0, 1)
    dense = j @ torch.linalg.solve(hessian, j.T)
    covariance = said.covariance.permute(0, 2, 1, 3).reshape(k * c, k * c)
    torch.testing.assert_close(covariance, dense, rtol=ITERATED, atol=ITERATED * float(dense.max()))
    torch.testing.assert_close(said.variance.flatten(), dense.diagonal(), rtol=ITERATED, atol=0)
    linearized = problem.model(problem.test).detach() + problem.at_test @ newton
    torch.testing.assert_close(said.linearized_mean, linearized, rtol=ITERATED, atol=ITERATED)
    assert said.noise_variance is laplace.noise_variance is None


def test_distance_to_the_mode_is_that_of_dense_algebra(problem):
    laplace = fit(problem, prior_precision=0.7)
    hessian, slope = problem.hessian(0.7)
    newton = torch.linalg.solve(hessian, slope - 0.7 * problem.step(False))
    data = hessian - 0.7 * torch.eye(len(hessian), dtype=torch.float64)
    expected = (newton @ data @ newton / torch.linalg.solve(hessian, data).trace()).sqrt()
    assert laplace.distance_to_mode == pytest.approx(float(expected), rel=ITERATED)


def test_many_small_networks_both_routes_alike():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        problem = Problem("categorical", 3 + seed, generator, outputs=2 + seed % 4)
        one, two = (fit(problem, route=route).fit_evidence() for route in ("gram", "parameters"))
        assert one.prior_precision == pytest.approx(two.prior_precision, rel=ITERATED)
        assert one.log_evidence == pytest.approx(two.log_evidence, rel=ITERATED)
        a, b = (laplace.probabilities(problem.test) for laplace in (one, two))
        torch.testing.assert_close(a, b, rtol=ITERATED, atol=ITERATED)


def test_fitted_precision_has_the_greatest_evidence(problem):
    laplace = fit(problem)
    best = laplace.fit_evidence()
    assert not best.maximum.at_edge
    assert best.log_evidence == best.maximum.log_evidence
    for factor in (0.5, 0.99, 1.01, 2.0):
        assert laplace.at(factor * best.prior_precision).log_evidence < best.log_evidence
    edge = laplace.fit_evidence(bounds=(2 * best.prior_precision, 9 * best.prior_precision))
    assert edge.maximum.at_edge
    assert edge.prior_precision == pytest.approx(2 * best.prior_precision)
    assert laplace.fit_evidence(prior_precision=3.0).prior_precision == 3.0


def test_prior_at_the_network_leaves_no_maximum(generator):
    problem = Problem("categorical", 6, generator)
    assert fit(problem, prior_mean=problem.model).fit_evidence().maximum.at_edge


def test_two_outputs_of_opposite_sign_are_a_bernoulli():
    """Softmax of (−f/2, f/2) is the logistic of f, with the same parameters."""
    torch.manual_seed(1)
    x = torch.randn(8, 2, dtype=torch.float64)
    labels = (x[:, 0] > 0).long()
    inner = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) * torch.tensor([-0.5, 0.5], dtype=x.dtype)

    two = ng.LinearizedLaplace(Both(), ng.Dataset(x, F.one_hot(labels, 2).double(), 2))
    one = ng.LinearizedLaplace(inner, ng.Dataset(x, labels[:, None].double()), likelihood="bernoulli")
    assert two.log_evidence == pytest.approx(one.log_evidence, rel=EXACT)
    draws = torch.Generator().manual_seed(0)
    a = two.probabilities(x, "monte_carlo", samples=40_000, generator=draws)
    b = one.probabilities(x, "monte_carlo", samples=40_000, generator=draws)
    torch.testing.assert_close(a, b, atol=5 * 0.5 * (2 / 40_000) ** 0.5, rtol=0)
    # MacKay's probit formula, written out.
    said = one.predict(x)
    probit = torch.sigmoid(said.network_mean / (1 + math.pi * said.variance / 8).sqrt())
    torch.testing.assert_close(one.probabilities(x)[:, 1:], probit, rtol=EXACT, atol=0)


def test_samples_have_the_moments_that_are_predicted(generator):
    problem = Problem("categorical", 12, generator)
    laplace = fit(problem)
    count = 20_000
    draws = laplace.samples(problem.test, count, torch.Generator().manual_seed(1))
    said = laplace.predict(problem.test, covariance=True)
    deviation = (draws.mean(0) - said.network_mean) / (said.std / count**0.5)
    assert deviation.abs().max() < 5
    flat = (draws - said.network_mean).flatten(1)
    expected = said.covariance.permute(0, 2, 1, 3).reshape(flat.shape[1], -1)
    scale = torch.outer(expected.diagonal(), expected.diagonal()).sqrt()
    assert ((flat.T @ flat / count - expected) / scale).abs().max() < 5 * (2 / count) ** 0.5
    by_hand = F.softmax(draws, dim=2).mean(0)
    said = laplace.probabilities(problem.test, "monte_carlo", samples=count)
    torch.testing.assert_close(said, by_hand, atol=5 * 0.5 * (2 / count) ** 0.5, rtol=0)


@pytest.mark.parametrize("route", ["gram", "parameters"])
@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian"])
def test_gradients_reach_the_inputs(likelihood, route, generator):
    problem = Problem("categorical" if likelihood == "gaussian" else likelihood, 8, generator)
    problem.likelihood = likelihood
    laplace = fit(problem, route=route)
    test = problem.test[:2]
    x = test.clone().requires_grad_()
    plain, attached = (laplace.predict(points, covariance=True) for points in (test, x))
    for name in ("network_mean", "linearized_mean", "variance", "covariance"):
        torch.testing.assert_close(getattr(attached, name), getattr(plain, name), rtol=ITERATED, atol=ITERATED)

    def numbers(points):
        found = laplace.predict(points)
        values = [found.std.sum(), found.linearized_mean.square().sum()]
        if likelihood != "gaussian":
            for method in ("probit", "bridge", "monte_carlo"):
                seeded = torch.Generator().manual_seed(3)
                p = laplace.probabilities(points, method, samples=50, generator=seeded)
                values.append(p.log().sum())
        return torch.stack(values)

    assert torch.autograd.gradcheck(numbers, (x,), eps=1e-6, atol=1e-5)


def test_blocks_are_put_together(generator, monkeypatch):
    problem = Problem("categorical", 10, generator)
    laplace = fit(problem)
    whole = laplace.probabilities(problem.test)
    monkeypatch.setattr(laplace_module, "BLOCK", 2)
    torch.testing.assert_close(laplace.probabilities(problem.test), whole, rtol=ITERATED, atol=0)


def test_noise_for_every_output_is_that_of_scaled_outputs(generator):
    """Dense algebra with the noise on the diagonal."""
    problem = Problem("categorical", 7, generator, soft=True)
    noise = torch.tensor([0.1, 1.0, 4.0], dtype=torch.float64)
    for route in ("gram", "parameters"):
        laplace = ng.LinearizedLaplace(
            problem.model,
            problem.data,
            likelihood="gaussian",
            prior_precision=0.5,
            noise_variance=noise,
            route=route,
        )
        j = problem.rows.flatten(0, 1)
        residual = (problem.data.y - problem.model(problem.data.x)).detach().flatten() + j @ problem.step(False)
        diagonal = torch.diag(noise.repeat(7))
        normal = torch.distributions.MultivariateNormal(torch.zeros_like(residual), j @ j.T / 0.5 + diagonal)
        assert laplace.log_evidence == pytest.approx(float(normal.log_prob(residual)), rel=ITERATED)
        precision = 0.5 * torch.eye(j.shape[1], dtype=j.dtype) + j.T @ torch.diag(1 / noise.repeat(7)) @ j
        at = problem.at_test.flatten(0, 1)
        said = laplace.predict(problem.test)
        variance = (at @ torch.linalg.inv(precision) @ at.T).diagonal().view(4, 3)
        torch.testing.assert_close(said.variance, variance, rtol=ITERATED, atol=0)
        torch.testing.assert_close(said.observation_std, (variance + noise).sqrt(), rtol=ITERATED, atol=0)
        best = laplace.fit_evidence(bounds=((1e-3, 1e3), (1e-3, 1e3)))
        factor = best.maximum.noise_variance
        torch.testing.assert_close(best.noise_variance, factor * noise)
        assert best.log_evidence >= laplace.log_evidence
        again = laplace.at(best.prior_precision, factor * noise)
        assert again.log_evidence == pytest.approx(best.log_evidence, rel=ITERATED)
    equal = [
        ng.LinearizedLaplace(problem.model, problem.data, likelihood="gaussian", noise_variance=v).log_evidence
        for v in (0.3, [0.3, 0.3, 0.3])
    ]
    assert equal[0] == pytest.approx(equal[1], rel=ITERATED)
