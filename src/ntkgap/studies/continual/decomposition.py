r"""How much of "wide networks forget less" is "wide networks were trained less".

Let F(m, τ) be what a network of width m forgets when every task is trained for τ steps, and ℓ(m, τ) the training
loss it has reached by then. The narrowest network m₀ reaches the loss of a wider one at a time τ′ of its own,
ℓ(m₀, τ′) = ℓ(m, τ), and

.. math:: F(m_0, \tau) - F(m, \tau)
          = \underbrace{F(m_0, \tau) - F(m_0, \tau')}_{\text{trained less}}
          + \underbrace{F(m_0, \tau') - F(m, \tau)}_{\text{width, at matched training}} .

F(m₀, ·) is interpolated linearly in log ℓ between the stopping times that were measured, and nothing beyond them.
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
        training: what the narrowest network would forget less, had it been trained to the loss of this one.
        matched: the rest: what it forgets more than this one at the same training loss.
    """

    total: float
    training: float
    matched: float


def complete(cells: Sequence[Measured]) -> list[Measured]:
    """Add to every cell how it differs from the narrowest of its problem and seed.

    Args:
        cells: of one problem, or of one of its variations.
    """
    families: dict[str, list[Measured]] = defaultdict(list)
    for cell in cells:
        families[_but_width(cell)].append(cell)
    narrowest = {key: min(family, key=lambda c: c.width) for key, family in families.items()}
    return [_completed(cell, narrowest[_but_width(cell)]) for cell in cells]


def _completed(cell: Measured, narrow: Measured) -> Measured:
    if cell.width == narrow.width:
        return cell
    drops = [drop(cell.curves, narrow.curves, i) for i in range(len(cell.curves["stops"]))]
    curves = {f"drop_{part}": [getattr(d, part) for d in drops] for part in ("total", "training", "matched")}
    converged = min(c.curves["train_score"][-1] for c in (cell, narrow)) >= CONVERGED
    scalars = {
        **{f"{name}_short": curve[0] for name, curve in curves.items()},
        **{f"{name}_long": curve[-1] for name, curve in curves.items()},
        "drop_converged": curves["drop_total"][-1] if converged else math.nan,
        "drop_matched": _mean([d.matched for d in drops]),
    }
    return replace(cell, scalars={**cell.scalars, **scalars}, curves={**cell.curves, **curves})


def drop(cell: Mapping[str, list[float]], narrow: Mapping[str, list[float]], i: int) -> Drop:
    """The parts of the difference at stopping time i; NaN where the narrow network never had that loss.

    Args:
        cell: curves over stopping times of a network.
        narrow: those of the narrowest.
        i: which stopping time.
    """
    forgotten, at_narrow = cell["forgetting"][i], narrow["forgetting"][i]
    if math.isinf(forgotten):
        return Drop(-math.inf, math.nan, math.nan)  # what diverges has forgotten all
    if not all(map(math.isfinite, narrow["forgetting"])):
        return Drop(math.nan, math.nan, math.nan)
    matched = _at_loss(cell["train_loss"][i], narrow)
    return Drop(at_narrow - forgotten, at_narrow - matched, matched - forgotten)


def _at_loss(loss: float, curves: Mapping[str, list[float]]) -> float:
    """What a network would have forgotten at a training loss, by interpolation over its stopping times."""
    order = np.argsort(curves["train_loss"])
    losses, forgotten = np.array(curves["train_loss"])[order], np.array(curves["forgetting"])[order]
    if not losses[0] <= loss <= losses[-1]:
        return math.nan
    return float(np.interp(math.log(loss), np.log(losses), forgotten))


def _mean(values: Sequence[float]) -> float:
    """Of those that could be had; NaN if none could."""
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _but_width(cell: Measured) -> str:
    """What the widths of one network and seed have in common."""
    return json.dumps({k: v for k, v in cell.cell.items() if k != "width"}, sort_keys=True)
