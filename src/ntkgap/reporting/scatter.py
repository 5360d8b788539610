"""The figure of two measured numbers against each other, cell by cell."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkgap.reporting.figures import label_rows, legends_below, log_axis, panels, plain
from ntkgap.reporting.paper import set_title
from ntkgap.reporting.style import LIMIT, layout, ordered_colors
from ntkgap.studies.figures import ScatterFigure
from ntkgap.studies.measured import Measured

# Of what lies beyond the axes: drawn on the panel's edge, in its own coordinates.
EDGE = 0.985


def scatter_figure(spec: ScatterFigure, cells: Mapping[str, Sequence[Measured]]) -> Figure:
    """Points of all cells in four quadrants, one panel a problem, darker where the network is wider.

    Infinite numbers are drawn as triangles on the upper or right edge, inconclusive ones counted in the legend.

    Args:
        spec: what to draw.
        cells: what was measured, by problem.
    """
    figure, axes = panels(len(cells))
    for ax, (problem, found) in zip(axes, cells.items(), strict=True):
        set_title(ax, plain(problem))
        ax.set_xlabel(spec.x_label)
        log_axis(ax)
        log_axis(ax, horizontal=True)
        points = [(c.width, c.scalars[spec.x], c.scalars[spec.y]) for c in found]
        _view(ax, spec, points)
        widths = sorted({width for width, _, _ in points})
        colors = ordered_colors(len(widths))
        for width, color in zip(widths, colors, strict=True):
            _draw_width(ax, [(x, y) for w, x, y in points if w == width], color, f"width {width}")
        missing = sum(math.isnan(x) or math.isnan(y) for _, x, y in points)
        if missing:
            ax.plot([], [], "x", color=LIMIT, ms=5, label=f"inconclusive: {missing}")
        ax.axvline(spec.x_limit, color=LIMIT, ls="--", lw=1.1)
        ax.axhline(spec.y_limit, color=LIMIT, ls="--", lw=1.1)
        _name_quadrants(ax, spec)
    label_rows(axes, spec.y_label)
    legends_below(figure, axes)
    return figure


def _view(ax: Axes, spec: ScatterFigure, points: Sequence[tuple[int, float, float]]) -> None:
    """Show all points that have a place, and both limits with room on either side."""
    for axis, limit, values in (
        ("x", spec.x_limit, [x for _, x, _ in points]),
        ("y", spec.y_limit, [y for _, _, y in points]),
    ):
        placed = [limit / 3, limit * 3, *(v for v in values if math.isfinite(v) and v > 0)]
        low, high = math.log10(min(placed)), math.log10(max(placed))
        margin = 0.08 * (high - low)
        ax.set(**{f"{axis}lim": (10 ** (low - margin), 10 ** (high + margin))})


def _draw_width(ax: Axes, points: Sequence[tuple[float, float]], color: object, label: str) -> None:
    """The points of one width; beyond the edge as triangles."""
    left, bottom = ax.get_xlim()[0], ax.get_ylim()[0]
    inside, above, right, corner = [], [], [], []
    for x, y in points:
        if math.isnan(x) or math.isnan(y):
            continue
        place = (max(x, left), max(y, bottom))  # zeros on the lower edges
        if math.isinf(x) and math.isinf(y):
            corner.append((EDGE, EDGE))
        elif math.isinf(y):
            above.append((place[0], EDGE))
        elif math.isinf(x):
            right.append((EDGE, place[1]))
        else:
            inside.append(place)
    for places, marker, transform in (
        (inside, "o", ax.transData),
        (above, "^", ax.get_xaxis_transform()),
        (right, ">", ax.get_yaxis_transform()),
        (corner, "^", ax.transAxes),
    ):
        if places:
            ax.plot(*zip(*places, strict=True), marker, color=color, ms=4, mew=0, alpha=0.85, transform=transform)
    ax.plot([], [], "o", color=color, ms=4, mew=0, label=label)


def _name_quadrants(ax: Axes, spec: ScatterFigure) -> None:
    """Light labels in the corners."""
    corners = ((0.02, 0.95, "left"), (0.97, 0.95, "right"), (0.02, 0.03, "left"), (0.97, 0.03, "right"))
    for (x, y, side), text in zip(corners, spec.quadrants, strict=True):
        ax.text(
            x,
            y,
            text,
            transform=ax.transAxes,
            ha=side,
            va="center",
            color="#77777f",
            fontsize=layout().letters - 1.5,
        )
