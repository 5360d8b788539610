"""When trainings reached a target, and how two groups of them compare where not all of them did."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ntkgap.practice import TrainingCurve

# The score of a run that ended early, by the number of losses it recorded: above that of every run that did not,
# and finite, so that a search in which all runs diverge goes on.
HOPELESS = 1e300


@dataclass(frozen=True)
class Bounds:
    """What a run needs to reach a target: known where it did, at least its budget where it did not.

    Attributes:
        low: at least; infinite for a run that ended early, which never will.
        high: at most; infinite for a run that did not reach the target.
    """

    low: float
    high: float


def steps_to(curve: TrainingCurve, target: float) -> int | None:
    """The first step from which on the loss stays at most ``target``, or None: in passing does not count."""
    above = [k for k, loss in enumerate(curve.losses) if not loss <= target]  # NaN too
    first = above[-1] + 1 if above else 0
    return first if first < len(curve.losses) else None


def needed(curve: TrainingCurve, target: float, cost: Sequence[float]) -> Bounds:
    """What the target costs.

    Args:
        curve: a run.
        target: a training loss.
        cost: of getting to each recorded loss: the number of steps, or the seconds.
    """
    k = steps_to(curve, target)
    if k is not None:
        return Bounds(cost[k], cost[k])
    return Bounds(math.inf if curve.stopped else cost[len(curve.losses) - 1], math.inf)


def ratio_of_best(ours: Sequence[Bounds], theirs: Sequence[Bounds]) -> float:
    """What the best of one group needs by what the best of the other needs.

    Where runs that did not reach the target leave this open, the bound that is nearer to 1, if both are on the
    same side of 1; NaN if not, for then nobody knows who is better.

    Args:
        ours: of one group, at least one.
        theirs: of the other, at least one.
    """
    smallest = _quotient(min(b.low for b in ours), min(b.high for b in theirs))
    largest = _quotient(min(b.high for b in ours), min(b.low for b in theirs))
    if smallest == largest or largest < 1:
        return largest
    return smallest if smallest > 1 else math.nan


def _quotient(a: float, b: float) -> float:
    """NaN for ∞/∞ and 0/0: neither side arrives, or both are there from the start."""
    if a == b and (a == 0 or math.isinf(a)):
        return math.nan
    return a / b if b > 0 else math.inf


def score(curve: TrainingCurve, target: float) -> float:
    """Steps to the target, to be small: k − 1 + L_k / target at the first step k that reaches it.

    For a run that does not, k is its last step. So runs that reach the target are ordered by their steps, and
    by their loss there if these are equal; after them come the others, by their last loss.
    """
    k = steps_to(curve, target)
    if k is None and curve.stopped:
        return HOPELESS / len(curve.losses)
    k = len(curve.losses) - 1 if k is None else k
    return k - 1 + curve.losses[k] / target
