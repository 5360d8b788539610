"""What is forgotten, in every convention that is in use, from the matrix of scores after every task."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ntkgap.errors import StudyError

Forgetting = Callable[[np.ndarray], np.ndarray]


def _max_minus_last(r: np.ndarray) -> np.ndarray:
    return r[:-1, :-1].max(axis=0) - r[-1, :-1]


def _max_since_learned_minus_last(r: np.ndarray) -> np.ndarray:
    return np.array([r[s:-1, s].max() - r[-1, s] for s in range(len(r) - 1)])


def _max_minus_last_all(r: np.ndarray) -> np.ndarray:
    return r.max(axis=0) - r[-1]


def _learned_minus_last(r: np.ndarray) -> np.ndarray:
    return r.diagonal()[:-1] - r[-1, :-1]


def _relative(r: np.ndarray) -> np.ndarray:
    learned = r.diagonal()[:-1]
    return np.divide(learned - r[-1, :-1], learned, out=np.full(len(learned), np.nan), where=learned > 0)


@dataclass(frozen=True)
class Convention:
    """One way to say how much is forgotten.

    Attributes:
        formula: in the notation of R[t, s], the score on task s after task t, of T.
        source: who says so.
        per_task: forgetting of every task that counts, which are averaged.
    """

    formula: str
    source: str
    per_task: Forgetting


CONVENTIONS: dict[str, Convention] = {
    "max_minus_last": Convention(
        "mean over s < T of max over t < T of R[t, s] − R[T, s]",
        "Chaudhry et al. 2018; Mirzadeh et al. 2022, CL-Gym, Mammoth",
        _max_minus_last,
    ),
    "max_since_learned_minus_last": Convention(
        "mean over s < T of max over s ≤ t < T of R[t, s] − R[T, s]",
        "as the one before, where scores of tasks that were not yet learned are not known",
        _max_since_learned_minus_last,
    ),
    "max_minus_last_all": Convention(
        "mean over s ≤ T of max over t ≤ T of R[t, s] − R[T, s]; the last task counts, as nearly never forgotten",
        "Guha, Lakshman 2024",
        _max_minus_last_all,
    ),
    "learned_minus_last": Convention(
        "mean over s < T of R[s, s] − R[T, s]; minus the backward transfer",
        "Lopez-Paz, Ranzato 2017; Avalanche",
        _learned_minus_last,
    ),
    "relative": Convention(
        "mean over s < T of (R[s, s] − R[T, s]) / R[s, s]",
        "as a part of what was learned",
        _relative,
    ),
    "first_task": Convention(
        "R[1, 1] − R[T, 1]",
        "curves of a first task, as in Mirzadeh et al. 2022",
        lambda r: _learned_minus_last(r)[:1],
    ),
}


@dataclass(frozen=True, eq=False)
class AccuracyMatrix:
    """R[t, s]: the score on task s after training on task t, and all that is made of it.

    Scores are parts of one, not per cent; of regressions the explained variance, which may be negative. Above the
    diagonal stand tasks that were not yet learned; whoever has not tested those has NaN there.

    Args:
        scores: R, [T, T], T ≥ 2; rows are times, columns tasks.
        joint: scores after training on all tasks at once, [T], if known.
        initial: scores before any training, [T], if known.
        names: of the tasks; numbers if not given.

    Raises:
        StudyError: if it is not square, has fewer than two tasks, NaN on or below the diagonal, infinite entries,
            or entries above one.
    """

    scores: Tensor
    joint: Tensor | None = None
    initial: Tensor | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        scores = _numbers(self.scores, "R")
        if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
            raise StudyError(
                f"R must be square, a row a time and a column a task; got shape {tuple(scores.shape)}"
            )
        if len(scores) < 2:
            raise StudyError("R has a single task; forgetting takes at least two")
        _check_scores(scores, "R")
        if (missing := np.argwhere(np.tril(np.isnan(scores.numpy())))).size:
            t, s = missing[0] + 1
            raise StudyError(
                f"R has NaN for task {s} after task {t}; only tasks that were not yet learned, above the "
                f"diagonal, "
                "may be missing"
            )
        object.__setattr__(self, "scores", scores)
        for name in ("joint", "initial"):
            values = getattr(self, name)
            if values is None:
                continue
            values = _numbers(values, name)
            if values.shape != (len(scores),):
                raise StudyError(
                    f"{name} must hold one score a task, {len(scores)}, got shape {tuple(values.shape)}"
                )
            _check_scores(values, name)
            if torch.isnan(values).any():
                raise StudyError(f"{name} has NaN entries; leave it out if it is not known")
            object.__setattr__(self, name, values)
        if self.names is not None and len(self.names) != len(scores):
            raise StudyError(f"there are {len(scores)} tasks but {len(self.names)} names")

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def average_accuracy(self) -> float:
        """Mean over tasks of R[T, s]."""
        return float(self.scores[-1].mean())

    @property
    def learning_accuracy(self) -> float:
        """Mean over tasks of R[t, t]: how well tasks are learned."""
        return float(self.scores.diagonal().mean())

    @property
    def joint_accuracy(self) -> float:
        """Mean over tasks after training on all at once.

        Raises:
            StudyError: if that was not measured.
        """
        return float(self._known("joint").mean())

    @property
    def intransigence(self) -> float:
        """Joint less learning accuracy: what is not learned for the sake of the past (Chaudhry et al. 2018).

        Raises:
            StudyError: if joint training was not measured.
        """
        return self.joint_accuracy - self.learning_accuracy

    @property
    def backward_transfer(self) -> float:
        """Mean over s < T of R[T, s] − R[s, s] (Lopez-Paz, Ranzato 2017); negative where it is forgotten."""
        return -self.forgetting("learned_minus_last")

    @property
    def forward_transfer(self) -> float:
        """Mean over s > 1 of R[s − 1, s] less the score before any training (Lopez-Paz, Ranzato 2017).

        Raises:
            StudyError: if tasks were not tested before they were learned.
        """
        initial, before = self._known("initial"), self.scores.diagonal(1)
        if torch.isnan(before).any():
            raise StudyError("R has NaN above its diagonal: tasks were not tested before they were learned")
        return float((before - initial[1:]).mean())

    def forgetting(self, convention: str = "max_minus_last") -> float:
        """How much is forgotten in the end, mean over tasks.

        Args:
            convention: a name from ``CONVENTIONS``.

        Raises:
            StudyError: if there is no such convention, or it needs scores that are missing.
        """
        return float(self.per_task(convention).mean())

    def per_task(self, convention: str = "max_minus_last") -> Tensor:
        """How much of every task is forgotten in the end, without those that do not count.

        Raises:
            StudyError: as ``forgetting``.
        """
        if convention not in CONVENTIONS:
            raise StudyError(f"unknown convention {convention!r}; choose one of {', '.join(CONVENTIONS)}")
        found = CONVENTIONS[convention].per_task(self.scores.numpy())
        if np.isnan(found).any():
            raise StudyError(
                f"convention {convention!r} needs scores that are missing above the diagonal, or divides by a "
                f"score "
                "of zero; choose 'max_since_learned_minus_last' or 'learned_minus_last'"
            )
        return torch.as_tensor(found)

    def after(self, t: int) -> "AccuracyMatrix":
        """What it was after the first t tasks, t ≥ 2: forgetting over time."""
        if not 2 <= t <= len(self):
            raise StudyError(f"t must be between 2 and the {len(self)} tasks, got {t!r}")
        names = None if self.names is None else self.names[:t]
        return AccuracyMatrix(self.scores[:t, :t], None, None, names)

    def table(self) -> pd.DataFrame:
        """All numbers with their formulas, those that need what was not measured left out."""
        rows: list[dict[str, Any]] = [
            {"number": "average accuracy", "value": self.average_accuracy, "formula": "mean over s of R[T, s]"},
            {"number": "learning accuracy", "value": self.learning_accuracy, "formula": "mean over t of R[t, t]"},
        ]
        if self.joint is not None:
            rows.append({"number": "joint accuracy", "value": self.joint_accuracy, "formula": "all tasks at once"})
        rows.append(
            {
                "number": "backward transfer",
                "value": self.backward_transfer,
                "formula": "mean over s < T of R[T, s] − R[s, s]",
            }
        )
        for name, convention in CONVENTIONS.items():
            values = convention.per_task(self.scores.numpy())
            if not np.isnan(values).any():
                rows.append(
                    {"number": f"forgetting, {name}", "value": values.mean(), "formula": convention.formula}
                )
        return pd.DataFrame(rows).set_index("number")

    def _known(self, name: str) -> Tensor:
        values = getattr(self, name)
        if values is None:
            raise StudyError(f"the {name} scores were not given; pass {name}=")
        return values


def _numbers(values: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(np.asarray(values, dtype=float)).clone()
    except (TypeError, ValueError) as error:
        raise StudyError(f"{name} must be an array of numbers: {error}") from error


def _check_scores(values: Tensor, name: str) -> None:
    known = values[~torch.isnan(values)]
    if known.numel() and math.isinf(float(known.abs().max())):
        raise StudyError(f"{name} has infinite entries")
    if known.numel() and float(known.max()) > 1 + 1e-9:
        raise StudyError(
            f"{name} has scores up to {float(known.max()):g}; scores are parts of one: divide per cents by 100, "
            f"or "
            "read them with import_accuracy_matrix(..., percent=True)"
        )
