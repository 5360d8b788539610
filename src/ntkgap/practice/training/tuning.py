"""Settings of an optimizer chosen by what they reach: every method compared at its best."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ntkgap.errors import StudyError
from ntkgap.one_line import one_line
from ntkgap.practice.training.curves import TrainingCurve


@dataclass(frozen=True)
class LogarithmicGrid:
    """Values in equal steps of the logarithm, which go on beyond both ends.

    Attributes:
        low: smallest value at first, positive.
        high: largest value at first.
        points: how many at first, at least 2.

    Raises:
        StudyError: if the ends are not positive, finite and in order, or there are too few points.
    """

    low: float
    high: float
    points: int

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise StudyError(
                f"a logarithmic grid needs 0 < low < high < infinity, got low={self.low!r}, high={self.high!r}"
            )
        if isinstance(self.points, bool) or not isinstance(self.points, int) or self.points < 2:
            raise StudyError(f"points must be an integer of at least 2, got {self.points!r}")

    def value(self, index: int) -> float:
        """The value at 0 (low) … points − 1 (high), or beyond; always the same float for the same index."""
        return self.low * (self.high / self.low) ** (index / (self.points - 1))


@dataclass(frozen=True)
class Trial:
    """One run of a search.

    Attributes:
        settings: what it was run with.
        score: what is to be small; infinite for a run that diverged.
        curve: what it did.
    """

    settings: dict[str, Any]
    score: float
    curve: TrainingCurve

    __repr__ = one_line


@dataclass(frozen=True)
class Tuning:
    """The outcome of a search.

    Attributes:
        best: the trial with the smallest score, the first of equal ones.
        trials: all of them, in the order in which they were run.
        at_edge: settings whose best value is still at an end of its grid, so that a better one may lie beyond.
    """

    best: Trial
    trials: list[Trial]
    at_edge: tuple[str, ...]

    __repr__ = one_line


def final_loss(curve: TrainingCurve) -> float:
    """The last loss; infinite for a run that diverged."""
    return math.inf if curve.diverged else curve.losses[-1]


def mean_loss(curve: TrainingCurve) -> float:
    """The area under the curve by its length; infinite for a run that ended early, which has none to compare."""
    return math.inf if curve.stopped else math.fsum(curve.losses) / len(curve.losses)


def tune(
    run: Callable[..., TrainingCurve],
    grid: Mapping[str, LogarithmicGrid | Sequence[Any]],
    *,
    score: Callable[[TrainingCurve], float] = final_loss,
    most_extensions: int = 8,
) -> Tuning:
    """Run every combination of settings and choose the one with the smallest score.

    Where the best value of a logarithmic grid is its first or last, the grid goes on one value further there
    (with all values of the other settings), until the best lies inside. Nothing is random beside ``run``.

    Args:
        run: called with a value for every setting by name; starts from the same network every time and trains
            for the number of steps after which methods are to be compared.
        grid: values by setting, e.g. ``{"learning_rate": LogarithmicGrid(1e-4, 0.1, 7), "momentum": (0.0, 0.9)}``;
            a plain sequence is not extended.
        score: of a curve, to be small.
        most_extensions: how often a grid may be made longer, all settings together.

    Returns:
        The best trial, all trials, and the settings whose best value is at an end nevertheless.

    Raises:
        StudyError: if the grid is empty, or every run diverged.

    Example:
        >>> train, _ = ng.load_data("digits", n_train=20, n_test=5)
        >>> def fit(learning_rate):
        ...     return ng.train(ng.MLP(64, 10, 16, 1), train, learning_rate=learning_rate, steps=5)
        ...
        >>> found = ng.optimizers.tune(fit, {"learning_rate": (1e-3, 1e-2)})
        >>> len(found.trials)
        2
    """
    for name, values in grid.items():
        if not isinstance(values, LogarithmicGrid) and len(values) == 0:
            raise StudyError(f"the grid has no values for {name}; give at least one")
    if not grid:
        raise StudyError("the grid names no setting; give values for at least one, such as learning_rate")
    if isinstance(most_extensions, bool) or not isinstance(most_extensions, int) or most_extensions < 0:
        raise StudyError(f"most_extensions must be an integer of at least 0, got {most_extensions!r}")
    ranges = {name: range(v.points if isinstance(v, LogarithmicGrid) else len(v)) for name, v in grid.items()}
    trials: dict[tuple[int, ...], Trial] = {}
    for extension in range(most_extensions + 1):
        for place in itertools.product(*ranges.values()):
            if place not in trials:
                trials[place] = _trial(run, grid, place, score)
        best = min(trials, key=lambda place: trials[place].score)  # the first of equal ones
        if trials[best].score == math.inf:
            raise StudyError(
                f"all {len(trials)} runs of the search diverged or ended early; lower the learning rates, or "
                f"raise the damping: tried {', '.join(str(trial.settings) for trial in trials.values())}"
            )
        edges = _edges(grid, ranges, best)
        if not edges or extension == most_extensions:
            break
        ranges |= edges
    return Tuning(trials[best], list(trials.values()), tuple(edges))


def _trial(
    run: Callable[..., TrainingCurve],
    grid: Mapping[str, LogarithmicGrid | Sequence[Any]],
    place: tuple[int, ...],
    score: Callable[[TrainingCurve], float],
) -> Trial:
    settings = {
        name: values.value(i) if isinstance(values, LogarithmicGrid) else values[i]
        for (name, values), i in zip(grid.items(), place, strict=True)
    }
    curve = run(**settings)
    found = score(curve)
    return Trial(settings, math.inf if math.isnan(found) else found, curve)


def _edges(
    grid: Mapping[str, LogarithmicGrid | Sequence[Any]], ranges: dict[str, range], best: tuple[int, ...]
) -> dict[str, range]:
    """The ranges that have the best value at an end, one longer there."""
    longer = {}
    for name, at in zip(grid, best, strict=True):
        if isinstance(grid[name], LogarithmicGrid):
            first, last = ranges[name][0], ranges[name][-1]
            if at in (first, last):
                longer[name] = range(first - (at == first), last + 1 + (at == last))
    return longer
