"""One panel of a figure: series over one axis, as data and as words."""

import csv
import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ntkgap.studies.verdict import number
from ntkgap.texts import spreadsheet_text

DIGITS = 5
COLUMNS = ("series", "x", "y", "low", "high")
SOLID: tuple[int, ...] = ()

Kind = Literal["line", "marked", "points", "seeds"]


@dataclass(frozen=True)
class Series:
    """Points of one color, in the order of x.

    Attributes:
        name: what a reader calls it; made harmless to spreadsheets, as it is in the table of the data.
        color: a color of ``colors``.
        x: places; those without a number are left out.
        y: values.
        low: lower ends of intervals, or empty.
        high: upper ends, or empty.
        kind: a line, a line with marks, marks alone, or small pale marks of single seeds.
        dash: lengths of dashes and gaps of the line.
    """

    name: str
    color: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    kind: Kind = "line"
    dash: tuple[int, ...] = SOLID

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", spreadsheet_text(self.name))


@dataclass(frozen=True)
class Rule:
    """A straight line across the panel.

    Attributes:
        name: what a reader calls it.
        at: where it crosses the axis.
        vertical: whether it stands at a place of the horizontal axis.
        dash: lengths of dashes and gaps.
    """

    name: str
    at: float
    vertical: bool = False
    dash: tuple[int, ...] = (5, 4)


@dataclass(frozen=True)
class Panel:
    """What one chart shows.

    Attributes:
        title: of which problem, as a rule.
        x_label: title of the horizontal axis.
        y_label: title of the vertical axis.
        series: what is drawn; the first is the measured one, as a rule.
        rules: lines across.
        x_log: whether the horizontal axis is logarithmic.
        y_log: whether the vertical one is.
        x_ticks: places to be ticked; empty to leave them to the chart.
        holds: "below" or "above": the side of the first rule to tint, or None.
        y_range: ends of the vertical axis, or None.
        note: what is not in the picture.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()
    x_log: bool = True
    y_log: bool = True
    x_ticks: tuple[float, ...] = ()
    holds: Literal["below", "above"] | None = None
    y_range: tuple[float, float] | None = None
    note: str = ""

    @functools.cached_property
    def rows(self) -> list[tuple[str, float, float, float | None, float | None]]:
        """Name, x, y, low and high of every point that has a place on the axes."""
        found = []
        for series in self.series:
            lows, highs = (ends or [math.nan] * len(series.y) for ends in (series.low, series.high))
            for x, y, low, high in zip(series.x, series.y, lows, highs, strict=False):
                if self._has_place(x, self.x_log) and self._has_place(y, self.y_log):
                    ends = [end if self._has_place(end, self.y_log) else None for end in (low, high)]
                    found.append((series.name, x, y, ends[0], ends[1]))
        return found

    @staticmethod
    def _has_place(value: float, log: bool) -> bool:
        return math.isfinite(value) and (value > 0 or not log)

    def csv(self) -> str:
        """The points as a table."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, *numbers in self.rows:
            digits = ("" if v is None else f"{v:.{DIGITS}g}" for v in numbers)
            writer.writerow([name, *digits])
        return out.getvalue()

    @property
    def empty(self) -> bool:
        """Whether nothing has a place on the axes."""
        return not self.rows

    @property
    def words(self) -> str:
        """The panel for those who do not see it: what every series does from its first to its last point."""
        parts = [f"{self.title}: {self.y_label} over {self.x_label}"]
        rows = self.rows
        for series in self.series:
            own = [(x, y) for name, x, y, _, _ in rows if name == series.name]
            if own and series.kind != "seeds":
                (x0, y0), (x1, y1) = own[0], own[-1]
                parts.append(f"{series.name}: {number(y0)} at {number(x0)}, {number(y1)} at {number(x1)}")
        parts += [f"{rule.name}: {number(rule.at)}" for rule in self.rules]
        return ". ".join([*parts, self.note] if self.note else parts)

    def record(self) -> dict[str, Any]:
        """What the page's script makes a chart of (``templates/charts.js``)."""
        values = [v for row in self.rows for v in row[2:] if v is not None]
        drawn = {row[0] for row in self.rows}
        banded = {row[0] for row in self.rows if None not in row}
        levels = [rule.at for rule in self.rules if not rule.vertical]
        return {
            "x": self.x_label,
            "y": self.y_label,
            "x_log": self.x_log,
            "y_log": self.y_log,
            "may_log": bool(values) and min([*values, *levels]) > 0,
            "ticks": list(self.x_ticks),
            "range": None if self.y_range is None else list(self.y_range),
            "holds": self.holds,
            "series": [
                [s.name, s.color, list(s.dash), s.kind, s.name in banded] for s in self.series if s.name in drawn
            ],
            "rules": [[r.name, r.at, list(r.dash), r.vertical] for r in self.rules],
            "csv": self.csv(),
        }
