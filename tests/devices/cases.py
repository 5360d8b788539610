"""Calls of every public function that takes or makes tensors, on any device; what they return is compared.

Networks are drawn and data are made on the CPU, then moved.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ntkgap as ng
from ntkgap import bandits

Device = torch.device
CASES: dict[str, Callable[[Device], Any]] = {}


def case(function: Callable[[Device], Any]) -> Callable[[Device], Any]:
    CASES[function.__name__] = function
    return function


def numbers(found: Any) -> list[Any]:
    """All numbers in what a function returned, in their order."""
    if isinstance(found, Tensor):
        return [found.detach().cpu()]
    if isinstance(found, np.ndarray | float | int):
        return [torch.as_tensor(found)]
    if isinstance(found, dict):
        return [n for value in found.values() for n in numbers(value)]
    if isinstance(found, list | tuple):
        return [n for value in found for n in numbers(value)]
    if dataclasses.is_dataclass(found):
        return numbers([getattr(found, f.name) for f in dataclasses.fields(found) if "seconds" not in f.name])
    return []


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def net(device: Device, width: int = 8, outputs: int = 2, seed: int = 0, **options: Any) -> nn.Module:
    options = {"in_features": 3, "width": width, "depth": 2, "nonlinearity": "relu"} | options
    return ng.MLP(out_features=outputs, generator=torch.Generator().manual_seed(seed), **options).to(device)


def inputs(device: Device, n: int = 6, seed: int = 1) -> Tensor:
    return drawn(n, 3, seed=seed).to(device)


def data(device: Device, n: int = 6, outputs: int = 2) -> ng.Dataset:
    return ng.Dataset(inputs(device, n), drawn(n, outputs, seed=2).to(device))


def classes(device: Device, n: int = 9, count: int = 3) -> ng.Dataset:
    labels = torch.arange(n) % count
    return ng.Dataset(inputs(device, n), nn.functional.one_hot(labels, count).float().to(device), count)


def plain(device: Device) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, 3)).eval().to(device)


def images(device: Device, n: int = 4) -> Tensor:
    return drawn(n, 2, 4, 4, seed=3).to(device)


def grams(device: Device, n: int = 6, m: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Of n training and m test points, between them, and of the latter."""
    x = drawn(n + m, 20, seed=4).double().to(device)
    k = x @ x.mT / 20
    return k[:n, :n], k[n:, :n], k[n:, n:]


@case
def empirical_ntk(device):
    network, x = net(device), inputs(device)
    kinds = ("full", "mean", "diagonal", "sum")
    found = [ng.empirical_ntk(network, x, x[:2], outputs=kind) for kind in kinds]
    found += [ng.empirical_ntk(network, x, outputs=kind, dtype=torch.float64) for kind in kinds]
    found += [ng.empirical_ntk(network, x, layerwise=True), ng.as_matrix(found[0])]
    found += [ng.empirical_ntk(network, x, differentiable=True)]
    return found


@case
def empirical_ntk_of_convolutions(device):
    network, x = plain(device), images(device)
    return [ng.empirical_ntk(network, x, outputs=kind) for kind in ("full", "mean", "diagonal", "sum")]


@case
def empirical_ntk_in_blocks(device):
    network, x = plain(device), drawn(12, 2, 4, 4, seed=3).to(device)
    return ng.empirical_ntk(network, x, outputs="mean", memory_budget=400_000)


