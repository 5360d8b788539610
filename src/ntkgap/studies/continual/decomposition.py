r"""How much of "wide networks forget less" is "wide networks were trained less".

Let F(m, τ) be what a network of width m forgets when every task is trained for τ steps, and ℓ(m, τ) the training
loss it has reached by then. Of a wide network m and a narrow one m₀, stopped after the same τ, one has the larger
loss ℓ*. The other one had it too, at an earlier time τ*. If it is the narrow one that had,

.. math:: F(m_0, \tau) - F(m, \tau)
          = \underbrace{F(m_0, \tau) - F(m_0, \tau^*)}_{\text{trained less}}
          + \underbrace{F(m_0, \tau^*) - F(m, \tau)}_{\text{width, at matched training}}

and if it is the wide one, F(m, τ*) − F(m, τ) is the first part, negative as a rule, for it was trained more, and
F(m₀, τ) − F(m, τ*) the second. τ* is the first time at which the loss was that low. F(m, ·) is interpolated
linearly in log ℓ between two training budgets at which it was measured; of a loss that it had before the first of
them nothing is known.

The narrow network m₀ is the narrowest that learns the tasks, with every seed, in the longest training: one that
cannot learn them is at the same loss with less of the tasks learned, and says nothing about width. Where none
does, but perhaps the widest, it is the narrowest of all, and the parts are not told apart.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ntkgap.studies.measured import Measured

# Right after it was trained on, what a task's training set must have scored for training to count as converged.
CONVERGED = 0.95


@dataclass(frozen=True)
class Drop:
    """By how much less a network forgets than the narrow one, in parts.

    Attributes:
        total: F(m₀, τ) − F(m, τ).
        training: the part of it that comes from having been trained to another loss.
        matched: the rest: the difference at the same training loss.
    """

    total: float
    training: float
    matched: float


def complete(cells: Sequence[Measured]) -> list[Measured]:
    """Add to every cell that is wider than m₀ how it differs from that network of its problem and seed.

    After convergence they are compared where both have converged, else nothing is decided.

    Args:
        cells: of one problem, or of one of its variations.
    """
    seeds: dict[str, list[Measured]] = defaultdict(list)
    problems: dict[str, list[Measured]] = defaultdict(list)
    for cell in sorted(cells, key=lambda c: c.width):
        seeds[_but(cell, "width")].append(cell)
        problems[_but(cell, "width", "seed")].append(cell)
    converged = {name: _converged_from(found) for name, found in problems.items()}
    return [_completed(c, seeds[_but(c, "width")], converged[_but(c, "width", "seed")]) for c in cells]


def _completed(cell: Measured, family: Sequence[Measured], converged_from: int | None) -> Measured:
    """The cell with what its family, narrowest first, says about it; as it is if m₀ is not done or no narrower."""
    width = family[0].width if converged_from is None else converged_from
    narrow = next((c for c in family if c.width == width), None)
    if narrow is None or cell.width <= width:
        return cell
    drops = [drop(cell.curves, narrow.curves, i) for i in range(len(cell.curves["stops"]))]
    if converged_from is None:
        drops = [Drop(d.total, math.nan, math.nan) for d in drops]
    curves = {f"drop_{part}": [getattr(d, part) for d in drops] for part in ("total", "training", "matched")}
    scalars = {
        "compared_with": float(width),
        "compared_learns": float(converged_from is not None),
        **dict(zip(_names_of_stops(cell), curves["drop_total"], strict=True)),
        **{f"{name}_long": curve[-1] for name, curve in curves.items()},
        **_at_scores(cell, narrow),
    }
    both = converged_from is not None and _has_converged(cell)
    scalars["drop_converged"] = scalars["drop_total_long"] if both else math.nan
    scalars = {name: value for name, value in scalars.items() if name not in cell.not_asked}
    return replace(cell, scalars={**cell.scalars, **scalars}, curves={**cell.curves, **curves})


def after(stop: float) -> str:
    """Name of what is saved after so many steps a task."""
    return f"drop_after_{stop:.0f}"


def at_score(score: float) -> str:
    """Name of what is saved where tasks are left at a training score."""
    return f"drop_at_score_{100 * score:.6g}".replace(".", "_")


OF_OWN_FUNCTION = "drop_own"


def _names_of_stops(cell: Measured) -> list[str]:
    """A user's training function counts as one step, and is none."""
    if (cell.cell.get("train") or {}).get("fit"):
        return [OF_OWN_FUNCTION]
    return [after(stop) for stop in cell.curves["stops"]]


def _at_scores(wide: Measured, narrow: Measured) -> dict[str, float]:
    """By how much less the wide network forgets at the same training scores; NaN where one did not get there."""
    if "scores_wanted" not in wide.curves or "scores_wanted" not in narrow.curves:
        return {}
    of_narrow = dict(zip(narrow.curves["scores_wanted"], narrow.curves["forgetting_at_score"], strict=True))
    forgotten = zip(wide.curves["scores_wanted"], wide.curves["forgetting_at_score"], strict=True)
    return {at_score(score): of_narrow.get(score, math.nan) - value for score, value in forgotten}


def _converged_from(cells: Sequence[Measured]) -> int | None:
    """The narrowest width that has converged with every seed; None if none has, or the widest alone."""
    not_converged, widths = {c.width for c in cells if not _has_converged(c)}, {c.width for c in cells}
    return min(widths - not_converged - {max(widths)}, default=None)


def _has_converged(cell: Measured) -> bool:
    return cell.curves["train_score"][-1] >= CONVERGED


def drop(wide: Mapping[str, list[float]], narrow: Mapping[str, list[float]], i: int) -> Drop:
    """The parts of the difference with training budget i; NaN where a training diverged.

    Args:
        wide: curves over training budgets of a network.
        narrow: those of m₀.
        i: which training budget.
    """
    forgotten, of_narrow = wide["forgetting"][i], narrow["forgetting"][i]
    if math.isinf(forgotten) and math.isfinite(of_narrow):
        return Drop(-math.inf, math.nan, math.nan)  # what diverges has forgotten all
    if not all(map(math.isfinite, (*wide["forgetting"], *narrow["forgetting"]))):
        return Drop(of_narrow - forgotten if math.isfinite(of_narrow) else math.nan, math.nan, math.nan)
    if wide["train_loss"][i] <= narrow["train_loss"][i]:
        then = _at_loss(narrow["train_loss"][i], wide, i)
        return Drop(of_narrow - forgotten, then - forgotten, of_narrow - then)
    then = _at_loss(wide["train_loss"][i], narrow, i)
    return Drop(of_narrow - forgotten, of_narrow - then, then - forgotten)


def _at_loss(loss: float, curves: Mapping[str, list[float]], i: int) -> float:
    """What a network had forgotten when its training loss first was as low, within training budget i.

    NaN if its loss was lower already with the smallest training budget.
    """
    losses, forgotten = curves["train_loss"], curves["forgetting"]
    if losses[0] <= loss:
        return forgotten[0] if losses[0] == loss else math.nan
    for j in range(i):
        above, below = losses[j], losses[j + 1]
        if above > loss >= below > 0:
            part = math.log(above / loss) / math.log(above / below)
            return (1 - part) * forgotten[j] + part * forgotten[j + 1]
    return math.nan


def _but(cell: Measured, *varied: str) -> str:
    """What cells have in common that differ in these alone."""
    return json.dumps({k: v for k, v in cell.cell.items() if k not in varied}, sort_keys=True)
