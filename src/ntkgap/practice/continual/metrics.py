"""What was learned and what was forgotten, read off the scores on every task after every task."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from ntkgap.errors import DataError
from ntkgap.one_line import one_line
from ntkgap.practice.continual.conventions import CONVENTIONS, Array, Convention


@dataclass(frozen=True, eq=False)
class AccuracyMatrix:
    """Scores R[t, s] on task s after learning task t.

    Attributes:
        scores: R, [T, T]. Entries above the diagonal, tasks scored before they were learned, may be NaN.
        joint: scores of joint training on all tasks, [T], if known.
        initial: scores before any training, [T], if known.
        names: of the tasks; numbered from 0 if not given.
        kind: "accuracy", fractions between 0 and 1, or "explained_variance", at most 1.

    Raises:
        DataError: if a shape is wrong, there are fewer than two tasks, or an entry is not a score.

    Example:
        >>> matrix = ng.continual.AccuracyMatrix([[0.9, 0.1], [0.6, 0.8]])
        >>> round(matrix.average_accuracy, 2), round(matrix.forgetting(), 2)
        (0.7, 0.3)
    """

    scores: Array
    joint: Array | None = None
    initial: Array | None = None
    names: Sequence[str] | None = None
    kind: Literal["accuracy", "explained_variance"] = "accuracy"

    __repr__ = one_line

    def __post_init__(self) -> None:
        if self.kind not in ("accuracy", "explained_variance"):
            raise DataError(f"kind must be 'accuracy' or 'explained_variance', got {self.kind!r}")
        scores = _numbers("scores", self.scores)
        if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
            raise DataError(
                f"scores must be a square matrix, a row after each task and a column for each; "
                f"got shape {scores.shape}"
            )
        n = len(scores)
        if n < 2:
            raise DataError(
                f"scores are of {n} task(s); forgetting takes at least two, one to forget, one to learn"
            )
        self._check("scores", scores, np.triu(np.ones((n, n), dtype=bool), k=1))
        object.__setattr__(self, "scores", scores)
        for name in ("joint", "initial"):
            given = getattr(self, name)
            if given is not None:
                vector = _numbers(name, given)
                if vector.shape != (n,):
                    raise DataError(f"{name} must hold one score for each of {n} tasks; got shape {vector.shape}")
                self._check(name, vector, np.zeros(n, dtype=bool))
                object.__setattr__(self, name, vector)
        if self.names is not None and (isinstance(self.names, str) or not isinstance(self.names, Iterable)):
            raise DataError(f"names must be a list, one for each of {n} tasks; got {self.names!r}")
        names = [str(s) for s in range(n)] if self.names is None else [str(name) for name in self.names]
        if len(names) != n:
            raise DataError(f"{len(names)} names were given for {n} tasks")
        object.__setattr__(self, "names", tuple(names))

    def _check(self, name: str, values: Array, may_miss: Any) -> None:
        bad = ~np.isfinite(values) & ~(np.isnan(values) & may_miss)
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{name}{list(at)} is {values[at]}; only scores of tasks not yet learned, above the diagonal, may "
                "be missing (NaN)"
            )
        outside = values > 1
        if self.kind == "accuracy":
            outside |= values < 0
        if outside.any():
            at = tuple(int(i) for i in np.argwhere(outside)[0])
            span = "between 0 and 1" if self.kind == "accuracy" else "at most 1"
            raise DataError(
                f"{name}{list(at)} is {values[at]:g}, but must be {span}; import percentages with "
                "import_accuracy_matrix(..., percent=True), and give scores of regression "
                "kind='explained_variance'"
            )

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def average_accuracy(self) -> float:
        """Mean over tasks of the last scores, mean_s R[T−1, s]."""
        return float(self.scores[-1].mean())

    @property
    def learning_accuracy(self) -> float:
        """Mean score of tasks just learned, mean_t R[t, t]."""
        return float(np.diagonal(self.scores).mean())

    @property
    def joint_accuracy(self) -> float:
        """Mean score of joint training.

        Raises:
            DataError: if it was not given.
        """
        if self.joint is None:
            raise DataError("joint accuracy takes the scores of joint training: give joint=")
        return float(self.joint.mean())

    @property
    def intransigence(self) -> float:
        """Joint minus learning accuracy, what is not learned for the sake of the past (Chaudhry et al. 2018).

        Their reference has learned the tasks so far; here it is joint training on all tasks.

        Raises:
            DataError: if the scores of joint training were not given.
        """
        return self.joint_accuracy - self.learning_accuracy

    @property
    def backward_transfer(self) -> float:
        """mean_{s<T−1} (R[T−1, s] − R[s, s]) (Lopez-Paz and Ranzato 2017)."""
        return -self.forgetting("learned_minus_last")

    @property
    def forward_transfer(self) -> float:
        """mean_{s>0} (R[s−1, s] − initial[s]) (Lopez-Paz and Ranzato 2017).

        Raises:
            DataError: if the scores before training were not given, or a task was not scored before being learned.
        """
        if self.initial is None:
            raise DataError("forward transfer takes the scores before training: give initial=")
        before = np.diagonal(self.scores, offset=1)
        if np.isnan(before).any():
            s = int(np.argmax(np.isnan(before)))
            raise DataError(
                f"forward transfer takes scores[{s}, {s + 1}], that of task {s + 1} before it was learned, "
                "which is missing"
            )
        return float((before - self.initial[1:]).mean())

    def per_task(self, convention: str = "max_minus_last") -> Array:
        """What is lost of each task by a convention, [T]; NaN for tasks that do not count.

        Raises:
            DataError: if there is no such convention.
        """
        chosen = _convention(convention)
        return np.where(chosen.weights(len(self)) > 0, chosen.lost(self.scores), np.nan)

    def forgetting(self, convention: str = "max_minus_last") -> float:
        """Forgetting by one of the conventions in ``CONVENTIONS``, which gives the formulas and sources.

        Raises:
            DataError: if there is no such convention.
        """
        weights = _convention(convention).weights(len(self))
        counts = weights > 0
        return float(weights[counts] @ self.per_task(convention)[counts])

    def after(self, t: int, convention: str = "max_minus_last") -> float:
        """Forgetting as it stood after task t, when tasks 0…t had been learned.

        Raises:
            DataError: if t is not an integer between 1 and T − 1, or there is no such convention.
        """
        if isinstance(t, bool) or not isinstance(t, Integral):
            raise DataError(f"t must be an integer, the number of a task from 1 to {len(self) - 1}; got {t!r}")
        if not 1 <= t < len(self):
            raise DataError(f"forgetting is defined after tasks 1 to {len(self) - 1}, not after task {t}")
        return AccuracyMatrix(self.scores[: t + 1, : t + 1], kind=self.kind).forgetting(convention)

    def table(self) -> pd.DataFrame:
        """Forgetting by every convention: a row each, with formula and source."""
        rows = {
            name: {"forgetting": self.forgetting(name), "formula": entry.formula, "source": entry.source}
            for name, entry in CONVENTIONS.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("convention")


def _convention(name: str) -> Convention:
    if not isinstance(name, str) or name not in CONVENTIONS:
        raise DataError(f"there is no convention of forgetting {name!r}; known are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def _numbers(name: str, values: Any) -> Array:
    """A float64 copy that nobody can write to."""
    try:
        plain = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        if np.iscomplexobj(plain):
            raise TypeError("they are complex")
        array = np.array(plain, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be numbers in rows of one length: {error}") from None
    array.flags.writeable = False
    return array
