r"""How much of "wide networks forget less" is "wide networks were trained less".

Let F(m, τ) be what a network of width m forgets when every task is trained for τ steps, and ℓ(m, τ) the training
loss it has reached by then. Of a wide network m and the narrowest one m₀, stopped after the same τ, one has the
larger loss ℓ*. The other one had it too, at an earlier time τ*. If it is the narrowest that had,

.. math:: F(m_0, \tau) - F(m, \tau)
          = \underbrace{F(m_0, \tau) - F(m_0, \tau^*)}_{\text{trained less}}
          + \underbrace{F(m_0, \tau^*) - F(m, \tau)}_{\text{width, at matched training}}

and if it is the wide one, F(m, τ*) − F(m, τ) is the first part, negative as a rule, for it was trained more, and
F(m₀, τ) − F(m, τ*) the second. F(m, ·) is interpolated linearly in log ℓ between the stopping times and the start,
where nothing is forgotten.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ntkgap.studies.measured import Measured

# Right after it was trained on, what a task's training set must have scored for training to count as converged.
CONVERGED = 0.95


@dataclass(frozen=True)
class Drop:
    """By how much less a network forgets than the narrowest one, in parts.

    Attributes:
        total: F(m₀, τ) − F(m, τ).
        training: the part of it that comes from having been trained to another loss.
        matched: the rest: the difference at the same training loss.
    """

    total: float
    training: float
    matched: float


def complete(cells: Sequence[Measured]) -> list[Measured]:
    """Add to every cell how it differs from the narrowest of its problem and seed.

    After convergence it is compared with the narrowest that has converged, too; narrower ones are left out.

    Args:
        cells: of one problem, or of one of its variations.
    """
    families: dict[str, list[Measured]] = defaultdict(list)
    for cell in sorted(cells, key=lambda c: c.width):
        families[_but_width(cell)].append(cell)
    return [_completed(cell, families[_but_width(cell)]) for cell in cells]


def _completed(cell: Measured, family: Sequence[Measured]) -> Measured:
    """The cell with what its family, narrowest first, says about it."""
    narrow = family[0]
    if cell.width == narrow.width:
        return cell
    drops = [drop(cell.curves, narrow.curves, i) for i in range(len(cell.curves["stops"]))]
    curves = {f"drop_{part}": [getattr(d, part) for d in drops] for part in ("total", "training", "matched")}
    scalars = {
        **{f"{name}_short": curve[0] for name, curve in curves.items()},
        **{f"{name}_long": curve[-1] for name, curve in curves.items()},
        "drop_matched": _mean([d.matched for d in drops]),
    }
    converged = next((c for c in family if _has_converged(c)), None)
    if converged is None or (cell.width > converged.width and not _has_converged(cell)):
        scalars["drop_converged"] = math.nan
    elif cell.width > converged.width:
        scalars["drop_converged"] = drop(cell.curves, converged.curves, -1).total
    return replace(cell, scalars={**cell.scalars, **scalars}, curves={**cell.curves, **curves})


def _has_converged(cell: Measured) -> bool:
    return cell.curves["train_score"][-1] >= CONVERGED


def drop(wide: Mapping[str, list[float]], narrow: Mapping[str, list[float]], i: int) -> Drop:
    """The parts of the difference at stopping time i; NaN where a training diverged.

    Args:
        wide: curves over stopping times of a network.
        narrow: those of the narrowest.
        i: which stopping time.
    """
    forgotten, of_narrow = wide["forgetting"][i], narrow["forgetting"][i]
    if math.isinf(forgotten) and math.isfinite(of_narrow):
        return Drop(-math.inf, math.nan, math.nan)  # what diverges has forgotten all
    if not all(map(math.isfinite, (*wide["forgetting"], *narrow["forgetting"]))):
        return Drop(of_narrow - forgotten if math.isfinite(of_narrow) else math.nan, math.nan, math.nan)
    if wide["train_loss"][i] <= narrow["train_loss"][i]:
        then = _at_loss(narrow["train_loss"][i], wide)
        return Drop(of_narrow - forgotten, then - forgotten, of_narrow - then)
    then = _at_loss(wide["train_loss"][i], narrow)
    return Drop(of_narrow - forgotten, of_narrow - then, then - forgotten)


def _at_loss(loss: float, curves: Mapping[str, list[float]]) -> float:
    """What a network had forgotten when it had a training loss; NaN if it had none as large."""
    losses = np.array([curves["start_loss"][0], *curves["train_loss"]])
    forgotten = np.array([0.0, *curves["forgetting"]])
    if not losses.min() <= loss <= losses.max() or losses.min() <= 0:
        return math.nan
    order = np.argsort(losses, kind="stable")
    return float(np.interp(math.log(loss), np.log(losses[order]), forgotten[order]))


def _mean(values: Sequence[float]) -> float:
    """Of those that could be had; NaN if none could."""
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _but_width(cell: Measured) -> str:
    """What the widths of one network and seed have in common."""
    return json.dumps({k: v for k, v in cell.cell.items() if k != "width"}, sort_keys=True)
