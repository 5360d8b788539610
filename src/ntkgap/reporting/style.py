"""The style of figures for papers: fonts, colors, strokes and sizes, in one place."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl

from ntkgap.reporting.charts import colors
from ntkgap.reporting.fonts import font_families

# Told apart by readers with any color vision (Okabe, Ito 2008); the same as on the page.
MEASURED, THEORY, LIMIT = colors.MEASURED, colors.THEORY, "#33333a"
REFERENCES = colors.REFERENCES
ordered_colors = colors.ordered

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6ea",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#55555c",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # given, or else each title is placed by measuring all there is around its panel
    "legend.frameon": True,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.75,
    "pdf.fonttype": 42,
    "svg.hashsalt": "ntkgap",
}


COLUMN, TEXT = 3.3, 6.9
"""Widths of a paper's column and of its text, in inches."""


@dataclass(frozen=True)
class Layout:
    """Sizes of panels and what is around them, in inches, and of letters, in points.

    Attributes:
        panel_width: a panel with its labels.
        panel_height: the same.
        least: width of a figure, however few its panels.
        left: margin.
        right: margin.
        below: room for labels below a panel.
        above: room for its title.
        gap: between two panels in a row.
        most: panels in a row.
        letters: of labels, in points.
    """

    panel_width: float = 4.6
    panel_height: float = 3.3
    least: float = 6.9
    left: float = 0.82
    right: float = 0.12
    below: float = 0.48
    above: float = 0.3
    gap: float = 0.62
    most: int = 3
    letters: float = 9.0

    @property
    def line(self) -> float:
        """Height of a line of a legend."""
        return 0.019 * self.letters

    @property
    def letter(self) -> float:
        """Width of a letter of a legend."""
        return 0.0069 * self.letters


def of_width(width: float) -> Layout:
    """The layout for a paper: the whole figure is so wide, and its letters need not shrink."""
    most = max(1, int(width / 2.1))
    panel = width / most
    return Layout(
        panel_width=panel,
        panel_height=min(0.45 + 0.62 * panel, 2.6),
        least=width,
        left=0.58,
        right=0.08,
        below=0.36,
        above=0.22,
        gap=0.46,
        most=most,
        letters=7.0,
    )


SCREEN = Layout()
_LAYOUT: ContextVar[Layout] = ContextVar("layout", default=SCREEN)


def layout() -> Layout:
    """The sizes in which figures are drawn at present."""
    return _LAYOUT.get()


@contextmanager
def style(width: float | None = None) -> Iterator[None]:
    """The look of all figures, as a context.

    Args:
        width: of the whole figure in a paper, in inches; for screens if not given.
    """
    chosen = SCREEN if width is None else of_width(width)
    size = chosen.letters
    sizes: Any = {
        "font.size": size,
        "axes.titlesize": size + 0.5,
        "legend.fontsize": size - 1,
        "lines.linewidth": 0.18 * size,
    }
    before = _LAYOUT.set(chosen)
    try:
        with mpl.rc_context({**STYLE, **sizes, "font.family": font_families()}):
            yield
    finally:
        _LAYOUT.reset(before)
