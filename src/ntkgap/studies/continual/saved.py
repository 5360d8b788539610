"""How many points of forgetting width saves, over training time and at the same training scores."""

import math
from collections.abc import Sequence

from ntkgap.studies.figures import GainFigure, Table
from ntkgap.studies.measured import Measured, median_curve
from ntkgap.studies.statistics import Crossing, median_interval, zero_crossings
from ntkgap.studies.verdict import number

PAIRED = (
    "Forgetting of the narrow network less that of the largest width, paired by seed: positive where width saves. "
    "The narrow one is the narrowest that learns the tasks in the longest training, or, where none does, the "
    "narrowest of all."
)


def saved_figure() -> GainFigure:
    """Points saved over training time."""
    return GainFigure(
        key="saved",
        title="What width saves depends on how long tasks are trained",
        caption=f"{PAIRED} Medians over seeds with intervals; a diamond where the median goes through zero, with "
        "the times at which the intervals hold zero.",
        x_label="steps a task",
        y_label="points of forgetting saved by width",
        gain="drop_total",
        x="stops",
        scale=100.0,
    )


def saved_table(i: int, problem: str, cells: Sequence[Measured]) -> list[Table]:
    """Points saved at every stop, beside how well both widths had learned; nothing where no width is compared."""
    width = max(cell.width for cell in cells)
    wide = [cell for cell in cells if cell.width == width and "drop_total" in cell.curves]
    if not wide:
        return []
    against = int(wide[0].scalars["compared_with"])
    seeds = {cell.seed for cell in wide}
    narrow = [cell for cell in cells if cell.width == against and cell.seed in seeds]
    own = (wide[0].cell.get("train") or {}).get("fit")
    rows: list[tuple[str, ...]] = [
        (
            "your training" if own else f"{stop:g} steps a task",
            *_row([c.curves["drop_total"][j] for c in wide], narrow, wide, "train_score", j),
        )
        for j, stop in enumerate(wide[0].curves["stops"])
    ]
    scored = [c for c in (*wide, *narrow) if "scores_wanted" in c.curves]
    if len(scored) == len(wide) + len(narrow):
        rows += [_score_row(j, score, narrow, wide) for j, score in enumerate(wide[0].curves["scores_wanted"])]
    if len(wide) > 1:
        crossings = zero_crossings(*median_curve(wide, "stops", "drop_total"))
        rows += [(_crossing(crossing, wide[0].curves["stops"]), "0", "–", "–") for crossing in crossings]
    return [
        Table(
            key=f"saved_{i}",
            title=f"Points saved by width {width} against {against}, over training time: {problem}",
            caption=f"{PAIRED} In points, medians over {len(wide)} seeds with intervals; scores on training sets "
            "right after they were learned, in per cent.",
            columns=("", "saved", f"training score, width {against}", f"training score, width {width}"),
            rows=tuple(rows),
        )
    ]


def _score_row(j: int, score: float, narrow: Sequence[Measured], wide: Sequence[Measured]) -> tuple[str, ...]:
    by_seed = {cell.seed: cell.curves["forgetting_at_score"][j] for cell in narrow}
    saved = [by_seed[cell.seed] - cell.curves["forgetting_at_score"][j] for cell in wide]
    taken = [_median([c.curves["steps_to_score"][j] for c in cells]) for cells in (narrow, wide)]
    name = f"training score {100 * score:.6g} % ({taken[0]} and {taken[1]} steps)"
    return name, *_row(saved, narrow, wide, "train_score_at_score", j)


def _row(
    saved: Sequence[float], narrow: Sequence[Measured], wide: Sequence[Measured], score: str, j: int
) -> tuple[str, str, str]:
    scores = (_median([100 * c.curves[score][j] for c in cells]) for cells in (narrow, wide))
    return (_with_interval(saved), *scores)  # type: ignore[return-value]  # of two


def _with_interval(values: Sequence[float]) -> str:
    if any(map(math.isnan, values)):
        return "–"
    interval = median_interval([100 * value for value in values])
    median, low, high = (_rounded(v) for v in (interval.value, interval.low, interval.high))
    return median if len(values) == 1 else f"{median} [{low}, {high}]"


def _median(values: Sequence[float]) -> str:
    return "–" if any(map(math.isnan, values)) else _rounded(median_interval(values).value)


def _rounded(value: float) -> str:
    return number(round(value, 1) + 0.0) if math.isfinite(value) else number(value)


def _crossing(crossing: Crossing, stops: Sequence[float]) -> str:
    """Where and which way, in words."""
    at = crossing.at
    low = f"{at.low:.3g}" if at.low > 0 else f"before {stops[0]:g}"
    high = f"{at.high:.3g}" if math.isfinite(at.high) else f"after {stops[-1]:g}"
    way = "from costing to saving" if crossing.rising else "from saving to costing"
    return f"{way} at {at.value:.3g} [{low}, {high}] steps"
