"""Draws the ten pictures of "What the NTK is and is not", each from networks that are trained here.

``python docs/learn/pictures.py [NAME ...]`` writes ``docs/learn/NAME.png``; all ten take less than a minute.
"""

import argparse
import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.reporting.style import LIMIT, MEASURED, REFERENCES, THEORY, style

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "results"))
from small import shrink  # noqa: E402

DOTS_PER_INCH = 120
SIZE = (6.6, 2.6)
OTHER = REFERENCES[0]


def circle(angles: Tensor) -> Tensor:
    """Points of norm √2, [k] -> [k, 2]: each coordinate has mean square one."""
    return math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=1).double()


ANGLES = torch.linspace(-math.pi, math.pi, 121)
GRID = circle(ANGLES)
DATA_ANGLES = torch.tensor([-2.0, -0.7, 0.6, 1.9])
X, Y = circle(DATA_ANGLES), torch.tensor([[-0.6], [0.9], [-0.8], [0.7]], dtype=torch.float64)


def network(width: int, seed: int = 0, **options: object) -> ng.MLP:
    """One hidden layer of erf units on the circle, in float64."""
    settings = {"nonlinearity": "erf", "weight_std": 1.5, "bias_std": 0.3} | options
    generator = torch.Generator().manual_seed(seed)
    return ng.MLP(2, 1, width, 1, generator=generator, **settings).double()


def outputs(net: nn.Module, x: Tensor) -> Tensor:
    """f(x) without a graph, [k]."""
    with torch.no_grad():
        return net(x)[:, 0]


def digits(n: int = 64) -> ng.Dataset:
    """Handwritten digits in float64."""
    return ng.load_data("digits", n_train=n, n_test=100, seed=0)[0].to(torch.float64)


def panels(count: int, **options: object) -> tuple[Figure, list]:
    """A row of panels."""
    figure, axes = plt.subplots(1, count, figsize=SIZE, layout="constrained", **options)
    return figure, list(axes) if count > 1 else [axes]


def influence() -> Figure:
    """A gradient step on one example moves outputs elsewhere by −η K(x, x₀) (f(x₀) − y₀)."""
    figure, axes = panels(2, sharey=True)
    at, target, rate = circle(torch.tensor([0.6])), torch.tensor([[2.0]], dtype=torch.float64), 0.15
    for axis, width in zip(axes, (8, 512), strict=True):
        net = network(width, seed=3)
        before = outputs(net, GRID)
        kernel = ng.empirical_ntk(net, GRID, at)[:, 0, 0, 0]
        predicted = -rate * kernel * (outputs(net, at) - target[0])
        ng.train(net, ng.Dataset(at, target), learning_rate=rate, steps=1)
        axis.plot(ANGLES, outputs(net, GRID) - before, color=MEASURED, label="after one step")
        axis.plot(ANGLES, predicted, "--", color=THEORY, label="−η K(x, x₀) (f(x₀) − y₀)")
        axis.axvline(0.6, color=LIMIT, linewidth=0.8)
        axis.set(title=f"width {width}", xlabel="angle of the input x")
    axes[0].set_ylabel("change of the output")
    axes[0].legend(loc="upper left")
    return figure


def deterministic() -> Figure:
    """The kernel of a random network depends on the draw; with width it does so less and less."""
    figure, axes = panels(3, sharey=True)
    at = circle(torch.tensor([0.0]))
    limit = ng.infinite_width(network(8)).ntk(GRID, at)[:, 0]
    for axis, width in zip(axes, (16, 128, 1024), strict=True):
        for seed in range(10):
            kernel = ng.empirical_ntk(network(width, seed), GRID, at)[:, 0, 0, 0]
            axis.plot(
                ANGLES,
                kernel,
                color=MEASURED,
                linewidth=0.7,
                alpha=0.7,
                label="ten networks" if not seed else None,
            )
        axis.plot(ANGLES, limit, color=THEORY, linewidth=2, label="infinite width")
        axis.set(title=f"width {width}", xlabel="angle of x")
    axes[0].set_ylabel("K(x, x₀), x₀ at angle 0")
    axes[2].legend(loc="upper right")
    return figure


