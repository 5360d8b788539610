"""Does the theorem's condition explain how fast natural gradient descent is? Counts and rank correlations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ntkgap.studies.association import Association, Pair, pooled_association
from ntkgap.studies.figures import ScatterFigure, Table
from ntkgap.studies.measured import Measured
from ntkgap.theory import STABILITY_LIMIT

CONDITION, OUTCOME = "c_prime", "ngd_rate_error_worst"
TITLE = "Does C′ explain how fast natural gradient is?"


@dataclass(frozen=True)
class Explanation:
    """What C′ says about the rate of natural gradient descent in some cells.

    Attributes:
        unmet: cells with C′ ≥ ½ on the path: the condition is refuted there.
        unmet_fast: those of them in which the rate was kept nevertheless.
        unrefuted: cells with C′ < ½ on the path, which refutes nothing.
        unrefuted_fast: those of them in which the rate was kept.
        across: rank correlation of C′ and the error of the rate within problems; pooled over problems only where
            their signs do not differ.
        at_fixed_width: the same within problems and widths, over seeds alone.
    """

    unmet: int
    unmet_fast: int
    unrefuted: int
    unrefuted_fast: int
    across: Association
    at_fixed_width: Association


def explain(cells: Mapping[str, Sequence[Measured]], tolerance: float) -> Explanation:
    """Count and correlate over the cells of some problems.

    Args:
        cells: by problem; cells in which C′ or the rate is inconclusive are left out.
        tolerance: relative error of the rate up to which it counts as kept.
    """
    across = {problem: [_pair(cell, problem) for cell in found] for problem, found in cells.items()}
    at_fixed_width = {
        problem: [_pair(cell, (problem, cell.width)) for cell in found] for problem, found in cells.items()
    }
    decided = [p for pairs in across.values() for p in pairs if p.decided]
    unmet = [p for p in decided if p.x >= STABILITY_LIMIT]
    unrefuted = [p for p in decided if p.x < STABILITY_LIMIT]
    return Explanation(
        unmet=len(unmet),
        unmet_fast=sum(p.y < tolerance for p in unmet),
        unrefuted=len(unrefuted),
        unrefuted_fast=sum(p.y < tolerance for p in unrefuted),
        across=pooled_association(across),
        at_fixed_width=pooled_association(at_fixed_width),
    )


def _pair(cell: Measured, stratum: str | tuple[str, int]) -> Pair:
    return Pair(cell.scalars[CONDITION], cell.scalars[OUTCOME], cell.seed, stratum)


def explanation_table(cells: Mapping[str, Sequence[Measured]], tolerance: float) -> Table:
    """One row a problem, and one for all together: what C′ says about the rate."""
    together = explain(cells, tolerance)
    rows = [(problem, explain({problem: found}, tolerance)) for problem, found in cells.items()]
    if len(rows) > 1:
        rows.append(("all problems", together))
    return Table(
        key="explanation",
        title=TITLE,
        caption=f"{summary(together, tolerance)} ρ is Spearman's rank correlation of C′ on the path with the "
        "relative error of the rate, in ranks within each problem; at fixed width, in ranks over the seeds of "
        "each width. Networks that differ in sign are not pooled. Intervals: 95 %, over seeds. Not met: C′ ≥ ½ on "
        "the path. Kept: the rate is within "
        f"{tolerance:.0%} of the predicted one. Left out: cells in which λ_min is below the noise floor or the "
        "path ended before C′ was decided.",
        columns=(
            "",
            "cells",
            "left out",
            "not met",
            "of these kept",
            "not refuted",
            "of these kept",
            "ρ across widths",
            "ρ at fixed width",
        ),
        rows=tuple((name, *_numbers(e)) for name, e in rows),
    )


def _numbers(e: Explanation) -> tuple[str, ...]:
    counts = (e.across.n_cells, e.across.n_left_out, e.unmet, e.unmet_fast, e.unrefuted, e.unrefuted_fast)
    return (*map(str, counts), correlation(e.across), correlation(e.at_fixed_width))


def correlation(a: Association) -> str:
    """ρ with its interval, or what is missing."""
    if a.conflict:
        return "not pooled: signs differ"
    if math.isnan(a.rho.value):
        return "too few cells"
    if math.isnan(a.rho.low):
        return f"{a.rho.value:.2f} (too few seeds for an interval)"
    return f"{a.rho.value:.2f} [{a.rho.low:.2f}, {a.rho.high:.2f}]"


def summary(e: Explanation, tolerance: float) -> str:
    """The answer in sentences, with the numbers behind it."""
    cells = e.across.n_cells
    if cells == 0:
        return "No cell decides both C′ and the rate."
    kept = f"in {e.unmet_fast} of those {e.unmet} the rate was kept within {tolerance:.0%}"
    counts = f"The condition is not met in {e.unmet} of {cells} cells" + (f"; {kept}." if e.unmet else ".")
    return f"{counts} {_trend(e.across)} {_at_fixed_width(e.at_fixed_width)}"


def _trend(a: Association) -> str:
    if a.conflict:
        return f"Across widths the networks differ in sign and are not pooled (ρ: {a.conflict})."
    shown = f"ρ = {correlation(a)}"
    if a.sign > 0:
        return f"C′ and the error of the rate rank the cells alike ({shown})."
    if a.sign < 0:
        return f"Cells with larger C′ have the smaller error ({shown})."
    return f"No correlation of C′ with the error of the rate is established ({shown})."


def _at_fixed_width(a: Association) -> str:
    if a.conflict:
        return (
            f"At fixed width the networks differ in sign and are not pooled (ρ: {a.conflict}): nothing that C′ "
            "tells beyond the width is common to them."
        )
    shown = f"ρ = {correlation(a)}"
    if a.sign > 0:
        return (
            f"At fixed width they do so too ({shown}): C′ tells something beyond the width, though each seed's "
            "data may be behind both numbers."
        )
    if a.sign < 0:
        return f"At fixed width, cells with larger C′ have the smaller error ({shown})."
    return (
        f"At fixed width no correlation is established ({shown}): what C′ tells beyond the width, with which both "
        "numbers change, is inconclusive."
    )


def explanation_figure(tolerance: float) -> ScatterFigure:
    """C′ against the error of the rate, a point a cell."""
    return ScatterFigure(
        key="explanation",
        title="The condition and what it is for",
        caption="Every point is a cell; darker is wider. Right of the vertical line the condition is refuted on "
        "the path: the theorem is silent there, and natural gradient may be fast (below the horizontal line) or "
        "not. Left of it nothing is refuted; a point above the line there would be off the rate without the "
        "path showing why. Triangles at the edge: diverged.",
        x_label="C′, largest on the path",
        y_label="relative error of the predicted rate",
        x=CONDITION,
        y=OUTCOME,
        x_limit=STABILITY_LIMIT,
        y_limit=tolerance,
        quadrants=("not refuted, yet off", "not met, and off", "not refuted, and kept", "not met, yet kept"),
    )
