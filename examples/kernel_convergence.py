"""How fast do the kernels of finite networks approach the kernel of infinite width?

For an MLP, a convolutional network and a wide residual network, drawn at growing widths with many seeds: the
relative Frobenius distance between the empirical tangent kernel of a single network and the kernel that
``infinite_width`` computes from the same object. Run

    python examples/kernel_convergence.py

and see docs/images/kernel_convergence.png.

What is expected: an entry of the kernel is built from means over the m units of each layer. By the central limit
theorem it fluctuates from draw to draw like 1/√m, and its mean over draws is off by a bias like 1/m (Hanin & Nica
2020): the distance of a single draw falls like width^−½. Averaging over outputs (``outputs="mean"``) lessens a
part of the fluctuations, not their exponent. The mean over S draws lies √S lower wherever its bias, which falls
like width^−1, is below that noise.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.models import ConvNet, WideResNet
from ntkgap.reporting.figures import log_axis, panels
from ntkgap.reporting.style import LIMIT, MEASURED, THEORY, style
from ntkgap.studies.statistics import PowerLaw, fit_power_law, median_interval

OUTPUTS, SEEDS = 8, 48
WIDEST = 4  # exponents are fitted over so many widths: networks a few units wide are no asymptotics
RELU = {"weight_std": 2**0.5}

# Name, network by width, shape of the inputs, widths.
CASES: dict[str, tuple[Callable[[int], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "MLP, 3 hidden layers": (
        lambda width: ng.MLP(10, OUTPUTS, width, 3, **RELU),
        (8, 10),
        (64, 128, 256, 512, 1024, 2048, 4096),
    ),
    "ConvNet, 3 convolutions": (
        lambda width: ConvNet(3, OUTPUTS, width, 3, **RELU),
        (6, 3, 8, 8),
        (8, 16, 32, 64, 128, 256),
    ),
    "WideResNet, 3 blocks": (
        lambda width: WideResNet(3, OUTPUTS, width, 1),
        (4, 3, 8, 8),
        (4, 8, 16, 32, 64, 128),
    ),
}


def build(make: Callable[[int], nn.Module], width: int, seed: int) -> nn.Module:
    """One network in float64, drawn from its own seed."""
    torch.manual_seed(100_003 * width + seed)
    return make(width).double()


def distances(
    make: Callable[[int], nn.Module], x: Tensor, widths: tuple[int, ...], seeds: int
) -> tuple[dict[int, dict[int, float]], dict[int, float]]:
    """Relative Frobenius distances to the limit: of every draw, by seed and width, and of the mean over draws."""
    limit = ng.infinite_width(build(make, widths[0], 0)).ntk(x)
    single: dict[int, dict[int, float]] = {seed: {} for seed in range(seeds)}
    of_mean = {}
    for width in widths:
        mean = torch.zeros_like(limit)
        for seed in range(seeds):
            kernel = ng.empirical_ntk(build(make, width, seed), x, outputs="mean")
            single[seed][width] = ng.kernels.relative_change(kernel, limit)
            mean += kernel / seeds
        of_mean[width] = ng.kernels.relative_change(mean, limit)
    return single, of_mean


def draw(
    ax: Axes, name: str, single: dict[int, dict[int, float]], of_mean: dict[int, float], fit: PowerLaw
) -> None:
    """One panel: draws, their medians and intervals, the mean over draws, a guide of slope −½."""
    widths = list(of_mean)
    ax.set_title(name)
    ax.set_xscale("log", base=2)
    log_axis(ax)
    for values in single.values():
        ax.plot(widths, list(values.values()), "o", color=MEASURED, ms=2.2, alpha=0.3, mew=0)
    medians = [median_interval([values[width] for values in single.values()]) for width in widths]
    e = fit.exponent
    label = f"single draws: width^({e.value:.2f} [{e.low:.2f}, {e.high:.2f}])".replace("-", "−")
    ax.fill_between(widths, [i.low for i in medians], [i.high for i in medians], color=MEASURED, alpha=0.2, lw=0)
    ax.plot(widths, [i.value for i in medians], "o-", color=MEASURED, ms=4.5, label=label)
    middle = len(widths) // 2
    guide = [0.6 * medians[middle].value * (width / widths[middle]) ** -0.5 for width in widths]
    ax.plot(widths, guide, ":", color=THEORY, lw=1.6, label="theory: ∝ width^(−½)")
    ax.plot(
        widths,
        list(of_mean.values()),
        "s--",
        color=LIMIT,
        ms=4,
        lw=1.1,
        mfc="white",
        label=f"mean of {len(single)} draws",
    )
    ax.set_xticks(widths, [str(width) for width in widths])
    ax.minorticks_off()
    ax.set_xlabel("width")
    ax.margins(y=0.1)
    low, high = ax.get_ylim()
    ax.set_ylim(low / (high / low) ** 0.35, high)
    ax.legend(loc="lower left")


def main(seeds: int, folder: Path) -> None:
    with style():
        figure, axes = panels(len(CASES))
        for ax, (name, (make, shape, widths)) in zip(axes, CASES.items(), strict=True):
            x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
            single, of_mean = distances(make, x, widths, seeds)
            fit = fit_power_law({s: dict(list(v.items())[-WIDEST:]) for s, v in single.items()}, WIDEST)
            of_all = fit_power_law(single, WIDEST)
            for over, law in ((f"the widest {WIDEST} widths", fit), ("all widths", of_all)):
                e = law.exponent
                print(f"{name}: exponent {e.value:.3f} [{e.low:.3f}, {e.high:.3f}] over {over}", flush=True)
            for width in widths:
                median = median_interval([values[width] for values in single.values()]).value
                print(
                    f"  width {width:5d}: single draw {median:.4f}, mean of {seeds} {of_mean[width]:.4f}, "
                    f"its noise {median / seeds**0.5:.4f}"
                )
            draw(ax, name, single, of_mean, fit)
        axes[0].set_ylabel("‖K − Θ‖ / ‖Θ‖")
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "kernel_convergence.png", dpi=200)
        figure.savefig(folder / "kernel_convergence.svg", metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Empirical kernels of growing width beside the infinite-width kernel."
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    arguments = parser.parse_args()
    main(arguments.seeds, arguments.folder)