def stands_still() -> Figure:
    """The kernel changes in training, less the wider the network, like width^(−½)."""
    figure, (axis,) = panels(1)
    data, widths = digits(32), [16, 32, 64, 128, 256, 512]
    rate = 0.5 * ng.theory.critical_learning_rate(ng.infinite_width(ng.MLP(64, 10, 8, 2).double()).ntk(data.x))
    changes = torch.zeros(len(widths), 4)
    for i, width in enumerate(widths):
        for seed in range(changes.shape[1]):
            net = ng.MLP(64, 10, width, 2, generator=torch.Generator().manual_seed(seed)).double()
            before = ng.empirical_ntk(net, data.x)
            ng.train(net, data, learning_rate=rate, steps=100)
            changes[i, seed] = ng.kernels.relative_change(ng.empirical_ntk(net, data.x), before)
    axis.loglog(widths, changes, ".", color=MEASURED)
    axis.loglog(
        widths, changes.median(1).values, color=MEASURED, label="digits, 2 hidden layers, 100 steps; 4 seeds"
    )
    axis.loglog(
        widths, changes[0].median() * (torch.tensor(widths) / 16) ** -0.5, "--", color=THEORY, label="slope −½"
    )
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.set_xticks([], minor=True)
    axis.set(xlabel="width", ylabel="‖Kₜ − K₀‖ / ‖K₀‖", title="How much the kernel changes in training")
    axis.legend()
    return figure


def linearized_model() -> Figure:
    """A wide network trains like its first-order expansion; a narrow one leaves it."""
    figure, axes = panels(2, sharey=True)
    data = digits(48)
    for axis, width in zip(axes, (16, 1024), strict=True):
        net = ng.MLP(64, 10, width, 2, generator=torch.Generator().manual_seed(0)).double()
        gram = ng.as_matrix(ng.empirical_ntk(net, data.x))
        linear, rate = ng.linearize(net), 0.5 * ng.theory.critical_learning_rate(gram)
        measured = ng.train(net, data, learning_rate=rate, steps=60).losses
        axis.semilogy(measured, color=MEASURED, label="network")
        predicted = ng.train(linear, data, learning_rate=rate, steps=60).losses
        axis.semilogy(predicted, "--", color=THEORY, label="its linearized model")
        axis.set(title=f"width {width}", xlabel="step of gradient descent")
    axes[0].set_ylabel("training loss")
    axes[1].legend()
    return figure


def modes() -> Figure:
    """Each eigenvector of the kernel is learned at a rate of its own, (1 − ηκ)^t."""
    figure, (axis,) = panels(1)
    data = digits(24)
    net = ng.MLP(64, 10, 2048, 1, generator=torch.Generator().manual_seed(0)).double()
    gram = ng.as_matrix(ng.empirical_ntk(net, data.x))
    values, vectors = torch.linalg.eigh(gram)
    rate = float(0.9 / values[-1])
    found = []

    def keep(step: int) -> None:
        with torch.no_grad():
            found.append((vectors.T @ (net(data.x) - data.y).flatten()).abs())

    ng.train(net, data, learning_rate=rate, steps=100, observe=keep)
    curves, shown = torch.stack(found), [-1, -15, -60, -150]
    for i, color in zip(shown, (MEASURED, OTHER, REFERENCES[1], LIMIT), strict=True):
        axis.semilogy(curves[:, i] / curves[0, i], color=color, label=f"κ = {values[i]:.2g}")
        axis.semilogy((1 - rate * values[i]) ** torch.arange(len(curves)), "k:", linewidth=1)
    axis.plot([], [], "k:", linewidth=1, label="(1 − ηκ)ᵗ")
    axis.set(ylim=(1e-3, 1.5), xlabel="step of gradient descent", ylabel="what is left of the error")
    axis.set_title("Four directions of the error, width 2048")
    axis.legend(loc="upper right", ncols=2)
    return figure


def _band(axis: plt.Axes, mean: Tensor, std: Tensor, color: str, label: str) -> None:
    axis.fill_between(ANGLES, mean - 2 * std, mean + 2 * std, color=color, alpha=0.2, linewidth=0)
    axis.plot(ANGLES, mean, color=color, label=label)


