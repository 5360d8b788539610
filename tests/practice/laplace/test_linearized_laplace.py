"""Linearized Laplace against Bayesian linear regression on the network's Jacobian, written out in weight space."""

import copy

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import DataError, KernelError, ModelError, StudyError
from ntkgap.practice.laplace import linearized_laplace as laplace_module
from tests.practice.problems import small_problem
from tests.reference import linear_gaussian
from tests.reference.empirical import row_jacobian
from tests.tolerances import ITERATED

pytestmark = pytest.mark.filterwarnings("ignore:the network is not at the mode")

PAIRS = [(1.0, 1.0), (0.05, 0.3), (20.0, 1e-2)]


def mlp(generator):
    net = ng.MLP(3, 2, 5, 2, "tanh", bias_std=0.3, generator=generator)
    return net, (3,)


def convnet(generator):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    return net, (1, 4, 4)


class Problem:
    def __init__(self, build, n, generator):
        model, shape = build(generator)
        self.model = model.double()
        outputs = self.model(torch.zeros(1, *shape).double()).shape[1]

        def draw(*size):
            return torch.randn(*size, dtype=torch.float64, generator=generator)

        self.data = ng.Dataset(draw(n, *shape), draw(n, outputs))
        self.test = draw(5, *shape)
        self.prior = copy.deepcopy(self.model)
        for p in self.prior.parameters():
            p.data += 0.3 * draw(*p.shape)

    def rows(self, x):
        return row_jacobian(self.model, x).flatten(0, 1)  # [nC, P]

    def residual(self, prior):
        theta = torch.cat([p.detach().flatten() for p in self.model.parameters()])
        if prior is not None:
            theta = theta - torch.cat([p.detach().flatten() for p in prior.parameters()])
        misfit = (self.data.y - self.model(self.data.x)).detach().flatten()
        return misfit + self.rows(self.data.x) @ theta


# The MLP has 57 parameters, the convolutional network 47: fewer and more than the rows.
CASES = {
    "mlp-few-rows": (mlp, 6),
    "mlp-many-rows": (mlp, 40),
    "conv-few-rows": (convnet, 5),
    "conv-many-rows": (convnet, 30),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def problem(request, generator):
    return Problem(*request.param, generator)


@pytest.mark.parametrize("route", ["gram", "parameters", "auto"])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("centered", [False, True], ids=["prior-at-0", "prior-at-network"])
def test_equals_dense_linear_gaussian_algebra(problem, route, pair, centered):
    delta, noise = pair
    prior = problem.prior if centered else None
    laplace = ng.LinearizedLaplace(
        problem.model, problem.data, prior_precision=delta, noise_variance=noise, prior_mean=prior, route=route
    )
    features, residual = problem.rows(problem.data.x), problem.residual(prior)
    weights, covariance = linear_gaussian.posterior(features, residual, *pair)
    truth = linear_gaussian.log_evidence(features, residual, *pair)
    assert laplace.log_evidence == pytest.approx(truth, rel=ITERATED)
    assert truth == pytest.approx(linear_gaussian.log_marginal(features, residual, *pair), rel=ITERATED)

    at_test = problem.rows(problem.test)
    found = laplace.predict(problem.test, covariance=True)
    dense = at_test @ covariance @ at_test.T
    k, c = found.network_mean.shape
    torch.testing.assert_close(found.variance.flatten(), dense.diagonal(), rtol=ITERATED, atol=0)
    laid_out = dense.view(k, c, k, c).permute(0, 2, 1, 3)
    torch.testing.assert_close(found.covariance, laid_out, rtol=ITERATED, atol=ITERATED * float(dense.max()))
    torch.testing.assert_close(found.network_mean, problem.model(problem.test).detach(), rtol=ITERATED, atol=0)
    step = weights - torch.cat([s.flatten() for s in laplace._step.values()])
    expected = found.network_mean + (at_test @ step).view(k, c)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.linearized_mean, expected, rtol=ITERATED, atol=ITERATED * scale)


