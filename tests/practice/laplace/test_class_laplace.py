"""Laplace approximations of classifiers against dense algebra in weight space, and what is read out of them."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import AccuracyWarning, DataError, KernelError, ModelError
from ntkgap.practice.laplace import linearized_laplace as laplace_module
from tests.reference.empirical import row_jacobian
from tests.tolerances import EXACT, ITERATED

pytestmark = [
    pytest.mark.filterwarnings("ignore:the network is not at the mode"),
    pytest.mark.filterwarnings("ignore:prior_precision .* is not to be trusted"),
]


def draw(generator, *size):
    return torch.randn(*size, dtype=torch.float64, generator=generator)


class Problem:
    """A random network on random classes, or on soft targets, and the dense matrices of its posterior."""

    def __init__(self, likelihood, n, generator, outputs=3, soft=False):
        outputs = 1 if likelihood == "bernoulli" else outputs
        self.likelihood = likelihood
        self.model = ng.MLP(3, outputs, 5, 2, "tanh", bias_std=0.3, generator=generator).double()
        x, self.test = draw(generator, n, 3), draw(generator, 4, 3)
        if likelihood == "bernoulli":
            y = torch.rand(n, 1, dtype=torch.float64, generator=generator)
            y = y if soft else 2 * y.round() - 1
            classes = None if soft else 2
        else:
            y = F.softmax(2 * draw(generator, n, outputs), dim=1)
            y = y if soft else F.one_hot(y.argmax(1), outputs).double()
            classes = outputs
        self.data = ng.Dataset(x, y, classes)
        self.prior = copy.deepcopy(self.model)
        for p in self.prior.parameters():
            p.data += 0.3 * draw(generator, *p.shape)
        self.rows = row_jacobian(self.model, x)  # [n, C, P]
        self.at_test = row_jacobian(self.model, self.test)

    def step(self, centered):
        theta = torch.cat([p.detach().flatten() for p in self.model.parameters()])
        return theta - torch.cat([p.detach().flatten() for p in self.prior.parameters()]) if centered else theta

    def log_likelihood(self, f):
        y = self.data.y
        if self.likelihood == "categorical":
            return -F.cross_entropy(f, y, reduction="sum")
        y = (y + 1) / 2 if self.data.n_classes else y
        return -F.binary_cross_entropy_with_logits(f, y, reduction="sum")

    def hessian(self, delta):
        """δI + JᵀSJ, with S by differentiating the log likelihood twice, and its slope."""
        f = self.model(self.data.x).detach().requires_grad_()
        curvature = -torch.autograd.functional.hessian(self.log_likelihood, f.detach()).view(f.numel(), -1)
        (slope,) = torch.autograd.grad(self.log_likelihood(f), f)
        j = self.rows.flatten(0, 1)
        return delta * torch.eye(j.shape[1], dtype=j.dtype) + j.T @ curvature @ j, j.T @ slope.flatten()


CASES = [("categorical", n, soft) for n in (4, 30) for soft in (False, True)] + [
    ("bernoulli", n, soft) for n in (10, 70) for soft in (False, True)
]


@pytest.fixture(params=CASES, ids=str)
def problem(request, generator):
    likelihood, n, soft = request.param
    return Problem(likelihood, n, generator, soft=soft)


def fit(problem, **settings):
    return ng.LinearizedLaplace(problem.model, problem.data, likelihood=problem.likelihood, **settings)


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


def blobs(n=40):
    """Two classes on a line, and a network trained on them by cross-entropy."""
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, n, dtype=torch.float64)[:, None]
    data = ng.Dataset(x, F.one_hot((x[:, 0] > 0).long(), 2).double(), n_classes=2)
    net = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 2)).double()
    return data, net


def test_a_network_trained_by_cross_entropy_is_read_as_a_classifier():
    data, net = blobs()
    ng.train(net, data, learning_rate=0.05, steps=300, loss="cross_entropy")
    laplace = ng.LinearizedLaplace(net, data)
    assert laplace.likelihood == "categorical"
    assert laplace.log_evidence == pytest.approx(-33.3, abs=1)  # a Gaussian fit of the targets has about −102
    fitted = laplace.fit_evidence()
    assert fitted.distance_to_mode < 1
    p = fitted.probabilities(data.x)
    scores = ng.practice.classification_calibration(p, data.y)
    assert scores.accuracy == 1
    assert scores.nll < 0.3
    far = fitted.probabilities(torch.tensor([[-40.0], [40.0]], dtype=torch.float64))
    assert far.max() < F.softmax(net(torch.tensor([[40.0]], dtype=torch.float64)), dim=1).max() - 0.05


@pytest.mark.filterwarnings("default:the network is not at the mode")
def test_a_network_that_is_not_at_the_mode_is_told_of_once():
    data, net = blobs()
    start = copy.deepcopy(net)
    ng.train(net, data, learning_rate=0.05, steps=1000, loss="cross_entropy", weight_decay=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = ng.LinearizedLaplace(net, data)
        assert right.distance_to_mode < 1e-2
        right.predict(data.x)
        right.probabilities(data.x)
    for wrong in (
        ng.LinearizedLaplace(net, data, likelihood="gaussian", noise_variance=0.01),
        ng.LinearizedLaplace(start, data),
    ):
        with pytest.warns(AccuracyWarning, match="posterior standard deviations away"):
            wrong.predict(data.x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            wrong.predict(data.x)
    with pytest.warns(AccuracyWarning, match="train it longer on the loss 'cross_entropy' with weight decay 1,"):
        ng.LinearizedLaplace(start, data).probabilities(data.x)


@pytest.mark.filterwarnings("default:prior_precision")
def test_evidence_of_a_network_with_an_idle_start_is_told_of():
    """Without weight decay the start stays where no data concern it, and a prior at 0 takes it for learned."""
    data, _ = blobs(10)
    net = ng.MLP(1, 2, 200, 1, "tanh", bias_std=0.5, generator=torch.Generator().manual_seed(0)).double()
    start = copy.deepcopy(net)
    ng.train(net, data, learning_rate=0.02, steps=300, loss="cross_entropy")
    with pytest.warns(AccuracyWarning, match="is not to be trusted"):
        at_zero = ng.LinearizedLaplace(net, data).fit_evidence()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        at_start = ng.LinearizedLaplace(net, data, prior_mean=start).fit_evidence()
        ng.practice.online_laplace(net, data, learning_rate=0.02, steps=40, every=20)
    assert at_zero.prior_precision < 0.3 * at_start.prior_precision
    # The squared length in the metric of the posterior, by dense algebra.
    problem = Problem("categorical", 6, torch.Generator().manual_seed(1))
    laplace = fit(problem, prior_precision=0.4)
    hessian, slope = problem.hessian(0.4)
    newton = torch.linalg.solve(hessian, slope - 0.4 * problem.step(False))
    effective = len(hessian) - 0.4 * torch.linalg.inv(hessian).trace()
    assert laplace._slack() == pytest.approx(float(newton @ hessian @ newton / effective), rel=ITERATED)


def test_defaults_by_data_and_network(generator):
    x = draw(generator, 6, 2)
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    one, two, three = (nn.Linear(2, c).double() for c in (1, 2, 3))
    signs = (2 * labels[:, None] - 1).double()
    for net, y, classes, likelihood in (
        (two, F.one_hot(labels, 2).double(), 2, "categorical"),
        (two, F.one_hot(labels, 2).double(), None, "categorical"),
        (one, F.one_hot(labels, 2).double(), 2, "bernoulli"),
        (one, signs, 2, "bernoulli"),
        (one, signs, None, "gaussian"),
        (one, labels[:, None].double(), None, "gaussian"),
        (three, draw(generator, 6, 3), None, "gaussian"),
    ):
        assert ng.LinearizedLaplace(net, ng.Dataset(x, y, classes)).likelihood == likelihood
    same = [
        ng.LinearizedLaplace(one, ng.Dataset(x, y, c), likelihood="bernoulli").log_evidence
        for y, c in ((signs, 2), (labels[:, None].double(), None), (F.one_hot(labels, 2).double(), 2))
    ]
    assert same[0] == same[1] == same[2]


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


def test_saturated_networks_stay_finite():
    """Outputs of ±1000: probabilities underflow, and a wrong one costs a thousand nats."""
    x = torch.tensor([[1000.0], [-1000.0], [900.0]], dtype=torch.float64)
    net = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-0.5], [0.5]]))
    right = ng.LinearizedLaplace(net, ng.Dataset(x, torch.tensor([1, 0, 1]), 2))
    assert right.log_evidence == pytest.approx(-0.25, abs=1e-9)  # −½‖θ‖² alone: nothing is left to learn
    wrong = ng.LinearizedLaplace(net, ng.Dataset(x, torch.tensor([1, 0, 0]), 2))
    assert wrong.log_evidence == pytest.approx(-900.25, rel=1e-6)
    assert wrong.probabilities(x).isfinite().all()


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


def test_online_evidence_of_a_classifier():
    data, net = blobs()
    run = ng.practice.online_laplace(net, data, learning_rate=0.02, steps=400, every=100)
    assert run.laplace.likelihood == "categorical"
    assert [choice.noise_variance for choice in run.path] == [None] * 4
    assert run.laplace.distance_to_mode < 1
    assert run.laplace.log_evidence == run.path[-1].log_evidence
    start = F.cross_entropy(blobs()[1](data.x), data.y, reduction="sum").detach()
    assert run.curve.losses[0] == pytest.approx(float(start), rel=EXACT)
    with pytest.raises(KernelError, match="noise_variance is of regression"):
        ng.practice.online_laplace(net, data, learning_rate=0.02, steps=1, noise_variance=1.0)


def test_bad_input_is_one_clear_line(generator):
    data, net = blobs(6)
    x, three = data.x, nn.Linear(1, 3).double()
    laplace = ng.LinearizedLaplace(net, data)
    for error, words, call in (
        (KernelError, "unknown likelihood 'poisson'; choose", lambda: fit_of(net, data, likelihood="poisson")),
        (KernelError, "unknown method 'mean_field'; choose", lambda: laplace.probabilities(x, "mean_field")),
        (KernelError, "samples must be", lambda: laplace.probabilities(x, "monte_carlo", samples=0)),
        (KernelError, "count must be", lambda: laplace.samples(x, 0)),
        (KernelError, "prior_precision must be a positive", lambda: fit_of(net, data, prior_precision=0.0)),
        (KernelError, "prior_precision must be a positive", lambda: laplace.at(-1.0)),
        (KernelError, "noise_variance is of regression", lambda: fit_of(net, data, noise_variance=0.1)),
        (KernelError, "noise_variance is of regression", lambda: laplace.at(1.0, 0.1)),
        (KernelError, "evidence is of regression", lambda: laplace.evidence),
        (KernelError, "bounds of a classifier must be", lambda: laplace.fit_evidence(bounds=((1, 2), (1, 2)))),
        (KernelError, "observed without noise", lambda: laplace.predict(x).observation_std),
        (ModelError, r"outputs have shape \(6, 3\), the targets \(6, 2\)", lambda: fit_of(three, data)),
        (ModelError, "of one output, but the network has 2", lambda: fit_of(net, data, likelihood="bernoulli")),
        (
            DataError,
            "one-hot or probabilities",
            lambda: fit_of(net, ng.Dataset(x, 2 * data.y - 1, 2)),
        ),
        (
            DataError,
            "one-hot or probabilities",
            lambda: fit_of(net, ng.Dataset(x, 3 * data.y), likelihood="categorical"),
        ),
        (
            DataError,
            "−1 and 1 or probabilities",
            lambda: fit_of(nn.Linear(1, 1).double(), ng.Dataset(x, 3 * x), likelihood="bernoulli"),
        ),
        (
            KernelError,
            "probabilities are of classes",
            lambda: fit_of(net, data, likelihood="gaussian").probabilities(x),
        ),
        (
            KernelError,
            "one for each of the 2 outputs",
            lambda: fit_of(net, data, likelihood="gaussian", noise_variance=[1.0, 2.0, 3.0]),
        ),
        (
            KernelError,
            "only a common factor",
            lambda: fit_of(net, data, likelihood="gaussian", noise_variance=[1.0, 2.0]).at(1.0, [1.0, 3.0]),
        ),
        (DataError, "x must be a torch.Tensor", lambda: laplace.probabilities(x.numpy())),
    ):
        with pytest.raises(error, match=words) as told:
            call()
        assert "\n" not in str(told.value)


def fit_of(net, data, **settings):
    return ng.LinearizedLaplace(net, data, **settings)
