"""Are the members of a real ensemble draws from the Gaussian that kernel theory predicts, while they are trained?

Three hundred ReLU networks with one hidden layer learn a function on the circle from four points by gradient
descent. Theory says what they do on average and how much they differ, at every step, from two kernels alone. Run

    python examples/ensemble.py

and see docs/images/ensemble.png. The right-hand panels put the error of the prediction beside the floor: the error
that as many draws from the predicted Gaussian itself would show (median, and 5 to 95 % of such draws).
"""

import argparse
import math
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

import ntkgap as ng
from ntkgap.linalg import Gaussian
from ntkgap.practice import train_ensemble
from ntkgap.theory import InfiniteEnsemble, critical_learning_rate, ensemble_errors, ensemble_floor

WEIGHT_STD, BIAS_STD = math.sqrt(2), 0.1
WIDTHS = (16, 128, 1024)
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SHOWN = (1, 4, 64)

# Far enough apart for a well-conditioned kernel (κ_min/κ_max = 0.3). With six points 0.8 apart it is 0.04, and
# even networks of width 1024 then differ in their covariance at convergence by a quarter from the limit.
ANGLES = (-2.0, -0.7, 0.6, 1.9)

BAND, MEMBER, DATA = "#8a5a00", "#1f4e79", "#111111"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#55555c",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "ntkgap",
}


def on_the_circle(angles: Tensor) -> Tensor:
    """Points of norm √2, [k] -> [k, 2]: each input has variance one."""
    return math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=1)


def build(width: int, seed: int) -> ng.MLP:
    generator = torch.Generator().manual_seed(seed)
    return ng.MLP(2, 1, width, 1, "relu", weight_std=WEIGHT_STD, bias_std=BIAS_STD, generator=generator)


def draw_functions(axes, angles: Tensor, known: Tensor, y: Tensor, predicted: Gaussian, outputs: Tensor) -> None:
    """Predicted mean and band with some members of the ensemble, one panel a step."""
    x = angles.numpy()
    for ax, step in zip(axes, SHOWN, strict=True):
        t = STEPS.index(step)
        mean, std = predicted.mean[t, :, 0].numpy(), predicted.std[t].numpy()
        ax.fill_between(x, mean - 2 * std, mean + 2 * std, color=BAND, alpha=0.2, lw=0)
        ax.plot(x, outputs[:20, t, :, 0].T.numpy(), color=MEMBER, lw=0.6, alpha=0.45)
        ax.plot(x, mean, color=BAND, lw=2)
        ax.plot(known.numpy(), y.numpy(), "o", color=DATA, ms=4.5, mec="white", mew=0.8, zorder=5)
        ax.set_title(f"after {step} step{'s' if step > 1 else ''}")
        ax.set_xlim(-math.pi, math.pi)
        ax.set_ylim(-3, 3)
        ax.set_yticks(range(-2, 3))
        ax.set_xticks([-math.pi, 0, math.pi], ["−π", "0", "π"])
        ax.set_xlabel("angle of the input")
    for ax in axes[1:]:
        ax.tick_params(labelleft=False)
    axes[0].set_ylabel("output")
    handles = [
        axes[0].fill_between([], [], [], color=BAND, alpha=0.2, lw=0),
        *axes[0].plot([], [], color=BAND, lw=2),
        *axes[0].plot([], [], color=MEMBER, lw=1),
        *axes[0].plot([], [], "o", color=DATA, ms=4.5, mec="white"),
    ]
    words = ["theory: mean ± 2 std", "theory: mean", f"real networks, width {WIDTHS[-1]}", "data"]
    axes[1].legend(handles, words, loc="lower center", ncols=4, bbox_to_anchor=(0.5, -0.33))


