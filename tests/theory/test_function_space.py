"""Training in function space does what torch.optim.SGD does to the linearized network, step by step."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.func import functional_call, jvp
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import AccuracyWarning
from ntkgap.theory import KernelDynamics, critical_learning_rate
from tests.tolerances import EXACT, ITERATED, SINGLE

N, C, K, STEPS, DECAY = 10, 3, 4, 200, 0.02
SEEN = (0, 1, 37, 200)


def with_itself(net, x):
    """f(x; θ) and J(x)θ."""
    theta = {k: p.detach() for k, p in net.named_parameters()}
    return jvp(lambda p: functional_call(net, p, (x,)), (theta,), (theta,))


@pytest.fixture(scope="module")
def case():
    """A network, its linearized model, its kernels and what else is known of it at the start."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 9, bias=False), nn.Tanh(), nn.Linear(9, C)).double()
    x, x_test = torch.randn(N, 4).double(), torch.randn(K, 4).double()
    y = F.one_hot(torch.arange(N) % C, C).double()
    gram = ng.as_matrix(ng.empirical_ntk(net, x))
    cross = ng.as_matrix(ng.empirical_ntk(net, x_test, x))
    (start, linear), (start_test, linear_test) = with_itself(net, x), with_itself(net, x_test)
    return SimpleNamespace(**locals(), rate=critical_learning_rate(gram), linearized=ng.linearize(net))


huber = nn.HuberLoss(delta=0.3)

# Name -> what is asked for; the loss that a user of torch writes; learning rates relative to the summed loss.
LOSSES = {
    "squared": ({"loss": "squared"}, lambda f, y: 0.5 * ((f - y) ** 2).sum(), True, 1.0),
    "cross_entropy": (
        {"loss": "cross_entropy"},
        lambda f, y: F.cross_entropy(f, y.argmax(1), reduction="sum"),
        True,
        1.0,
    ),
    "mean cross_entropy": (
        {"loss": "cross_entropy", "divisor": N},
        lambda f, y: F.cross_entropy(f, y.argmax(1)),
        False,
        0.7 * N,
    ),
    "callable": ({"loss": huber}, huber, False, N * C),
}

PASSES = [torch.randperm(N, generator=torch.Generator().manual_seed(s)).split(4) for s in range(STEPS)]
BATCHES = [batch for order in PASSES for batch in order][:STEPS]  # 4, 4 and the last 2, pass after pass
BOOTSTRAP = [torch.randint(0, N, (5,), generator=torch.Generator().manual_seed(s)) for s in range(STEPS)]
COSINE = [0.5 * (1 + math.cos(math.pi * t / STEPS)) * min(1, t / 10) for t in range(STEPS)]  # starts at 0

# Name -> fraction of the critical learning rate, and settings of torch.optim.SGD and of our own.
OPTIMIZERS = {
    "plain": (0.5, {}),
    "momentum": (0.2, {"momentum": 0.9}),
    "momentum, decay to zero": (0.2, {"momentum": 0.9, "weight_decay": DECAY}),
    "decay to initial": (0.5, {"weight_decay": DECAY, "decay_to": "initial"}),
    "minibatches": (0.1, {"momentum": 0.5, "batches": BATCHES}),
    "schedule": (0.5, {"momentum": 0.5, "schedule": COSINE}),
}
EVERYTHING = {
    "momentum": 0.8,
    "nesterov": True,
    "weight_decay": DECAY,
    "clip_norm": 0.9,
    "batches": BOOTSTRAP,
    "schedule": COSINE,
}
PAIRS = [(loss, fraction, settings) for loss in LOSSES for fraction, settings in OPTIMIZERS.values()]
PAIRS += [(loss, 0.1, EVERYTHING) for loss in LOSSES]
PAIRS += [("callable", 0.2, EVERYTHING | {"decay_to": "initial"}), ("squared", 0.2, {"clip_norm": 0.3})]


