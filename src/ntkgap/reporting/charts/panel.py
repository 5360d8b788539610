"""One panel of a figure: series over one axis, as data, as words and as a Vega-Lite specification."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ntkgap.reporting.charts.colours import LIMIT
from ntkgap.reporting.safe import spreadsheet_text
from ntkgap.studies.verdict import number

HEIGHT = 230
DIGITS = 5
COLUMNS = ("series", "x", "y", "low", "high")
SOLID: tuple[int, ...] = ()

Kind = Literal["line", "marked", "points", "seeds"]


@dataclass(frozen=True)
class Series:
    """Points of one colour, in the order of x.

    Attributes:
        name: what a reader calls it; made harmless to spreadsheets, as it is in the table of the data.
        colour: a colour of ``colours``.
        x: places; those without a number are left out.
        y: values.
        low: lower ends of intervals, or empty.
        high: upper ends, or empty.
        kind: a line, a line with marks, marks alone, or small pale marks of single seeds.
        dash: lengths of dashes and gaps of the line.
    """

    name: str
    colour: str
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
        for name, *numbers in self.rows():
            digits = ("" if v is None else f"{v:.{DIGITS}g}" for v in numbers)
            writer.writerow([name, *digits])
        return out.getvalue()

    @property
    def words(self) -> str:
        """The panel for those who do not see it: what every series does from its first to its last point."""
        parts = [f"{self.title}: {self.y_label} over {self.x_label}"]
        rows = self.rows()
        for series in self.series:
            own = [(x, y) for name, x, y, _, _ in rows if name == series.name]
            if own and series.kind != "seeds":
                (x0, y0), (x1, y1) = own[0], own[-1]
                parts.append(f"{series.name}: {number(y0)} at {number(x0)}, {number(y1)} at {number(x1)}")
        parts += [f"{rule.name}: {number(rule.at)}" for rule in self.rules]
        return ". ".join([*parts, self.note] if self.note else parts)

    def spec(self) -> dict[str, Any]:
        """The panel as Vega-Lite, with its points in it."""
        rows = self.rows()
        x = {"field": "x", "type": "quantitative", "title": self.x_label, "scale": self._x_scale(rows)}
        x["axis"] = {"format": "~g", "labelOverlap": "greedy", "grid": False} | (
            {"values": list(self.x_ticks)} if self.x_ticks else {}
        )
        y = {"field": "y", "type": "quantitative", "title": self.y_label, "scale": self._y_scale(rows)}
        y["axis"] = {"format": "~g", "labelOverlap": "greedy", "tickCount": 6}
        return {
            "width": "container",
            "height": HEIGHT,
            "autosize": {"type": "fit-x", "contains": "padding"},
            "data": {"values": self.csv(), "format": {"type": "csv", "parse": dict.fromkeys(COLUMNS[1:], "number")}},
            "layer": [*self._tint(y), *self._bands(x, y), *self._rules(x, y), *self._lines(x, y), *self._marks(x, y)],
            "usermeta": {
                "y": self._switch([r[2] for r in rows], [r.at for r in self.rules if not r.vertical]),
                "log": self.y_log,
                "zoom": True,
            },
        }

    def _switch(self, values: Sequence[float], rules: Sequence[float]) -> bool:
        """Whether the vertical axis can be logarithmic as well as linear."""
        return bool(values) and all(v > 0 for v in (*values, *rules))

    def _x_scale(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        scale: dict[str, Any] = {"type": "log" if self.x_log else "linear", "nice": False}
        places = [row[1] for row in rows] + [rule.at for rule in self.rules if rule.vertical]
        if places and min(places) < max(places):
            low, high = min(places), max(places)
            if self.x_log:
                room = (high / low) ** 0.04
                scale["domain"] = [low / room, high * room]
            else:
                scale["domain"] = [low, high]
        return scale

    def _y_scale(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        scale: dict[str, Any] = {"type": "log" if self.y_log else "linear"}
        if self.y_range is not None:
            scale |= {"domain": list(self.y_range), "nice": False}
            return scale
        values = [v for row in rows for v in row[2:] if v is not None]
        values += [rule.at for rule in self.rules if not rule.vertical]
        if self.y_log:
            scale |= {"nice": False, "padding": 10}
        elif values:
            scale["zero"] = min(values) >= 0 and min(values) < 0.4 * max(values)
        return scale

    def _names(self) -> tuple[list[str], list[str], list[list[int]]]:
        """Names, colours and dashes of all that is in the legend."""
        entries = {s.name: (s.colour, s.dash) for s in self.series} | {
            r.name: (LIMIT, r.dash) for r in self.rules if r.name
        }
        return list(entries), [c for c, _ in entries.values()], [list(d) or [1, 0] for _, d in entries.values()]

    def _colour(self) -> dict[str, Any]:
        names, colours, _ = self._names()
        return {
            "field": "series",
            "type": "nominal",
            "title": None,
            "scale": {"domain": names, "range": colours},
            "legend": {"orient": "bottom", "columns": {"expr": "max(1, floor(width / 190))"}, "labelLimit": 400},
        }

    def _dashes(self) -> dict[str, Any]:
        names, _, dashes = self._names()
        return {"field": "series", "type": "nominal", "title": None, "scale": {"domain": names, "range": dashes}}

    def _only(self, *kinds: Kind, ends: bool = False) -> list[dict[str, Any]] | None:
        """Keep series of some kinds, or those with intervals; None where there is none."""
        names = [s.name for s in self.series if s.kind in kinds and (s.low or not ends)]
        return [{"filter": {"field": "series", "oneOf": names}}] if names else None

    def _tint(self, y: dict[str, Any]) -> list[dict[str, Any]]:
        if self.holds is None or not self.rules:
            return []
        edge = {"value": "height" if self.holds == "below" else 0}
        place = {"datum": self.rules[0].at, "type": "quantitative", "scale": y["scale"]}
        mark = {"type": "rect", "color": "#0072b2", "opacity": 0.07, "clip": True, "tooltip": None}
        full = {"x": {"value": 0}, "x2": {"value": "width"}}
        return [{"data": {"values": [{}]}, "mark": mark, "encoding": {**full, "y": place, "y2": edge}}]

    def _bands(self, x: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
        chosen = self._only("line", "marked", ends=True)
        if chosen is None:
            return []
        valid = [{"filter": "isValid(datum.low) && isValid(datum.high)"}]
        ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
        mark = {"type": "area", "opacity": 0.18, "clip": True, "tooltip": None}
        encoding = {"x": x, **ends, "color": self._colour()}
        return [{"transform": chosen + valid, "mark": mark, "encoding": encoding}]

    def _rules(self, x: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for rule in self.rules:
            channel, axis = ("x", x) if rule.vertical else ("y", y)
            place = {"datum": rule.at, "type": "quantitative", "scale": axis["scale"]}
            encoding: dict[str, Any] = {channel: place}
            mark: dict[str, Any] = {"type": "rule", "strokeDash": list(rule.dash), "strokeWidth": 1.3, "clip": True}
            if rule.name:
                encoding["color"] = {**self._colour(), "datum": rule.name}
                del encoding["color"]["field"]
            else:
                mark["color"] = LIMIT
            found.append({"data": {"values": [{}]}, "mark": {**mark, "tooltip": None}, "encoding": encoding})
        return found

    def _lines(self, x: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
        chosen = self._only("line", "marked")
        if chosen is None:
            return []
        mark = {"type": "line", "strokeWidth": 1.8, "clip": True, "tooltip": None}
        encoding = {"x": x, "y": y, "color": self._colour(), "strokeDash": self._dashes()}
        return [{"transform": chosen, "mark": mark, "encoding": encoding}]

    def _marks(self, x: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
        """Dots that say their numbers where a pointer is over them; those of plain lines are not seen."""
        tooltip = [
            {"field": "series", "type": "nominal", "title": "series"},
            {"field": "x", "type": "quantitative", "title": self.x_label, "format": "~g"},
            {"field": "y", "type": "quantitative", "title": self.y_label, "format": ".4~g"},
        ]
        ends = [
            {"field": "low", "type": "quantitative", "title": "low", "format": ".4~g"},
            {"field": "high", "type": "quantitative", "title": "high", "format": ".4~g"},
        ]
        looks: tuple[tuple[Kind, dict[str, Any]], ...] = (
            ("seeds", {"size": 14, "opacity": 0.45}),
            ("points", {"size": 34, "opacity": 0.9}),
            ("marked", {"size": 42, "opacity": 1}),
            ("line", {"size": 90, "opacity": 0}),
        )
        found = []
        for kind, look in looks:
            if chosen := self._only(kind):
                shown = tooltip + (ends if self._only(kind, ends=True) else [])
                mark = {"type": "point", "filled": True, "clip": True, **look}
                encoding = {"x": x, "y": y, "color": self._colour(), "tooltip": shown}
                found.append({"transform": chosen, "mark": mark, "encoding": encoding})
        return found
