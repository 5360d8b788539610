"""The width that theorems ask for on the study's data, beside the width found."""

import math
from collections.abc import Mapping, Sequence

from ntkgap.studies.figures import Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import median_interval
from ntkgap.studies.verdict import Verdict, fitted_widths, number, width_text
from ntkgap.theory.required_width import CAVEAT
from ntkgap.theory.width_bounds import BOUNDS

FOUND = (
    ("jacobian_stable", "C′ < ½ along the path", "necessary for the condition, not enough"),
    ("ngd_rate", "the predicted rate is kept", "exact natural gradient descent"),
)


def width_scalar(bound: str) -> str:
    """Name of the scalar that holds what a bound asks for."""
    return f"width_required: {bound}"


def required_width_table(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> Table:
    """Bounds of theorems over problems, then the widths found there.

    Args:
        cells: those that are done, by problem.
        verdicts: of all claims on all problems.
    """
    asked = [
        (b.name, b.formula, b.applies_to, *(_asked(found, width_scalar(b.name)) for found in cells.values()))
        for b in BOUNDS
    ]
    judged = {(v.claim.key, v.problem): v for v in verdicts}
    found = [
        (f"found: {what}", "measured", about, *(width_found(judged[key, problem]) for problem in cells))
        for key, what, about in FOUND
        if all((key, problem) in judged for problem in cells)
    ]
    return Table(
        key="required_width",
        title="The width theory asks for, and the width found",
        caption=f"{CAVEAT} A factor of a hundred between two of them means nothing. Medians over seeds on the "
        "training inputs, scaled to unit norm as the theorems want them; weights of variance ν² = 1, probability "
        "of failure δ = 0.1; λ0 = λ_min(H∞), φ the smallest distance of two inputs, L the network's hidden "
        "layers. Every bound is sufficient for the networks and methods named, which need not be those of the "
        "column: narrower networks may well train. Found: from which width on, by the claims above.",
        columns=("source", "formula", "about", *cells),
        rows=(*asked, *found),
    )


def _asked(cells: Sequence[Measured], name: str) -> str:
    """Median over the seeds' data in one digit; a seed has the same data at every width."""
    by_seed = {cell.seed: cell.scalars[name] for cell in cells}
    if any(math.isnan(width) for width in by_seed.values()):
        return number(math.nan)
    width = median_interval(list(by_seed.values())).value
    return f"{width:.0f}" if width < 100 else f"{width:.0e}".replace("e+0", "e").replace("e+", "e")


def width_found(verdict: Verdict) -> str:
    """From which width a claim holds: tested, extrapolated, or why that cannot be said."""
    first, last = verdict.widths[0].width, verdict.widths[-1].width
    if verdict.holds_everywhere:
        return f"{first} or less"
    if verdict.holds_from is not None:
        c = verdict.crossing
        # The law is fitted to the widest networks; among narrower ones it is not known to hold.
        if c is None or not fitted_widths([r.width for r in verdict.widths])[0] <= c.value <= last:
            return str(verdict.holds_from)
        return f"{verdict.holds_from} (fitted law: {number(c.value)} [{number(c.low)}, {number(c.high)}])"
    if verdict.extrapolated is not None:
        return f"{width_text(verdict.extrapolated)} (extrapolated)"
    if verdict.state == "inconclusive":
        return f"inconclusive up to {last}"
    return f"more than {last}: {verdict.obstacle}"
