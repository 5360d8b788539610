"""What the cells of a published run say: quantities, settings and counts, for the templates of the pages."""

import json
import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ntkgap.errors import NtkgapError
from ntkgap.studies.association import Association, Pair, rank_association
from ntkgap.studies.statistics import Interval, median_confidence, median_interval

# The columns of ``curves.csv`` that say what a curve is of; the others are its places.
OF_A_CURVE = ("problem", "width", "seed", "variation", "curve")


class PageError(NtkgapError):
    """A page that cannot be rendered: its data are missing, or say something else than its text."""


class Cells:
    """The ``results.csv`` of a folder, and where it has them ``preset.yaml`` and ``curves.csv``.

    Every method is a function of the templates. A place that has no cells is an error, so a width or a setting
    that is printed is one that was measured.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.frame = pd.read_csv(folder / "results.csv", low_memory=False)
        self._problems = set(self.frame["problem"])
        self._places = _places(self.frame)

    def problem(self, name: str) -> str:
        """The name of a problem, if there are cells of it."""
        if name not in self._problems:
            raise PageError(f"{self.folder.name}/results.csv has no problem {name!r}")
        return name

    def problems(self) -> list[str]:
        """All problems, in the order of the preset."""
        order = {p["name"]: i for i, p in enumerate(self.preset["problems"])}
        return sorted(self.frame["problem"].unique(), key=lambda name: order[name])

    def widths(self, problem: str, *chosen: int) -> list[int]:
        """The measured widths of a problem, or those chosen, if they were measured."""
        own = self.problem(problem)
        found = sorted(width for name, variation, width in self._places if name == own and variation is None)
        if missing := set(chosen) - set(found):
            raise PageError(f"{problem} was not measured at width {min(missing)}; there are {found}")
        return list(chosen) or found

    def width(self, problem: str, chosen: int) -> int:
        """A width, if it was measured."""
        return self.widths(problem, chosen)[0]

    def widest(self, problem: str) -> int:
        """The largest measured width of a problem."""
        return self.widths(problem)[-1]

    def cells(self, condition: str = "", problem: str | None = None) -> int:
        """How many cells meet a condition in the words of ``pandas.DataFrame.query``."""
        frame = self.frame if problem is None else self.frame[self.frame["problem"] == self.problem(problem)]
        return len(frame.query(condition) if condition else frame)

    def core_minutes(self) -> float:
        """Minutes that all cells took together, each on one core."""
        return float(self.frame["seconds"].sum()) / 60

    def seeds(self) -> int:
        """How many seeds every place has; an error if they differ."""
        counts = self.frame.groupby(["problem", "variation", "width"], dropna=False)["seed"].nunique()
        return self._only(counts.unique(), "number of seeds")

    def confidence(self) -> float:
        """Probability that an interval of the page contains the median."""
        return median_confidence(self.seeds())

    def setting(self, name: str, *problems: str) -> Any:
        """A setting that all these problems (all of the run, if none is named) share; variations left out."""
        rows = self.frame[self.frame["variation"].isna()]
        if problems:
            rows = rows[rows["problem"].isin([self.problem(p) for p in problems])]
        if name not in rows:
            raise PageError(f"{self.folder.name}/results.csv has no setting {name!r}")
        value = self._only(rows[name].dropna().unique(), name)
        return json.loads(value) if isinstance(value, str) and value.startswith("[") else value

    @cached_property
    def preset(self) -> dict[str, Any]:
        """The published preset, ``preset.yaml``."""
        return yaml.safe_load((self.folder / "preset.yaml").read_text(encoding="utf-8"))

    def reached_from(self, quantity: str, problem: str, level: float) -> int:
        """The smallest width at which every seed has so much of a quantity."""
        for width in self.widths(problem):
            if (self.values(quantity, problem, width) >= level).all():
                return width
        raise PageError(f"{quantity} of {problem} reaches {level} at no width with every seed")

    def measured(self, axis: str, problem: str) -> list[str]:
        """The variations of a problem along an axis, as ``results.csv`` names them, by value."""
        found = [name for name in self.variations(problem) if name.startswith(f"{axis}=")]
        if not found:
            raise PageError(f"{problem} was not varied along {axis}")
        return sorted(found, key=_by_value)

    def variations(self, problem: str) -> list[str]:
        """All variations of a problem."""
        rows = self.frame[self.frame["problem"] == self.problem(problem)]
        return [str(name) for name in rows["variation"].dropna().unique()]

    def values(self, quantity: str, problem: str, width: int, variation: str | None = None) -> pd.Series:
        """A quantity by seed; arithmetic with another such series pairs the seeds."""
        rows = self._places.get((self.problem(problem), variation, width))
        if rows is None:
            raise PageError(f"{self.folder.name} has no cells of {problem}, width {width}, variation {variation}")
        if quantity not in self.frame:
            raise PageError(f"{self.folder.name}/results.csv has no quantity {quantity!r}")
        by_seed = pd.Series(self.frame[quantity].to_numpy(float)[rows], index=self.frame["seed"].to_numpy()[rows])
        return by_seed.sort_index()

    def spread(self, values: pd.Series) -> Interval:
        """Median over seeds with the interval of the verdicts."""
        return median_interval(list(values))

    def interval(self, quantity: str, problem: str, width: int, variation: str | None = None) -> Interval:
        """Median over seeds of a quantity, with the interval of the verdicts."""
        return self.spread(self.values(quantity, problem, width, variation))

    def median(self, quantity: str, problem: str, width: int, variation: str | None = None) -> float:
        """Median over seeds of a quantity."""
        return self.interval(quantity, problem, width, variation).value

    def at_widest(self, quantity: str, problem: str) -> float:
        """Median over seeds of a quantity at the largest width."""
        return self.median(quantity, problem, self.widest(problem))

    def largest(self, quantity: str) -> float:
        """The largest finite value of a quantity in any cell."""
        values = self.frame[quantity]
        return float(values[values < math.inf].max())

    def curve(self, name: str, problem: str, width: int, place: float, variation: str | None = None) -> pd.Series:
        """A published curve at one place by seed, for ``spread`` and arithmetic; see ``publish.py``."""
        table = self.curves
        rows = table.iloc[_places(table).get((problem, variation, width), [])]
        rows = rows[(rows["curve"] == name) & (rows["place"] == place)]
        if rows.empty:
            raise PageError(f"{self.folder.name}/curves.csv has no {name} of {problem}, width {width}, at {place}")
        return rows.set_index("seed")["value"].sort_index()

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The published curves, one row a value; the file has one row a curve and one column a place."""
        table = (
            pd.read_csv(self.folder / "curves.csv").melt(list(OF_A_CURVE), var_name="place").dropna(subset="value")
        )
        return table.assign(place=table["place"].astype(float))

    def local_exponent(self, quantity: str, problem: str, narrow: int, wide: int) -> float:
        """Exponent of the width between the medians at two widths."""
        ratio = self.median(quantity, problem, wide) / self.median(quantity, problem, narrow)
        return math.log(ratio) / math.log(wide / narrow)

    def rank_correlation(self, x: str, y: str, *problems: str, fixed_width: bool = False) -> Association:
        """Spearman's correlation of two quantities within problems (and widths), with its interval over seeds."""
        rows = self.frame[self.frame["variation"].isna() & (self.frame["state"] == "done")]
        rows = rows[rows["problem"].isin(problems or rows["problem"].unique())]
        return rank_association(
            [
                Pair(float(r[x]), float(r[y]), int(r["seed"]), (r["problem"], r["width"] if fixed_width else None))
                for _, r in rows.iterrows()
            ]
        )

    def _only(self, values: Iterable[Any], name: str) -> Any:
        found = list(values)
        if len(found) != 1:
            raise PageError(f"{self.folder.name} has {len(found)} values of {name}, not one: {found[:5]}")
        return found[0].item() if hasattr(found[0], "item") else found[0]


def _places(table: pd.DataFrame) -> dict[tuple[str, str | None, int], list[int]]:
    """The rows of every problem, variation and width; None is the problem as it is."""
    found: dict[tuple[str, str | None, int], list[int]] = {}
    for i, (problem, variation, width) in enumerate(
        zip(table["problem"], table["variation"], table["width"], strict=True)
    ):
        found.setdefault((problem, variation if isinstance(variation, str) else None, int(width)), []).append(i)
    return found


def _by_value(variation: str) -> tuple[float, str]:
    """Numbers by size, then words."""
    value = variation.partition("=")[2]
    try:
        return float(value), ""
    except ValueError:
        return math.inf, value