def ensemble() -> Figure:
    """At infinite width trained networks are draws from a Gaussian that is known beforehand."""
    figure, axes = panels(3, sharey=True)
    limit = ng.infinite_width(network(8))
    known, cross = limit.kernels(X), limit.kernels(GRID, X)
    predicted = ng.InfiniteEnsemble(known.ntk, known.nngp, Y)
    rate, steps = 0.5 * ng.theory.critical_learning_rate(known.ntk), [0, 4, 100]
    members = ng.train_ensemble(
        lambda seed: network(256, seed),
        ng.Dataset(X, Y),
        25,
        learning_rate=rate,
        steps=100,
        inputs=GRID,
        observe_at=steps,
    ).outputs
    for i, (axis, step) in enumerate(zip(axes, steps, strict=True)):
        decay = predicted.gradient_descent_decay(rate, step)
        found = predicted.predict(decay, cross.ntk, cross.nngp, limit.nngp(GRID))
        axis.plot(ANGLES, members[:, i, :, 0].T, color=MEASURED, linewidth=0.5, alpha=0.6)
        _band(axis, found.mean[:, 0], found.std, THEORY, "predicted mean ± 2 std")
        axis.plot(DATA_ANGLES, Y, "o", color="black", markersize=3)
        axis.set(title=f"after {step} steps" if step else "at the start", xlabel="angle of x")
    axes[0].set_ylabel("output")
    axes[2].legend(loc="lower right")
    return figure


def three_posteriors() -> Figure:
    """An ensemble of trained networks is not a Bayesian posterior: three Gaussians with three widths."""
    figure, axes = panels(3, sharey=True)
    limit = ng.infinite_width(network(8))
    known, cross, own = limit.kernels(X), limit.kernels(GRID, X), limit.kernels(GRID)
    trained = ng.InfiniteEnsemble(known.ntk, known.nngp, Y)
    found = {
        "trained ensemble": trained.predict(trained.converged_decay(), cross.ntk, cross.nngp, own.nngp),
        "NNGP posterior": ng.GaussianProcess(known.nngp, Y, 1e-4).predict(cross.nngp, own.nngp),
        "NTK-GP posterior": ng.GaussianProcess(known.ntk, Y, 1e-4).predict(cross.ntk, own.ntk),
    }
    for axis, (name, posterior), color in zip(axes, found.items(), (MEASURED, REFERENCES[1], THEORY), strict=True):
        _band(axis, posterior.mean[:, 0], posterior.std, color, name)
        axis.plot(DATA_ANGLES, Y, "o", color="black", markersize=3)
        axis.set(title=name, xlabel="angle of x")
    axes[0].set_ylabel("output, mean ± 2 std")
    return figure


def features() -> Figure:
    """Width alone does not decide: with γ0 the same network goes from a constant kernel to learning features."""
    figure, axes = panels(2)
    data = digits(48)
    scales = [0.03, 0.1, 0.3, 1.0, 2.0]
    changes, alignments, starts = [], [], []
    for gamma0 in scales:
        net = ng.MLP(
            64, 10, 256, 2, gamma0=gamma0, antisymmetric=True, generator=torch.Generator().manual_seed(0)
        ).double()
        before = ng.empirical_ntk(net, data.x, outputs="mean")
        rate = 0.2 * ng.theory.critical_learning_rate(256 * gamma0**2 * before)
        ng.train(net, data, learning_rate=rate, steps=300)
        after = ng.empirical_ntk(net, data.x, outputs="mean")
        targets = data.y - data.y.mean(0)
        changes.append(ng.kernels.relative_change(after, before))
        alignments.append(_alignment(after, targets))
        starts.append(_alignment(before, targets))
    axes[0].loglog(scales, changes, "o-", color=MEASURED)
    axes[0].set(title="Change of the kernel", xlabel="γ0: lazy on the left, rich on the right")
    axes[1].semilogx(scales, alignments, "o-", color=MEASURED, label="after training")
    axes[1].semilogx(scales, starts, "--", color=THEORY, label="at the start")
    axes[1].set(title="Alignment with the classes", xlabel="γ0")
    axes[1].legend()
    return figure