def test_variance_in_blocks(problem, monkeypatch):
    laplace = ng.LinearizedLaplace(problem.model, problem.data, noise_variance=0.1)
    whole = laplace.predict(problem.test)
    monkeypatch.setattr(laplace_module, "BLOCK", 2)
    parts = laplace.predict(problem.test)
    torch.testing.assert_close(parts.variance, whole.variance, rtol=ITERATED, atol=0)
    torch.testing.assert_close(parts.linearized_mean, whole.linearized_mean, rtol=ITERATED, atol=ITERATED)
    assert whole.covariance is None


def test_observations_have_noise_on_top(problem):
    found = ng.LinearizedLaplace(problem.model, problem.data, noise_variance=0.5).predict(problem.test)
    torch.testing.assert_close(
        found.observation_std.square() - found.std.square(), torch.full_like(found.std, 0.5)
    )


@pytest.mark.parametrize("given", [{}, {"prior_precision": 2.0}, {"noise_variance": 0.1}], ids=str)
def test_evidence_is_fitted_alike_on_both_routes(problem, given):
    fits = [
        ng.LinearizedLaplace(problem.model, problem.data, route=route).fit_evidence(
            **given, bounds=((1e-3, 1e3), (1e-3, 1e3))
        )
        for route in ("gram", "parameters")
    ]
    assert fits[0].log_evidence == pytest.approx(fits[1].log_evidence, rel=ITERATED)
    assert (
        fits[0].log_evidence >= ng.LinearizedLaplace(problem.model, problem.data).at(1.0, 1.0).log_evidence
        or given
    )
    for name, value in given.items():
        assert all(getattr(fit, name) == value for fit in fits)


def test_posterior_is_of_the_network_as_it_was(generator):
    model, data, test = small_problem(generator)
    laplace = ng.LinearizedLaplace(model, data)
    before = laplace.predict(test.x)
    ng.train(model, data, learning_rate=1e-2, steps=5)
    after = laplace.predict(test.x)
    assert torch.equal(before.network_mean, after.network_mean)
    assert torch.equal(before.variance, after.variance)


def test_frozen_parameters_have_no_posterior(problem):
    first = next(iter(problem.model.parameters()))
    free = ng.LinearizedLaplace(problem.model, problem.data).predict(problem.test).variance
    first.requires_grad_(False)
    fixed = ng.LinearizedLaplace(problem.model, problem.data)
    assert len(fixed.map_step()) == len(list(problem.model.parameters())) - 1
    assert (fixed.predict(problem.test).variance.sum() < free.sum()).all()


def test_known_truth_is_recovered(generator):
    """A linear network: data drawn with known δ and σ², estimated within five standard errors of log-variances."""
    delta, noise, inputs, n = 4.0, 0.25, 60, 400
    x = torch.randn(n, inputs, dtype=torch.float64, generator=generator)
    w = torch.randn(inputs, 1, dtype=torch.float64, generator=generator) / delta**0.5
    y = x @ w + noise**0.5 * torch.randn(n, 1, dtype=torch.float64, generator=generator)
    model = nn.Linear(inputs, 1, bias=False).double()
    fitted = ng.LinearizedLaplace(model, ng.Dataset(x, y)).fit_evidence()
    assert fitted.maximum is not None
    assert not fitted.maximum.at_edge
    assert abs(torch.log(torch.tensor(fitted.prior_precision / delta))) < 5 * (2 / inputs) ** 0.5
    assert abs(torch.log(torch.tensor(fitted.noise_variance / noise))) < 5 * (2 / (n - inputs)) ** 0.5


def test_evidence_of_a_linear_network_does_not_depend_on_where_it_is_linearized(generator):
    _, data, _ = small_problem(generator)
    one, two = nn.Linear(4, 1).double(), nn.Linear(4, 1).double()
    values = [ng.LinearizedLaplace(m, data, noise_variance=0.2).log_evidence for m in (one, two)]
    assert values[0] == pytest.approx(values[1], rel=ITERATED)


