"""What "forgetting" means: every convention in use, by name.

R[t, s] is the score on task s after learning task t (both 0…T−1), and L = T − 1 is the last row. A convention
says how much of task s is lost, and with what weight it counts. Entries R[t, s] with t < s, tasks scored before
they were learned, may be missing (NaN); a maximum passes over them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Convention:
    """One definition of forgetting: Σ_s w_s d_s.

    Attributes:
        formula: in the notation of this file.
        source: who defines it so, or whose code computes it so.
        lost: d_s, what is lost of each task, from R [T, T] to [T].
        weights: w_s from T, [T]; 0 for tasks that do not count.
    """

    formula: str
    source: str
    lost: Callable[[Array], Array]
    weights: Callable[[int], Array]


def _best(scores: Array, end: int, *, since_learned: bool) -> Array:
    """The largest score of each task in rows before `end`; NaN where a task has none."""
    rows, tasks = np.indices(scores.shape)
    counted = (rows < end) & ~np.isnan(scores)
    if since_learned:
        counted &= rows >= tasks
    best = np.where(counted, scores, -np.inf).max(axis=0)
    return np.where(counted.any(axis=0), best, np.nan)


def _max_minus_last(scores: Array) -> Array:
    return _best(scores, len(scores) - 1, since_learned=False) - scores[-1]


def _max_since_learned_minus_last(scores: Array) -> Array:
    return _best(scores, len(scores) - 1, since_learned=True) - scores[-1]


def _max_with_last_minus_last(scores: Array) -> Array:
    return _best(scores, len(scores), since_learned=True) - scores[-1]


def _learned_minus_last(scores: Array) -> Array:
    return np.diagonal(scores) - scores[-1]


def _relative(scores: Array) -> Array:
    learned = np.diagonal(scores)
    return np.divide(learned - scores[-1], learned, out=np.full(len(learned), np.nan), where=learned > 0)


def _learned_minus_later(scores: Array) -> Array:
    n = len(scores)
    later = [scores[s + 1 :, s].mean() for s in range(n - 1)]
    return np.append(np.diagonal(scores)[:-1] - np.array(later), np.nan)


def _continuum(scores: Array) -> Array:
    return _best(scores, len(scores) - 2, since_learned=True) - scores[-1]


def _first(count: int, n: int) -> Array:
    """Weight 1 for each of the first `count` of n tasks."""
    return (np.arange(n) < count).astype(np.float64)


def _earlier_tasks(n: int) -> Array:
    return _first(n - 1, n) / (n - 1)


CONVENTIONS: dict[str, Convention] = {
    "max_minus_last": Convention(
        "1/(T−1) Σ_{s<L} (max_{t<L} R[t, s] − R[L, s]), over all rows t < L that were scored; may be negative",
        "Chaudhry et al. 2018, Riemannian walk for incremental learning, eq. 3",
        _max_minus_last,
        _earlier_tasks,
    ),
    "max_since_learned_minus_last": Convention(
        "1/(T−1) Σ_{s<L} (max_{s≤t<L} R[t, s] − R[L, s]), scores from before a task was learned do not count",
        "Chaudhry et al. 2018, where tasks are only scored once they were learned",
        _max_since_learned_minus_last,
        _earlier_tasks,
    ),
    "max_with_last_minus_last": Convention(
        "1/(T−1) Σ_{s<L} (max_{s≤t≤L} R[t, s] − R[L, s]), the last row counts too: never negative",
        "the code of Mammoth (utils/metrics.py) and of CL-Gym (ForgettingMetric)",
        _max_with_last_minus_last,
        _earlier_tasks,
    ),
    "max_minus_last_all": Convention(
        "1/T Σ_{s<L} (max_{t<L} R[t, s] − R[L, s]), divided by all T tasks",
        "the divisor of Guha and Lakshman 2024",
        _max_minus_last,
        lambda n: _first(n - 1, n) / n,
    ),
    "learned_minus_last": Convention(
        "1/(T−1) Σ_{s<L} (R[s, s] − R[L, s]), minus the backward transfer",
        "Lopez-Paz and Ranzato 2017, Gradient episodic memory; Avalanche",
        _learned_minus_last,
        _earlier_tasks,
    ),
    "relative": Convention(
        "1/(T−1) Σ_{s<L} (R[s, s] − R[L, s]) / R[s, s], as a fraction of what was learned; NaN where that is "
        "nothing",
        "learned_minus_last, relative to the score when just learned",
        _relative,
        _earlier_tasks,
    ),
    "learned_minus_later": Convention(
        "2/(T(T−1)) Σ_{s<t} (R[s, s] − R[t, s]), averaged over all later times as well",
        "Díaz-Rodríguez et al. 2018, Don't forget, there is more than forgetting (minus their backward transfer)",
        _learned_minus_later,
        lambda n: 2 * np.arange(n - 1, -1, -1) / (n * (n - 1)),
    ),
    "first_task": Convention(
        "R[0, 0] − R[L, 0], of the first task alone",
        "the first-task forgetting of studies of width, like Mirzadeh et al. 2022",
        _learned_minus_last,
        lambda n: _first(1, n),
    ),
    "continuum_code": Convention(
        "1/(T−1) Σ_{s<L−1} (max_{s≤t<L−1} R[t, s] − R[L, s]), row and task L−1 are left out; 0 for two tasks",
        "the code of Continuum (continuum/metrics/metrics.py), which names Chaudhry et al. but sums less",
        _continuum,
        lambda n: _first(n - 2, n) / (n - 1),
    ),
}
