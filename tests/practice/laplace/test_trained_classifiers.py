"""How a trained classifier is read, what is said of one that is not at the mode, and what is refused."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import AccuracyWarning, DataError, KernelError, ModelError
from tests.practice.laplace.problems import Problem, blobs, draw, fit, fit_of
from tests.tolerances import EXACT, ITERATED

pytestmark = [
    pytest.mark.filterwarnings("ignore:the network is not at the mode"),
    pytest.mark.filterwarnings("ignore:prior_precision .* is not to be trusted"),
]


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
