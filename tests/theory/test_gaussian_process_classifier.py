"""Gaussian-process classification against dense algebra, importance sampling, and the Laplace approximation."""

import math

import pytest
import torch
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import KernelError
from tests.tolerances import ITERATED


def problem(n=7, c=3, k=4, soft=False, seed=0):
    """A kernel on n + k random points, and classes of the first n."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(n + k, n + k + 2, dtype=torch.float64, generator=generator)
    kernel = root @ root.T / (n + k)
    y = F.softmax(2 * torch.randn(n, c, dtype=torch.float64, generator=generator), dim=1)
    return kernel, y if soft else F.one_hot(y.argmax(1), c).double()


def dense(gram, y, delta):
    """Mode, log evidence and curvature W by Newton's method on all n·C outputs at once, class by class."""
    n, c = y.shape
    prior = torch.kron(torch.eye(c, dtype=torch.float64), gram / delta)

    def joint(f):
        return -F.cross_entropy(f.view(c, n).T, y, reduction="sum") - 0.5 * f @ torch.linalg.solve(prior, f)

    f = torch.zeros(n * c, dtype=torch.float64)
    for _ in range(30):
        slope = torch.autograd.functional.jacobian(joint, f)
        f = f - torch.linalg.solve(torch.autograd.functional.hessian(joint, f), slope)
    curvature = -torch.autograd.functional.hessian(joint, f) - torch.linalg.inv(prior)
    evidence = joint(f) - 0.5 * torch.logdet(torch.eye(n * c, dtype=torch.float64) + prior @ curvature)
    return f.view(c, n).T, float(evidence), curvature, prior