def test_means_agree_at_the_optimum(generator):
    """Of the loss with weight decay, for a linear network; before training they do not."""
    _, data, test = small_problem(generator)
    model = nn.Linear(4, 1).double()
    early = ng.LinearizedLaplace(model, data, prior_precision=2.0, noise_variance=0.5).predict(test.x)
    assert not torch.allclose(early.network_mean, early.linearized_mean, rtol=1e-2)
    trained = ng.practice.online_laplace(
        model, data, learning_rate=0.1, steps=600, optimizer="gd", prior_precision=2.0, noise_variance=0.5
    )
    assert trained.path == ()
    found = trained.laplace.predict(test.x)
    torch.testing.assert_close(found.network_mean, found.linearized_mean, rtol=1e-8, atol=1e-8)


def test_online_choices_raise_the_evidence(generator):
    model, data, _ = small_problem(generator, n=16)
    fixed = ng.LinearizedLaplace(copy.deepcopy(model), data)
    run = ng.practice.online_laplace(model, data, learning_rate=1e-2, steps=30, every=10)
    assert [choice.step for choice in run.path] == [10, 20, 30]
    assert len(run.curve.losses) == 31
    assert run.model is model
    assert run.laplace.log_evidence == run.path[-1].log_evidence > fixed.log_evidence
    again = ng.LinearizedLaplace(model, data).fit_evidence()  # the network it ended with, afresh
    assert again.log_evidence == pytest.approx(run.laplace.log_evidence, rel=ITERATED)


def test_online_prior_stays_where_training_began(generator):
    """Centered on the very network that is trained: a huge decay holds it at its start, a prior at 0 would not."""
    model, data, _ = small_problem(generator)
    start = copy.deepcopy(model)
    run = ng.practice.online_laplace(
        model, data, learning_rate=1e-4, steps=50, optimizer="gd", prior_precision=1e3, prior_mean=model
    )
    moved = sum((p - q).square().sum() for p, q in zip(model.parameters(), start.parameters(), strict=True))
    length = sum(q.square().sum() for q in start.parameters())
    assert moved < 1e-3 * length
    afresh = ng.LinearizedLaplace(model, data, prior_precision=1e3, prior_mean=start.state_dict())
    assert run.laplace.log_evidence == pytest.approx(afresh.log_evidence, rel=ITERATED)


def test_diverged_training_is_reported(generator):
    model, data, _ = small_problem(generator)
    run = ng.practice.online_laplace(model, data, learning_rate=1e6, steps=50, every=50, optimizer="gd")
    assert "diverged" in run.curve.stopped
    assert run.laplace is None


def test_bad_input_is_refused(generator):
    model, data, _ = small_problem(generator)
    for bad in ({"prior_precision": 0.0}, {"noise_variance": -1.0}, {"noise_variance": float("nan")}):
        with pytest.raises(KernelError, match="positive and finite"):
            ng.LinearizedLaplace(model, data, **bad)
    with pytest.raises(KernelError, match="route"):
        ng.LinearizedLaplace(model, data, route="fast")
    with pytest.raises(KernelError, match="prior_mean"):
        ng.LinearizedLaplace(model, data, prior_mean=nn.Linear(4, 1))
    with pytest.raises(ModelError, match="shape"):
        ng.LinearizedLaplace(model, ng.Dataset(data.x, data.y.expand(-1, 2)))
    with pytest.raises(StudyError, match="every"):
        ng.practice.online_laplace(model, data, learning_rate=0.1, steps=1, every=0)
    with pytest.raises(StudyError, match="optimizer"):
        ng.practice.online_laplace(model, data, learning_rate=0.1, steps=1, every=1, optimizer="lbfgs")
    next(model.parameters()).data.fill_(float("nan"))
    with pytest.raises(ModelError, match="diverged"):
        ng.LinearizedLaplace(model, data)


def test_points_and_bounds_that_are_none_are_named(generator):
    model, data, _ = small_problem(generator)
    laplace = ng.LinearizedLaplace(model, data)
    with pytest.raises(DataError, match=r"x must be a torch.Tensor of shape \[k, ...\], got ndarray"):
        laplace.predict(data.x.numpy())
    with pytest.raises(KernelError, match="bounds must be two pairs of numbers"):
        laplace.fit_evidence(bounds=(0.1, 10))
