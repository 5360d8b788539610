"""Figures that keep their style wherever they are saved, and fit a column of a paper."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from ntkgap.errors import StoreError
from ntkgap.reporting.style import style

COLUMN, TEXT = 3.3, 6.9
"""Widths in inches of a column, and of a page's text."""

LEAST_SIZE = 5.0  # of letters, in points
BOLD, REGULAR = 0.62, 0.56  # mean width of a letter in parts of its height


class PaperFigure(Figure):
    """A figure in the house style; PDFs embed their fonts."""

    def savefig(self, *args: Any, **options: Any) -> None:
        """As of matplotlib, in the style in which it was drawn."""
        with style():
            super().savefig(*args, **options)

    def save(self, path: str | os.PathLike[str], width: float | None = None) -> None:
        """Write it for a paper.

        Args:
            path: where to; its ending says in which form, such as ``.pdf`` or ``.svg``.
            width: in inches; a column's (3.3) for one panel and a page's (6.9) for several if not given. Letters
                and strokes shrink with it, letters to 5 points at least.

        Raises:
            StoreError: if the file cannot be written.
        """
        panels = len([ax for ax in self.axes if ax.get_visible()])
        wanted = (COLUMN if panels == 1 else TEXT) if width is None else width
        try:
            with self._scaled(wanted / self.get_figwidth()):
                self.savefig(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot save the figure as {os.fspath(path)!r}: {error}") from error

    @contextmanager
    def _scaled(self, factor: float) -> Iterator[None]:
        """All that has a size in points, larger or smaller, and back."""
        texts = [(t, t.get_fontsize()) for t in self.findobj(Text) if isinstance(t, Text)]
        lines = [
            (line, line.get_linewidth(), line.get_markersize())
            for line in self.findobj(Line2D)
            if isinstance(line, Line2D)
        ]
        width, height = self.get_size_inches()
        try:
            self.set_size_inches(factor * width, factor * height)
            for text, size in texts:
                text.set_fontsize(max(factor * size, min(size, LEAST_SIZE)))
            for line, stroke, mark in lines:
                line.set_linewidth(factor * stroke)
                line.set_markersize(factor * mark)
            yield
        finally:
            self.set_size_inches(width, height)
            for text, size in texts:
                text.set_fontsize(size)
            for line, stroke, mark in lines:
                line.set_linewidth(stroke)
                line.set_markersize(mark)


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
        letter: their mean width in parts of that.
    """
    room = inches * 72 / letter
    if room >= size * len(text):
        return text, size
    size = max(room / len(text), LEAST_SIZE + 1)
    most = int(room / size)
    return text if len(text) <= most else f"{text[: most - 1]}…", size


def _inches(ax: Axes, side: int) -> float:
    figure = ax.get_figure()
    assert figure is not None
    box = ax.get_position()
    return float((box.width, box.height)[side] * figure.get_size_inches()[side])