@pytest.mark.parametrize("delta", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("c", [2, 4])
def test_equals_dense_algebra(delta, soft, c):
    n = 7
    kernel, y = problem(n, c, soft=soft)
    found = ng.theory.GaussianProcessClassifier(kernel[:n, :n], y, delta)
    mode, evidence, curvature, prior = dense(kernel[:n, :n], y, delta)
    torch.testing.assert_close(found.mode, mode, rtol=ITERATED, atol=ITERATED)
    assert found.log_evidence == pytest.approx(evidence, rel=ITERATED)
    said = found.predict(kernel[n:, :n], kernel[n:, n:])
    cross = torch.kron(torch.eye(c, dtype=torch.float64), kernel[n:, :n] / delta)
    own = torch.kron(torch.eye(c, dtype=torch.float64), kernel[n:, n:] / delta)
    mean = (cross @ torch.linalg.solve(prior, mode.T.flatten())).view(c, -1).T
    torch.testing.assert_close(said.mean, mean, rtol=ITERATED, atol=ITERATED)
    inner = torch.linalg.solve(torch.eye(n * c, dtype=torch.float64) + curvature @ prior, curvature)
    covariance = (own - cross @ inner @ cross.T).view(c, 4, c, 4).diagonal(dim1=1, dim2=3).permute(2, 0, 1)
    torch.testing.assert_close(said.covariance, covariance, rtol=ITERATED, atol=ITERATED)
    by_diagonal = found.predict(kernel[n:, :n], kernel[n:, n:].diagonal())
    torch.testing.assert_close(by_diagonal.covariance, said.covariance, rtol=0, atol=0)


def test_evidence_and_probabilities_are_near_those_of_sampling():
    """Draws from the prior weighted by their likelihood: exact but for chance; Laplace is off by a per cent."""
    n, k, c, draws = 4, 3, 3, 200_000
    kernel, y = problem(n, c, k, seed=3)
    kernel = 0.5 * kernel
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(kernel)
    f = torch.einsum("ij,sjc->sic", root, torch.randn(draws, n + k, c, dtype=torch.float64, generator=generator))
    weights = (y * f[:, :n].log_softmax(2)).sum((1, 2)).exp()
    truth = torch.einsum("s,skc->kc", weights, f[:, n:].softmax(2)) / weights.sum()
    found = ng.theory.GaussianProcessClassifier(kernel[:n, :n], y)
    assert found.log_evidence == pytest.approx(math.log(float(weights.mean())), abs=0.05)
    said = found.predict(kernel[n:, :n], kernel[n:, n:])
    p = said.probabilities("monte_carlo", samples=20_000, generator=generator)
    assert (p - truth).abs().max() < 0.02
    assert (said.probabilities("probit") - truth).abs().max() < 0.04
    prior = torch.full((k, c), 1 / c, dtype=torch.float64)
    assert (prior - truth).abs().max() > 0.04  # what knows nothing would be seen


def test_it_is_the_laplace_approximation_of_a_linear_network():
    """Independent outputs on shared features: the same prior over functions, at the same mode."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 4, dtype=torch.float64, generator=generator)
    labels = torch.randint(3, (9,), generator=generator)
    data = ng.Dataset(x, F.one_hot(labels, 3).double(), 3)
    network = torch.nn.Linear(4, 3, bias=False).double()
    ng.train(network, data, learning_rate=0.1, steps=800, loss="cross_entropy", weight_decay=0.8)
    laplace = ng.LinearizedLaplace(network, data, prior_precision=0.8)
    process = ng.theory.GaussianProcessClassifier(x @ x.T, data.y, 0.8)
    assert process.log_evidence == pytest.approx(laplace.log_evidence, rel=ITERATED)
    test = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    found = process.predict(test @ x.T, test @ test.T)
    said = laplace.predict(test, covariance=True)
    torch.testing.assert_close(found.mean, said.network_mean, rtol=ITERATED, atol=ITERATED)
    own = said.covariance.diagonal(dim1=0, dim2=1).permute(2, 0, 1)
    torch.testing.assert_close(found.covariance, own, rtol=ITERATED, atol=ITERATED)


def test_precision_of_the_greatest_evidence():
    kernel, y = problem(12, 3, seed=1)
    found = ng.theory.GaussianProcessClassifier(kernel[:12, :12], y).fit_evidence((1e-3, 1e3))
    inside = 1.01e-3 < found.prior_precision < 0.99e3
    assert found.at_edge != inside
    for factor in (0.7, 1.3):
        if 1e-3 < factor * found.prior_precision < 1e3:
            assert found.at(factor * found.prior_precision).log_evidence < found.log_evidence + 1e-9
    # Classes that the kernel explains: the maximum lies inside.
    x = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]
    gram = torch.exp(-((x - x.T) ** 2) / 0.5) + 1e-8 * torch.eye(12, dtype=torch.float64)
    flips = torch.tensor([0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1])
    found = ng.theory.GaussianProcessClassifier(gram, F.one_hot(flips, 2).double()).fit_evidence((1e-3, 1e3))
    assert not found.at_edge
    for factor in (0.7, 1.3):
        assert found.at(factor * found.prior_precision).log_evidence < found.log_evidence


def test_bad_input_is_refused():
    kernel, y = problem()
    gram = kernel[:7, :7]
    for words, call in (
        ("one-hot or probabilities", lambda: ng.theory.GaussianProcessClassifier(gram, 2 * y)),
        ("one-hot or probabilities", lambda: ng.theory.GaussianProcessClassifier(gram, y[:, :1])),
        ("prior_precision must be", lambda: ng.theory.GaussianProcessClassifier(gram, y, 0.0)),
        ("the targets must have shape", lambda: ng.theory.GaussianProcessClassifier(gram, y[:5])),
        ("symmetric", lambda: ng.theory.GaussianProcessClassifier(gram + torch.triu(gram), y)),
        ("not positive semidefinite", lambda: ng.theory.GaussianProcessClassifier(-10 * gram, y)),
        ("cross kernel", lambda: ng.theory.GaussianProcessClassifier(gram, y).predict(gram[:, :5], gram)),
        ("test points", lambda: ng.theory.GaussianProcessClassifier(gram, y).predict(gram[:3], gram)),
        ("bounds", lambda: ng.theory.GaussianProcessClassifier(gram, y).fit_evidence((1.0, 1.0))),
        (
            "unknown method",
            lambda: ng.theory.GaussianProcessClassifier(gram, y).predict(gram, gram).probabilities("exact"),
        ),
    ):
        with pytest.raises(KernelError, match=words) as told:
            call()
        assert "\n" not in str(told.value)