def _alignment(kernel: Tensor, targets: Tensor) -> float:
    """⟨K, yyᵀ⟩ / (‖K‖ ‖yyᵀ‖) of a kernel shared by all outputs."""
    outer = targets @ targets.T
    return float((kernel * outer).sum() / (kernel.norm() * outer.norm()))


def beyond_the_edge() -> Figure:
    """Past 2/κ_max the linearized model diverges; the network finds a flatter place and goes on."""
    figure, axes = panels(2)
    data = digits(32)
    net = ng.MLP(64, 10, 64, 2, generator=torch.Generator().manual_seed(1)).double()
    gram = ng.as_matrix(ng.empirical_ntk(net, data.x))
    critical = ng.theory.critical_learning_rate(gram)
    linear, rate, steps = ng.linearize(net), 1.3 * critical, 60
    largest: list[float] = []

    def look(step: int) -> None:
        largest.append(float(ng.spectrum(ng.as_matrix(ng.empirical_ntk(net, data.x))).eigenvalues[-1]))

    axes[0].semilogy(
        ng.train(net, data, learning_rate=rate, steps=steps, observe=look).losses, color=MEASURED, label="network"
    )
    diverging = ng.train(linear, data, learning_rate=rate, steps=20).losses
    axes[0].semilogy(diverging, "--", color=THEORY, label="its linearized model")
    axes[0].set(title="η = 1.3 · 2/κ_max", xlabel="step", ylabel="training loss", ylim=(1e-2, 1e4))
    axes[0].legend(loc="upper right")
    axes[1].plot(torch.tensor(largest) * rate / 2, color=MEASURED)
    axes[1].axhline(1, color=LIMIT, linewidth=0.8, linestyle="--")
    axes[1].set(title="η κ_max / 2 of the network", xlabel="step")
    return figure


def forgetting() -> Figure:
    """What is forgotten depends on how long tasks are learned; the kernel predicts it while it stands still."""
    figure, axes = panels(2, sharey=True)
    stream = ng.continual.load_stream(
        "rotated", "digits", n_train=40, n_test=200, tasks=3, angle=40, scaling="unit_norm", flatten=True
    )
    steps = [3, 10, 30, 100, 300]
    for axis, width in zip(axes, (16, 512), strict=True):
        nets = [
            ng.MLP(
                64, 10, width, 1, weight_std=2**0.5, antisymmetric=True, generator=torch.Generator().manual_seed(s)
            )
            for s in range(3)
        ]
        predicted = [
            ng.continual.predict_tasks(copy.deepcopy(net), stream, learning_rate=0.03, steps=steps) for net in nets
        ]
        expected = [sum(p.matrix(i).forgetting() for p in predicted) / len(nets) for i in range(len(steps))]
        measured = []
        for count in steps:
            runs = ng.continual.train_tasks(nets, stream, learning_rate=0.03, stop=ng.continual.Steps(count))
            measured.append(
                sum(ng.continual.AccuracyMatrix(scores).forgetting() for scores in runs.scores) / len(nets)
            )
        axis.semilogx(steps, measured, "o-", color=MEASURED, label="networks")
        axis.semilogx(steps, expected, "--", color=THEORY, label="their kernel at the start")
        axis.set(title=f"width {width}", xlabel="steps a task")
    axes[0].set_ylabel("forgetting (accuracy)")
    axes[0].legend()
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    f.__name__: f
    for f in (
        influence,
        deterministic,
        stands_still,
        linearized_model,
        modes,
        ensemble,
        three_posteriors,
        features,
        beyond_the_edge,
        forgetting,
    )
}


def draw(name: str, folder: Path) -> Path:
    """Draw one picture as a PNG with a palette."""
    path = folder / f"{name}.png"
    with style():
        figure = PICTURES[name]()
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
        plt.close(figure)
    shrink(path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; all if none is given")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the pictures")
    arguments = parser.parse_args()
    for name in arguments.names or PICTURES:
        print(draw(name, arguments.out))