class LinearizedTraining:
    """One linearized network in a training loop as torch has it."""

    def __init__(self, case, loss, fraction, *, batches=None, schedule=None, clip_norm=None, **settings):
        _, self.objective, self.summed, unit = LOSSES[loss]
        self.case, self.batches, self.clip_norm = case, batches, clip_norm
        self.pull = settings.pop("weight_decay") if settings.pop("decay_to", "zero") == "initial" else 0.0
        self.theta = {k: nn.Parameter(p.detach().clone()) for k, p in case.linearized.named_parameters()}
        self.optimizer = torch.optim.SGD(self.theta.values(), lr=fraction * case.rate * unit, **settings)
        schedule = schedule or [1.0] * STEPS
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda t: (*schedule, 0)[t])
        self.seen = []

    def loss(self, outputs, step):
        rows = torch.arange(N) if self.batches is None else self.batches[step]
        return (N / len(rows) if self.summed else 1) * self.objective(outputs[rows], self.case.y[rows])

    def step(self):
        if self.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.theta.values(), self.clip_norm)
        if self.pull:
            for p, p0 in zip(self.theta.values(), self.case.net.parameters(), strict=True):
                p.grad.add_(p.detach() - p0.detach(), alpha=self.pull)
        self.optimizer.step()
        self.scheduler.step()


@pytest.fixture(scope="module")
def runs(case):
    """Outputs of all trained linearized models at the steps seen, on all inputs; evaluated together, for speed."""
    runs = [LinearizedTraining(case, loss, fraction, **settings) for loss, fraction, settings in PAIRS]
    inputs = torch.cat([case.x, case.x_test])
    for step in range(STEPS + 1):
        theta = {k: torch.stack([linearized.theta[k] for linearized in runs]) for k in runs[0].theta}
        outputs = torch.func.vmap(lambda p: functional_call(case.linearized, p, (inputs,)))(theta)
        for linearized, f in zip(runs, outputs, strict=True):
            linearized.optimizer.zero_grad()
            if step in SEEN:
                linearized.seen.append(f.detach())
        if step < STEPS:
            sum(linearized.loss(f[:N], step) for linearized, f in zip(runs, outputs, strict=True)).backward()
            for linearized in runs:
                linearized.step()
    return [torch.stack(linearized.seen) for linearized in runs]


def predict(case, loss, fraction, *, schedule=None, **settings):
    asked, _, summed, unit = LOSSES[loss]
    rate = fraction * case.rate * unit
    to_zero = "weight_decay" in settings and settings.get("decay_to") != "initial"
    if "batches" in settings:
        settings["batch_scale"] = "n/b" if summed or "divisor" in asked else 1
    training = ng.theory.train_in_function_space(
        case.gram,
        case.start,
        case.y,
        learning_rate=[rate * s for s in schedule] if schedule else rate,
        steps=STEPS,
        linear_term=case.linear if to_zero else None,
        observe_at=SEEN,
        **asked,
        **settings,
    )
    return training, training.predict(case.cross, case.start_test, case.linear_test if to_zero else None)


@pytest.mark.parametrize("i", range(len(PAIRS)), ids=lambda i: f"{PAIRS[i][0]}, {', '.join(PAIRS[i][2])}")
def test_it_is_the_trained_linearized_model(case, runs, i):
    loss, fraction, settings = PAIRS[i]
    training, predicted = predict(case, loss, fraction, **settings)
    torch.testing.assert_close(training.outputs, runs[i][:, :N], rtol=0, atol=EXACT)
    torch.testing.assert_close(predicted, runs[i][:, N:], rtol=0, atol=EXACT)
    losses = torch.stack([LOSSES[loss][1](f, case.y) for f in runs[i][:, :N]])
    torch.testing.assert_close(training.losses[list(SEEN)], losses, rtol=EXACT, atol=0)
    assert losses[-1] < 0.9 * losses[0], "nothing was learned, so nothing is shown"


def test_the_linearized_models_are_trained_each_in_its_own_way(runs):
    """A setting that is ignored is therefore noticed."""
    ends = [outputs[-1] for outputs in runs]
    assert min((one - two).abs().max() for i, one in enumerate(ends) for two in ends[:i]) > 1e-3


def test_the_closed_form_of_the_squared_loss_is_the_integration(case):
    dynamics = KernelDynamics(case.gram, case.start - case.y)
    rate = 0.6 * case.rate
    training = dynamics.train(case.y, learning_rate=rate, steps=60, observe_at=range(0, 61, 20))
    decay = dynamics.gradient_descent_decay(rate, torch.arange(61))
    torch.testing.assert_close(training.losses, dynamics.losses(decay), rtol=ITERATED, atol=0)
    found = training.predict(case.cross, case.start_test)
    torch.testing.assert_close(
        found, dynamics.predictions(decay[::20], case.cross, case.start_test), rtol=ITERATED, atol=ITERATED
    )
    # A loss divided by N is a learning rate divided by N.
    mean = dynamics.train(case.y, learning_rate=rate * 7, divisor=7, steps=60)
    torch.testing.assert_close(7 * mean.losses, training.losses, rtol=EXACT, atol=0)


