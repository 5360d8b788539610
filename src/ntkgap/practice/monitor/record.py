"""What was observed, as tables and as a figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns, in their order.
QUANTITIES = (
    "loss",
    "linearization_gap",
    "kernel_change",
    "kernel_distance",
    "alignment",
    "effective_rank",
    "kappa_max",
    "stability_ratio",
    "parameter_change",
    "signs_changed",
)
BY_LAYER = ("parameter_change", "kernel_change", "signs_changed")

_PANELS = {
    "loss": ("loss", None, "log"),
    "linearization_gap": ("gap to the linearized model", None, "log"),
    "kernel_change": ("change of the kernel", None, "log"),
    "alignment": ("alignment with the targets", None, "linear"),
    "stability_ratio": ("curvature / stability limit", 1.0, "linear"),
    "signs_changed": ("fraction of signs changed", None, "linear"),
}


def frame(rows: Sequence[Mapping[str, float]], columns: Sequence[str]) -> pd.DataFrame:
    """One row an observation."""
    return pd.DataFrame(list(rows), columns=["step", *columns])


def layer_rows(step: int, layers: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """One row a layer of one observation."""
    names = list(dict.fromkeys(name for quantity in BY_LAYER for name in layers.get(quantity, {})))
    nan = float("nan")
    return [
        {"step": step, "layer": name} | {q: layers.get(q, {}).get(name, nan) for q in BY_LAYER} for name in names
    ]


def layer_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of all observations."""
    return pd.DataFrame(list(rows), columns=["step", "layer", *BY_LAYER])


def plot(table: pd.DataFrame) -> "Figure":
    """Six panels over the steps; measurements on held-out examples are dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    for axes, (quantity, (label, line, scale)) in zip(
        figure.subplots(2, 3, sharex=True).flat, _PANELS.items(), strict=True
    ):
        for column, style in ((quantity, "-"), (f"{quantity}_test", "--")):
            if column in table:
                seen = table[["step", column]].dropna()
                seen = seen[seen[column] > 0] if scale == "log" else seen
                name = "held out" if style == "--" else "probe"
                axes.plot(seen["step"], seen[column], style, marker="o", markersize=3, label=name)
                if style == "--":
                    axes.legend()
        if line is not None:
            axes.axhline(line, color="0.6", linewidth=1)
        axes.set_xscale("symlog", linthresh=1)
        if scale == "log" and any(len(drawn.get_xdata()) for drawn in axes.lines):
            axes.set_yscale("log")
        axes.set_title(label, fontsize=10)
    figure.supxlabel("step")
    return figure
