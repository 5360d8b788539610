"""Figures that keep their style wherever they are saved, and texts that have room on them."""

import os
from collections.abc import Callable
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkgap.errors import StoreError
from ntkgap.reporting.style import COLUMN, TEXT, style

LEAST_SIZE = 5.5  # of letters, in points
BOLD, REGULAR = 0.62, 0.56  # mean width of a letter as a fraction of its height


class PaperFigure(Figure):
    """A figure in our style; PDFs embed their fonts."""

    redraw: Callable[[], Figure | None] | None = None
    """Draws it anew, in whatever style there is."""

    def savefig(self, *args: Any, **options: Any) -> None:
        """As of matplotlib, in the style in which it was drawn."""
        with style():
            super().savefig(*args, **options)

    def save(self, path: str | os.PathLike[str], width: float | None = None) -> None:
        """Write it for a paper, drawn anew in its width with letters of 7 points; ``savefig`` writes it as it is.

        Args:
            path: where to; its ending says in which form, such as ``.pdf`` or ``.svg``.
            width: in inches; a column's (3.3) for one panel, a text's (6.9) for several if not given.

        Raises:
            StoreError: if the file cannot be written.
        """
        with style(width or (COLUMN if len(self.axes) == 1 else TEXT)):
            drawn = self.redraw() if self.redraw is not None else None
        figure = self if drawn is None else drawn
        plt.close(figure)
        try:
            figure.savefig(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot save the figure as {os.fspath(path)!r}: {error}") from error


def set_title(ax: Axes, title: str) -> None:
    """A title over a panel, in letters small enough to fit, and cut where none are."""
    size = ax.title.get_fontsize()
    title, size = fitted(title, _inches(ax, 0), float(size), BOLD)
    ax.set_title(title, fontsize=size)


def set_ylabel(ax: Axes, label: str) -> None:
    """The same beside it."""
    label, size = fitted(label, _inches(ax, 1), float(ax.yaxis.label.get_fontsize()), REGULAR)
    ax.set_ylabel(label, fontsize=size)


def fitted(text: str, inches: float, size: float, letter: float) -> tuple[str, float]:
    """A text and the size of its letters with which it has room in so many inches.

    Args:
        text: one line.
        inches: the room.
        size: of letters in points, where all fit.
        letter: their mean width as a fraction of that.
    """
    room = inches * 72 / letter
    if room >= size * len(text):
        return text, size
    size = max(room / len(text), LEAST_SIZE)
    most = int(room / size)
    return text if len(text) <= most else f"{text[: most - 1]}…", size


def _inches(ax: Axes, side: int) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None
    box = ax.get_position()
    return float((box.width, box.height)[side] * figure.get_size_inches()[side])