def draw_errors(ax, floor: Tensor, measured: dict[int, Tensor], title: str) -> None:
    """Errors over training, one color a width, beside the floor."""
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    low, middle, high = torch.quantile(floor, levels, dim=0).numpy()
    ax.fill_between(STEPS, low, high, color="#9a9aa2", alpha=0.35, lw=0)
    ax.plot(STEPS, middle, color="#6d6d76", lw=1.2, ls="--")
    colors = mpl.colormaps["viridis_r"]([0.2, 0.55, 0.95])
    for (width, errors), color, marker in zip(measured.items(), colors, "s^o", strict=True):
        ax.plot(STEPS, errors.numpy(), marker=marker, ms=4, lw=1.4, color=color, label=f"width {width}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_title(title)
    ax.grid(color="#e6e6ea", lw=0.6)
    ax.set_axisbelow(True)


def main(members: int, folder: Path) -> None:
    known = torch.tensor(ANGLES)
    angles = torch.linspace(-math.pi, math.pi, 81)
    x, inputs, y = on_the_circle(known), on_the_circle(angles), torch.sin(2 * known)[:, None]
    limit = ng.infinite_width(build(1, 0))  # of any width: in NTK parametrization the limit does not depend on it
    known_pairs, cross = limit.kernels(x.double()), limit.kernels(inputs.double(), x.double())

    rate = 0.5 * critical_learning_rate(known_pairs.ntk)
    theory = InfiniteEnsemble(known_pairs.ntk, known_pairs.nngp, y)
    decay = theory.gradient_descent_decay(rate, torch.tensor(STEPS))
    predicted = theory.predict(decay, cross.ntk, cross.nngp, limit.nngp(inputs.double()))
    coarse = slice(None, None, 4)  # neighboring points say the same: the errors are taken over every fourth
    summary = Gaussian(predicted.mean[:, coarse], predicted.covariance[:, coarse, coarse])
    floor = ensemble_floor(summary, members, 300, torch.Generator().manual_seed(0))

    errors = {}
    for width in WIDTHS:
        found = train_ensemble(
            lambda i, width=width: build(width, 1000 * width + i),
            ng.Dataset(x, y),
            members,
            learning_rate=rate,
            steps=STEPS[-1],
            inputs=inputs,
            observe_at=STEPS,
        )
        errors[width] = ensemble_errors(found.outputs[:, :, coarse], summary)
        inside = (errors[width].covariance <= floor.covariance.quantile(0.95, dim=0)).sum()
        print(f"width {width:5d}: covariance within the floor at {inside} of {len(STEPS)} steps")

    with mpl.rc_context(STYLE):
        figure = plt.figure(figsize=(11.5, 4.2))
        left = figure.add_gridspec(1, 3, left=0.045, right=0.635, bottom=0.215, top=0.91, wspace=0.08)
        right = figure.add_gridspec(2, 1, left=0.69, right=0.985, bottom=0.215, top=0.91, hspace=0.32)
        draw_functions([figure.add_subplot(g) for g in left], angles, known, y, predicted, found.outputs)
        upper, lower = (figure.add_subplot(g) for g in right)
        draw_errors(upper, floor.mean, {w: e.mean for w, e in errors.items()}, "relative error of the mean")
        draw_errors(
            lower,
            floor.covariance,
            {w: e.covariance for w, e in errors.items()},
            "relative error of the covariance",
        )
        upper.tick_params(labelbottom=False)
        lower.set_xlabel("step of gradient descent")
        handles, words = upper.get_legend_handles_labels()
        handles.append(upper.fill_between([], [], [], color="#9a9aa2", alpha=0.35, lw=0))
        words.append(f"floor, {members} draws")
        lower.legend(
            handles,
            words,
            loc="lower center",
            ncols=4,
            bbox_to_anchor=(0.44, -0.72),
            columnspacing=0.9,
            handlelength=1.3,
        )
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "ensemble.png", dpi=200)
        figure.savefig(folder / "ensemble.svg", metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Real ensembles beside the Gaussian that kernel theory predicts.")
    parser.add_argument("--members", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    arguments = parser.parse_args()
    main(arguments.members, arguments.folder)