class _Other(nn.Module):
    """Layers of other kinds, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.recurrent = nn.Embedding(7, 4), nn.GRU(4, 4, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.free, self.last = nn.Parameter(torch.ones(4)), nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))

    def forward(self, tokens: Tensor) -> Tensor:
        h, _ = self.recurrent(self.table(tokens))
        return self.last(self.attention(h).mean(1) * self.free.cumsum(0))


@case
def empirical_ntk_of_other_layers(device):
    torch.manual_seed(0)
    network = _Other().eval().to(device)
    tokens = torch.randint(7, (5, 3), generator=torch.Generator().manual_seed(0)).to(device)
    return ng.empirical_ntk(network, tokens), ng.NTKOperator(network, tokens).trace()


@case
def networks(device):
    x, image = inputs(device), drawn(2, 3, 8, 8).to(device)
    made = [
        (net(device, parametrization="mup"), x),
        (ng.models.Antisymmetric(net(torch.device("cpu"))).to(device), x),
        (ng.models.Scaled(net(torch.device("cpu")), 2.0).to(device), x),
        (ng.models.ShallowNet(3, 8, generator=torch.Generator().manual_seed(0)).to(device), x),
        (ng.ConvNet(3, 2, 4, 2, generator=torch.Generator().manual_seed(0)).to(device), image),
    ]
    return [[m(x), ng.empirical_ntk(m, x, outputs="mean"), ng.parameter_groups(m, 0.1)[0]["lr"]] for m, x in made]


@case
def ntk_operator(device):
    v = drawn(12).to(device)
    op, in_blocks = (ng.NTKOperator(net(device), inputs(device), memory_budget=b) for b in (None, 100_000))
    found = [op @ v, op.trace(2), op.solve(v, 0.1), op.effective_rank(2, 3), op.to_scipy() @ v.cpu().numpy()]
    found += [dataclasses.astuple(op.eigenvalue_range(max_steps=4))[:2], op.spectral_norm()]
    return [*found, in_blocks @ v, in_blocks.trace(2)]


@case
def kernel_changes(device):
    one, two, x = net(device), net(device, seed=1), inputs(device)
    operators = [kind(one, two, x) for kind in (ng.kernels.JacobianChange, ng.kernels.KernelChange)]
    return [o.spectral_norm() for o in operators], operators[0].jacobian_norm()


@case
def kernels_compared(device):
    k, _, _ = grams(device)
    other = k + torch.eye(6, dtype=k.dtype, device=device)
    y = drawn(6, 2).to(device)
    found = ng.spectrum(k)
    return [
        ng.kernel_distance(k, other), ng.kernels.relative_change(k, other),
        ng.kernels.target_alignment(k, y[:, :1]),
        found.eigenvalues, found.condition_number, found.effective_rank, ng.theory.critical_learning_rate(k),
        ng.theory.required_width(inputs(device)),
    ]  # fmt: skip


@case
def evidence(device):
    k, _, _ = grams(device)
    found = ng.linalg.Evidence(k, drawn(6, 2).double().to(device))
    return (
        found.log_evidence(1.0, 0.1),
        found.maximum(),
        ng.linalg.Evidence.of_features(inputs(device), drawn(6, 1).to(device)).log_evidence(1.0, 0.1),
    )


@case
def infinite_width(device):
    found = []
    networks = [
        (net(device), inputs(device)),
        (net(device, nonlinearity="erf"), inputs(device)),
        (net(device, nonlinearity="gelu"), inputs(device)),
        (
            ng.ConvNet(3, 2, 4, 2, generator=torch.Generator().manual_seed(0)).to(device),
            drawn(3, 3, 8, 8).to(device),
        ),
    ]
    for network, x in networks:
        limit = ng.infinite_width(network)
        found += [limit.ntk(x), limit.nngp(x, x[:2])]
    return found


@case
def infinite_width_of_torch_layers(device):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 2),
        nn.LeakyReLU(), nn.Flatten(), nn.Linear(4, 3),
    ).to(device)  # fmt: skip
    limit = ng.infinite_width(network)
    return limit.ntk(images(device)), limit.nngp(images(device))


@case
def monte_carlo(device):
    x = inputs(device, 3)

    def build(width=8):
        return ng.MLP(3, 2, width, 2).to(device)

    found = ng.infinite_width_monte_carlo(build, width=16, draws=4)
    one = ng.kernels.monte_carlo_kernel(build, x, draws=2)
    return found.ntk(x), one.ntk


@case
def linearize(device):
    linearized = ng.linearize(net(device))
    x = inputs(device)
    curve = ng.train(linearized, data(device), learning_rate=0.05, steps=3)
    image_linearized = ng.linearize(plain(device))
    return linearized(x), curve.losses, image_linearized(images(device))


@case
def train(device):
    found = []
    settings = [
        {}, {"optimizer": "sgd", "batch_size": 2}, {"optimizer": "adam", "weight_decay": 0.1, "clip": 1.0},
        {"optimizer": torch.optim.LBFGS, "steps": 1}, {"loss": nn.MSELoss()},
        {"schedule": lambda step: 0.9**step, "test": data(device)},
    ]  # fmt: skip
    for options in settings:
        network, options = net(device), {"steps": 3} | options
        found += [
            ng.train(network, data(device), learning_rate=0.01, **options).losses,
            network(inputs(device)),
        ]
    curve = ng.train(net(device, outputs=3), classes(device), learning_rate=0.01, steps=3, loss="cross_entropy")
    return found + curve.losses


@case
def train_with_batch_norm_and_dropout(device):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2)).to(device)
    curve = ng.train(network, data(device), learning_rate=0.01, steps=3, optimizer="sgd", batch_size=3)
    return curve.losses, network.state_dict()


@case
def train_ensemble(device):
    def members(i):
        return net(device, seed=i)

    found = [
        ng.train_ensemble(
            members, data(device), 3, learning_rate=0.02, steps=3, inputs=inputs(device, 2), **options
        )
        for options in ({}, {"anchoring": 0.1}, {"optimizer": "adam"}, {"optimizer": "sgd", "batch_size": 2})
    ]

    def masked(i):
        torch.manual_seed(i)
        return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)).to(device)

    found += [ng.train_ensemble(masked, data(device), 2, learning_rate=0.02, steps=3, inputs=inputs(device, 2))]
    return found


@case
def second_order(device):
    found = []
    settings = [
        {"learning_rate": 0.5, "damping": 0.1}, {"learning_rate": "search"},
        {"learning_rate": 1.0, "damping": "adaptive"},
        {"learning_rate": 0.5, "damping": 0.1, "solver": "conjugate_gradients"},
    ]  # fmt: skip
    for options in settings:
        network, given = net(device).double(), data(device).to(torch.float64)
        found += [ng.optimizers.natural_gradient_descent(network, given, steps=2, **options).losses]
    return found, ng.optimizers.kfac_descent(
        net(device), data(device), learning_rate=0.1, steps=2, damping=0.1
    ).losses


@case
def tune(device):
    def attempt(learning_rate):
        return ng.train(net(device), data(device), learning_rate=learning_rate, steps=2)

    found = ng.optimizers.tune(attempt, {"learning_rate": (0.001, 0.01)})
    return [trial.score for trial in found.trials]


@case
def laplace_of_regression(device):
    network, x = net(device), inputs(device, 3)
    found = []
    for route in ("gram", "parameters"):
        posterior = ng.LinearizedLaplace(network, data(device), route=route, noise_variance=0.1).fit_evidence(
            noise_variance=0.1
        )
        predicted = posterior.predict(x, covariance=True)
        samples = posterior.samples(x, 3, torch.Generator().manual_seed(0))
        found += [predicted, posterior.log_evidence, samples, posterior.map_step(), posterior.prior_precision]
    own = ng.LinearizedLaplace(network, data(device), noise_variance=[0.1, 0.2], prior_mean=net(device, seed=3))
    return [*found, own.predict(x)]


@case
def laplace_of_classes(device):
    found = []
    for network, kind, given in (
        (net(device, outputs=3), "categorical", classes(device)),
        (
            net(device, outputs=1),
            "bernoulli",
            ng.Dataset(inputs(device, 4), torch.tensor([[0.0], [1], [1], [0]]).to(device)),
        ),
    ):
        posterior = ng.LinearizedLaplace(network, given, likelihood=kind, prior_precision=1.0)
        x = inputs(device, 3)
        found += [posterior.predict(x), posterior.log_evidence, posterior.probabilities(x)]
        found += [
            posterior.probabilities(x, "monte_carlo", samples=10, generator=torch.Generator().manual_seed(0))
        ]
    return found


@case
def online_laplace(device):
    found = ng.practice.online_laplace(net(device), data(device), learning_rate=0.01, steps=3)
    return numbers(found)


@case
def calibrations(device):
    y, mean, std = drawn(20).to(device), drawn(20, seed=1).to(device), drawn(20, seed=2).abs().to(device) + 0.1
    given = classes(device)
    p = drawn(9, 3).softmax(1).to(device)
    return ng.practice.calibration(mean, std, y), ng.practice.classification_calibration(p, given.y.argmax(1))


@case
def gaussian_processes(device):
    train, cross, test = grams(device)
    y, one_hot = drawn(6, 2).double().to(device), nn.functional.one_hot(torch.arange(6) % 3).double().to(device)
    process = ng.GaussianProcess(train, y, 0.1)
    found = process.predict(cross, test)
    classifier = (
        ng.theory.GaussianProcessClassifier(train, one_hot).fit_evidence()
        if hasattr(ng.theory.GaussianProcessClassifier, "fit_evidence")
        else ng.theory.GaussianProcessClassifier(train, one_hot)
    )
    posterior = classifier.predict(cross, test)
    draws = torch.Generator().manual_seed(0)
    return [
        found.mean,
        found.covariance,
        process.log_marginal_likelihood,
        posterior,
        posterior.probabilities("monte_carlo", samples=10, generator=draws),
        found.samples(3, torch.Generator().manual_seed(0)) if hasattr(found, "samples") else 0,
    ]


@case
def infinite_ensembles(device):
    train, cross, test = grams(device)
    y = drawn(6, 2).double().to(device)
    found = []
    ensemble = ng.InfiniteEnsemble(train, train, y)
    decay = ensemble.gradient_descent_decay(0.1, torch.tensor([1, 5]).to(device))
    found += [ensemble.predict(decay, cross, cross, test), ensemble.predict_training(decay)]
    found += [
        ensemble.gradient_flow_decay(2.0),
        ensemble.converged_decay(),
        ensemble.gradient_descent_decay(0.1, torch.tensor([1, 3])),
    ]
    anchored = ng.theory.RandomizedPriorEnsemble(train, train, y, 0.1)
    return [*found, anchored.predict(cross, cross, test)]


@case
def dynamics(device):
    train, cross, _ = grams(device)
    y, start = drawn(6, 1).double().to(device), drawn(6, 1, seed=5).double().to(device)
    modes = ng.KernelDynamics(train, start - y)
    decay = modes.gradient_descent_decay(0.1, torch.arange(4))
    found = [
        modes.losses(decay),
        modes.predictions(decay, cross, drawn(3, 1).double().to(device)),
        modes.natural_gradient_decay(0.5, 2, 0.1),
    ]
    course = modes.train(y, learning_rate=0.1, steps=3)
    for options in ({"momentum": 0.9}, {"weight_decay": 0.1, "decay_to": "initial"}):
        found.append(
            ng.theory.train_in_function_space(train, start, y, learning_rate=0.1, steps=3, **options).losses
        )
    labels = nn.functional.one_hot(torch.arange(6) % 2).double().to(device)
    found.append(
        ng.theory.train_in_function_space(
            train,
            drawn(6, 2).double().to(device),
            labels,
            loss="cross_entropy",
            learning_rate=0.1,
            steps=3,
            observe_at=torch.tensor([1, 3]),
        ).losses
    )
    return [*found, course.losses]


@case
def tasks_in_sequence(device):
    k, _, _ = grams(device)
    blocks = [[k[:3, :3], k[:3, 3:]], [k[3:, :3], k[3:, 3:]]]
    y = drawn(6, 2).double().to(device)
    regression = ng.continual.SequentialRegression(torch.zeros(6, 2, dtype=torch.float64, device=device))
    regression.learn(k[:, :3], range(3), y[:3]).learn(k[:, 3:], torch.arange(3, 6), y[3:])
    return ng.continual.task_overlap(blocks), ng.continual.sequential_duals(k, [3, 3], y), regression.function


@case
def search_jacobian_change(device):
    found = ng.optimizers.search_jacobian_change(
        net(device, outputs=1), inputs(device), 0.5, starts=1, steps=1, generator=torch.Generator().manual_seed(0)
    )
    return found.largest, found.parameters, found.starts


@case
def coordinate_check(device):
    def build(width):
        return ng.MLP(3, 2, width, 2).to(device)

    found = ng.practice.coordinate_check(
        build, data(device), widths=[4, 8], seeds=[0, 1], steps=1, learning_rate=0.1
    )
    return found.initial, found.change


def stream(device: Device) -> ng.continual.TaskStream:
    made = [classes(device, 6, 2), classes(device, 6, 2)]
    return ng.continual.stream_of([(d, d) for d in made])


@case
def continual(device):
    found = []
    tasks = stream(device)
    networks = [net(device, outputs=tasks.n_outputs, seed=s) for s in range(2)]
    for method in (
        None,
        ng.continual.Joint(),
        ng.continual.OGD(),
        ng.continual.PCAOGD(components=2),
        ng.continual.EWC(1.0),
        ng.continual.Replay(2),
    ):
        options = {"optimizer": "sgd", "batch_size": 3, "curve_points": 2}
        runs = ng.continual.train_tasks(
            networks, tasks, learning_rate=0.01, stop=ng.continual.Steps(2), method=method, **options
        )
        found += [runs.scores, runs.train_losses, runs.curves]
    stop = ng.continual.UntilAccuracy(0.9, 3)
    runs = ng.continual.train_tasks(networks, tasks, learning_rate=0.01, stop=stop, optimizer="adam")
    predicted = ng.continual.predict_tasks(networks[0], tasks, learning_rate=0.01, steps=[1, 3])
    return [
        *found,
        runs.scores,
        ng.continual.AccuracyMatrix(runs.scores[0]).forgetting(),
        predicted.matrix(0).forgetting(),
        predicted.overlap,
    ]


def environment(device: Device, **options: Any) -> bandits.Environment:
    return bandits.make_environment(classes(device, 6), features="unit_norm", **options)


def rewards(device: Device, game: bandits.Environment, **options: Any) -> bandits.RewardModel:
    network = net(device, in_features=game.in_features, outputs=game.out_features, nonlinearity="tanh")
    seeded = torch.Generator().manual_seed(0)
    training = bandits.RewardTraining(steps=2, every=3, **options)
    return bandits.RewardModel(network, training, regularization=1.0, generator=seeded)


def policies(device: Device, game: bandits.Environment) -> list[bandits.Policy]:
    seeded = torch.Generator().manual_seed(1)
    d = game.contexts.shape[1]
    network = net(device, in_features=game.in_features, outputs=game.out_features)
    kernel = bandits.infinite_kernel(network)
    return [
        bandits.LinUCB(game.arms, d), bandits.LinTS(game.arms, d, generator=seeded),
        bandits.UniformPolicy(game.arms, seeded), bandits.EpsilonGreedy(rewards(device, game), 0.5, seeded),
        bandits.NeuralUCB(rewards(device, game, optimizer="sgd", batch_size=2), 0.1),
        bandits.NeuralUCB(rewards(device, game), 0.1, design="diagonal", mean="linearized"),
        bandits.NeuralTS(rewards(device, game), 0.1, mean="kernel_ridge", at="initial", generator=seeded),
        bandits.LaplaceUCB(rewards(device, game, optimizer="adam")),
        bandits.LaplaceTS(rewards(device, game), generator=seeded),
        bandits.NeuralLinear(rewards(device, game), game.arms, generator=seeded),
        bandits.EnsembleTS([rewards(device, game), rewards(device, game)], generator=seeded),
        bandits.KernelUCB(kernel, game.arms, noise=0.1, exploration=1.0),
        bandits.TabulatedKernelUCB(game, kernel, noise=0.1, exploration=1.0),
    ]  # fmt: skip


def _played(device: Device, encoding: str) -> Any:
    game = environment(device, encoding=encoding)
    some = slice(None) if encoding == "outputs" else slice(4, None, 4)
    runs = [bandits.play(game, policy, diagnose_at=[4]) for policy in policies(device, game)[some]]
    return [
        [run.regret, run.rewards, run.arms, run.diagnostics if hasattr(run, "diagnostics") else 0] for run in runs
    ]


@case
def bandit_policies(device):
    return _played(device, "disjoint")


@case
def bandit_policies_with_an_output_an_arm(device):
    return _played(device, "outputs")


@case
def norm_bound(device):
    game = environment(device)
    return bandits.norm_bound(game, bandits.infinite_kernel(net(device, in_features=game.in_features, outputs=1)))


@case
def monitor(device):
    network, given = net(device), data(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    watch = ng.Monitor(
        network, given.x, given.y, x_test=inputs(device, 3), loss="squared", optimizer=optimizer, budget=None
    )
    before = copy.deepcopy(network)
    for step in range(3):
        loss = 0.5 * (network(given.x) - given.y).square().sum()
        watch.observe(step, loss=loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    table = watch.to_pandas().select_dtypes("number").to_numpy()
    return table, numbers(ng.compare_checkpoints(before, network, given.x))
