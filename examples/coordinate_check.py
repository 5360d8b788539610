"""Which parametrization learns features at every width? The coordinate check, for all four.

A ReLU network with three hidden layers takes a few steps of gradient descent at several widths. The power of the
width with which the activations of each layer change says what happens in the limit: nothing (NTK
parametrization), an explosion (standard parametrization at a fixed learning rate), or feature learning (mean-field
and μP). Run

    python examples/coordinate_check.py

and see docs/images/coordinate_check.png.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import ntkgap as ng
from ntkgap.practice import coordinate_check
from ntkgap.practice.training.coordinate_check import OUTPUT, CoordinateCheck
from ntkgap.reporting.figures import log_axis
from ntkgap.reporting.style import LIMIT, style

WIDTHS = (64, 128, 256, 512, 1024)
SEEDS, STEPS = 8, 3
# Learning rate, so small that no width comes near the end of training in these steps, and what to expect.
PARAMETRIZATIONS = {
    "standard": (1e-6, "hidden layers explode"),
    "ntk": (1e-3, "hidden layers stand still"),
    "mean_field": (0.02, "features are learned"),
    "mup": (2e-3, "features are learned"),
}


def check(parametrization: str, learning_rate: float, widths: tuple[int, ...], seeds: int) -> CoordinateCheck:
    train, _ = ng.load_data("digits", n_train=64, n_test=16, seed=0)

    def build(width: int) -> ng.MLP:
        return ng.MLP(64, 10, width, 3, "relu", parametrization, weight_std=2**0.5)

    return coordinate_check(build, train, widths, steps=STEPS, learning_rate=learning_rate, seeds=range(seeds))


def main(widths: tuple[int, ...], seeds: int, folder: Path) -> None:
    with style():
        figure, axes = plt.subplots(1, 4, figsize=(11.5, 3.3), sharey=True)
        figure.subplots_adjust(left=0.06, right=0.995, bottom=0.15, top=0.9, wspace=0.1)
        for ax, (name, (learning_rate, verdict)) in zip(axes, PARAMETRIZATIONS.items(), strict=True):
            found = check(name, learning_rate, widths, seeds)
            layers = found.layers
            shades = mpl.colormaps["viridis_r"](np.linspace(0.15, 0.95, len(layers) - 1))
            ax.set_title(f"{name}: {verdict}")
            ax.set_xscale("log", base=2)
            log_axis(ax)
            for i, layer in enumerate(layers):
                e = found.change_exponent(layer)
                print(
                    f"{name:10s} {layer:6s} change: width^({e.value:.2f} [{e.low:.2f}, {e.high:.2f}])", flush=True
                )
                color, line = (LIMIT, "s--") if layer == OUTPUT else (shades[i], "o-")
                words = "output" if layer == OUTPUT else f"layer {i + 1}"
                values = found.change[layer]
                ax.plot(
                    widths,
                    np.median(values, 0),
                    line,
                    color=color,
                    ms=4,
                    label=f"{words}: {e.value:+.2f}".replace("-", "−"),
                )
                ax.fill_between(widths, values.min(0), values.max(0), color=color, alpha=0.15, lw=0)
            ax.set_xticks(widths, [str(width) for width in widths])
            ax.minorticks_off()
            ax.set_xlabel("width")
            ax.legend(
                loc="upper left",
                title="power of the width",
                title_fontsize=8,
                ncols=2,
                columnspacing=0.8,
                handlelength=1.4,
            )
        bottom, top = axes[0].get_ylim()
        axes[0].set_ylim(bottom, 20 * top)  # room for the legends
        axes[0].set_ylabel(f"change of activations in {STEPS} steps (rms)")
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "coordinate_check.png", dpi=200)
        figure.savefig(folder / "coordinate_check.svg", metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The coordinate check of four parametrizations.")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    arguments = parser.parse_args()
    main(tuple(arguments.widths), arguments.seeds, arguments.folder)