def test_weight_decay_ends_at_ridge_regression(case):
    """min ½‖f − y‖² + ½λ‖θ‖² over a linear model: f = J θ with features J and offset f_0 − Jθ_0."""
    weight = 0.1 / case.rate  # a twentieth of the largest eigenvalue
    training = ng.theory.train_in_function_space(
        case.gram,
        case.start,
        case.y,
        learning_rate=0.5 * case.rate,
        steps=500,
        weight_decay=weight,
        linear_term=case.linear,
    )
    offset, offset_test = case.start - case.linear, case.start_test - case.linear_test
    ridge = case.gram + weight * torch.eye(N * C, dtype=torch.float64)
    duals = torch.linalg.solve(ridge, (case.y - offset).reshape(-1))
    found = training.predict(case.cross, case.start_test, case.linear_test)[0]
    torch.testing.assert_close(found, offset_test + (case.cross @ duals).view(K, C), rtol=ITERATED, atol=ITERATED)


@pytest.mark.parametrize("loss", ["squared", "cross_entropy", huber], ids=["squared", "cross_entropy", "callable"])
@pytest.mark.parametrize("batches", [None, BOOTSTRAP[:30]], ids=["all", "minibatches"])
def test_a_shared_kernel_is_its_kronecker_product(case, loss, batches, generator):
    """At infinite width outputs share Θ; [nC, nC] is Θ ⊗ I in the layout of as_matrix."""
    limit = ng.infinite_width(ng.MLP(4, C, 8, 2).double())
    theta, cross = limit.ntk(case.x), limit.ntk(case.x_test, case.x)
    draws = torch.randn(2, 5, N + K, C, dtype=torch.float64, generator=generator)
    settings = {
        "loss": loss,
        "learning_rate": 0.2 * critical_learning_rate(theta),
        "steps": 30,
        "momentum": 0.7,
        "weight_decay": 0.1,
        "clip_norm": 2.0,
        "linear_term": 2 * draws[:, :, :N],
        "observe_at": [0, 3, 30],
        "batches": batches,
        "batch_scale": None if batches is None else 1,
    }
    shared = ng.theory.train_in_function_space(theta, draws[:, :, :N], case.y, **settings)
    eye = torch.eye(C, dtype=torch.float64)
    full = ng.theory.train_in_function_space(torch.kron(theta, eye), draws[:, :, :N], case.y, **settings)
    assert shared.losses.shape == (31, 2, 5)
    assert shared.outputs.shape == (3, 2, 5, N, C)
    torch.testing.assert_close(shared.losses, full.losses, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(shared.outputs, full.outputs, rtol=EXACT, atol=EXACT)
    new = draws[:, :, N:]
    found = shared.predict(cross, new, 2 * new)
    assert found.shape == (3, 2, 5, K, C)
    torch.testing.assert_close(found, full.predict(torch.kron(cross, eye), new, 2 * new), rtol=EXACT, atol=EXACT)
    assert (found[-1] - found[0]).abs().max() > 0.1


@pytest.mark.parametrize("loss", ["squared", "cross_entropy", huber], ids=["squared", "cross_entropy", "callable"])
def test_draws_are_trained_each_by_itself(case, loss, generator):
    draws = torch.randn(3, N, C, dtype=torch.float64, generator=generator)
    settings = {"loss": loss, "learning_rate": 0.3 * case.rate, "steps": 20, "momentum": 0.5, "clip_norm": 1.0}
    together = ng.theory.train_in_function_space(case.gram, draws, case.y, **settings)
    for i, draw in enumerate(draws):
        alone = ng.theory.train_in_function_space(case.gram, draw, case.y, **settings)
        torch.testing.assert_close(together.outputs[:, i], alone.outputs, rtol=EXACT, atol=EXACT)
        torch.testing.assert_close(together.losses[:, i], alone.losses, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_float32_kernels_are_computed_with_in_float64(case, loss):
    single = SimpleNamespace(**vars(case))
    for key in ("gram", "cross", "start", "y", "start_test"):
        setattr(single, key, getattr(case, key).float())
    training, predicted = predict(single, loss, 0.2, momentum=0.9)
    exact, expected = predict(case, loss, 0.2, momentum=0.9)
    assert training.outputs.dtype == predicted.dtype == torch.float64
    torch.testing.assert_close(training.outputs, exact.outputs, rtol=SINGLE, atol=SINGLE)
    torch.testing.assert_close(predicted, expected, rtol=SINGLE, atol=SINGLE)


def test_the_linear_term_of_relu_networks_without_biases(case):
    net = ng.MLP(4, C, 8, 2, bias_std=0.0).double()
    start, linear = with_itself(net, case.x)
    torch.testing.assert_close(linear, 3 * start, rtol=EXACT, atol=EXACT)


def test_the_linear_term_is_that_of_the_linearized_model_at_twice_its_parameters(case):
    twice = {name: 2 * p.detach() for name, p in case.linearized.named_parameters()}
    found = functional_call(case.linearized, twice, (case.x,)) - case.start
    torch.testing.assert_close(found, case.linear, rtol=EXACT, atol=EXACT)


def test_rates_that_differ_by_layer_weight_the_layers_kernels(case):
    """As said in the docstring: K = Σ_l s_l K_l."""
    net, factors = case.net, {"0": 1.0, "2": 0.3}
    kernels = ng.empirical_ntk(net, case.x, layerwise=True)
    gram = sum(factors[layer.split(".")[0]] * ng.as_matrix(k) for layer, k in kernels.items())
    rate = 0.3 * critical_learning_rate(gram)
    linearized = ng.linearize(net)
    groups = [
        {"params": list(linearized.network[int(i)].parameters()), "lr": rate * s} for i, s in factors.items()
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.8)
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(linearized(case.x), case.y, reduction="sum").backward()
        optimizer.step()
    training = ng.theory.train_in_function_space(
        gram, case.start, case.y, loss="cross_entropy", learning_rate=rate, momentum=0.8, steps=20
    )
    torch.testing.assert_close(training.outputs[-1], linearized(case.x).detach(), rtol=0, atol=EXACT)


def test_a_callable_gets_targets_of_any_kind(case):
    """Class indices, as torch's own cross-entropy takes them, are the named loss."""
    settings = {"learning_rate": 0.3 * case.rate, "steps": 20, "batches": BATCHES[:20], "batch_scale": "n/b"}
    named = ng.theory.train_in_function_space(case.gram, case.start, case.y, loss="cross_entropy", **settings)
    summed = nn.CrossEntropyLoss(reduction="sum")
    called = ng.theory.train_in_function_space(case.gram, case.start, case.y.argmax(1), loss=summed, **settings)
    torch.testing.assert_close(called.outputs, named.outputs, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(called.losses, named.losses, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradient_modes_around_a_call_change_nothing(case, mode):
    expected = predict(case, "callable", 0.2)[0]
    with mode():
        inside = SimpleNamespace(**vars(case))
        inside.gram, inside.start, inside.y = case.gram.clone(), case.start.clone(), case.y.clone()
        if mode is torch.enable_grad:
            inside.gram.requires_grad_(), inside.start.requires_grad_()
        training = predict(inside, "callable", 0.2)[0]
    assert torch.equal(training.outputs, expected.outputs)
    assert not training.outputs.requires_grad
    assert not training.losses.requires_grad


def test_rounding_that_decides_is_said(recwarn):
    """Two inputs next to each other with opposite targets: long training learns from the last digits of K."""
    points = torch.tensor([0.0, 0.015, 1.0], dtype=torch.float64)
    gram = torch.exp(-((points[:, None] - points) ** 2))
    targets, start = torch.tensor([[1.0], [-1.0], [0.0]]).double(), torch.zeros(3, 1).double()

    def end(dtype, steps):
        settings = {"learning_rate": 1.0, "momentum": 0.9, "steps": steps}
        return ng.theory.train_in_function_space(gram.to(dtype), start, targets, **settings).outputs[0]

    assert (end(torch.float16, 5) - end(torch.float64, 5)).abs().max() < 1e-2
    exact = end(torch.float64, 300)
    assert not recwarn.list
    with pytest.warns(AccuracyWarning, match="stop training earlier"):
        assert (end(torch.float16, 300) - exact).norm() > 0.1 * exact.norm()
