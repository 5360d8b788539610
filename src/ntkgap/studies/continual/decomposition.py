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

    After convergence it is compared with the narrowest width that has converged with every seed. Where there is
    none, or the cell itself is not wider or has not converged, nothing is decided.

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
    """The cell with what its family, narrowest first, says about it."""
    narrow = family[0]
    if cell.width == narrow.width:
        return cell
    drops = [drop(cell.curves, narrow.curves, i) for i in range(len(cell.curves["stops"]))]
    curves = {f"drop_{part}": [getattr(d, part) for d in drops] for part in ("total", "training", "matched")}
    scalars = {
        **{f"{name}_short": curve[0] for name, curve in curves.items()},
        **{f"{name}_long": curve[-1] for name, curve in curves.items()},
    }
    scalars["drop_converged"] = math.nan
    reference = next((c for c in family if c.width == converged_from), None)
    if reference is not None and cell.width > reference.width and _has_converged(cell):
        scalars["drop_converged"] = drop(cell.curves, reference.curves, -1).total
    return replace(cell, scalars={**cell.scalars, **scalars}, curves={**cell.curves, **curves})


def _converged_from(cells: Sequence[Measured]) -> int | None:
    """The narrowest width that has converged with every seed; None if none has."""
    not_converged = {c.width for c in cells if not _has_converged(c)}
    return min({c.width for c in cells} - not_converged, default=None)


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


def _but(cell: Measured, *varied: str) -> str:
    """What cells have in common that differ in these alone."""
    return json.dumps({k: v for k, v in cell.cell.items() if k not in varied}, sort_keys=True)
