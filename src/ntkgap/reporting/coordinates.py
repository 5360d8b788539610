"""The figure of a coordinate check: size and change of every layer's activations over width."""

import math

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ntkgap.practice.training.coordinate_check import OUTPUT, CoordinateCheck, Exponent
from ntkgap.reporting.figures import log_axis, panels
from ntkgap.reporting.ranges import seed_range
from ntkgap.reporting.style import LIMIT


def coordinate_figure(check: CoordinateCheck, max_layers: int = 6) -> Figure:
    """Activations at initialization, and their change in training, over width: median and range over seeds.

    The legend says with which power of the width each grows; a flat line in the second panel is a layer that
    learns at the same speed at every width.

    Args:
        check: what ``practice.coordinate_check`` measured.
        max_layers: at most so many layers besides the output are drawn, evenly chosen.
    """
    figure, axes = panels(2)
    after = f"change after {check.steps} step{'s' if check.steps > 1 else ''}"
    for ax, title, sizes, exponent in (
        (axes[0], "activations at initialization", check.initial, check.initial_exponent),
        (axes[1], after, check.change, check.change_exponent),
    ):
        ax.set_title(title)
        ax.set_xscale("log")
        ax.set_xlabel("width")
        log_axis(ax)
        hidden = [layer for layer in check.layers if layer != OUTPUT]
        places = np.linspace(0, len(hidden) - 1, min(max_layers, len(hidden)))
        chosen = [hidden[round(place)] for place in places]
        for layer, color in zip(
            chosen, mpl.colormaps["viridis_r"](np.linspace(0.12, 0.95, len(chosen))), strict=True
        ):
            _draw(ax, check, sizes[layer], color, f"layer {layer}: {_power(exponent(layer))}")
        _draw(ax, check, sizes[OUTPUT], LIMIT, f"output: {_power(exponent(OUTPUT))}", "s--")
        ax.set_xticks(check.widths, [str(width) for width in check.widths])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.margins(y=0.3)  # room for the legend
        ax.legend(loc="best")
    axes[0].set_ylabel("root mean square")
    return figure


def _draw(
    ax: Axes, check: CoordinateCheck, sizes: np.ndarray, color: object, label: str, line: str = "o-"
) -> None:
    low, middle, high = seed_range(sizes.tolist(), True)
    ax.plot(check.widths, middle, line, color=color, ms=4, label=label)
    ax.fill_between(check.widths, low, high, color=color, alpha=0.15, lw=0)


def _power(exponent: Exponent) -> str:
    if math.isnan(exponent.value):
        return "no power of the width"
    value, low, high = (
        round(number, 2) + 0.0 for number in (exponent.value, exponent.low, exponent.high)
    )  # no −0
    return f"∝ width^({value:.2f} [{low:.2f}, {high:.2f}])"
