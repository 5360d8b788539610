"""What a cell yields, gathered measurement by measurement."""

import math
from dataclasses import dataclass, field
from typing import Any

from ntkgap.one_line import one_line
from ntkgap.practice import TrainingCurve


@dataclass
class Findings:
    """What a cell yields, gathered measurement by measurement.

    Attributes:
        scalars: by name; NaN or None is a number that could not be decided, infinity one that diverged.
        curves: by name.
        notes: remarks.
        diverged: whether a training diverged.
        not_asked: reasons by scalar: why the theory is not asked about it for this network. Such a scalar is NaN.

    Example:
        >>> findings = ng.studies.Findings()
        >>> findings.scalars["gap"] = 0.1
        >>> findings.leave_out("no infinite-width kernel", "limit_distance")
        >>> findings.not_asked
        {'limit_distance': 'no infinite-width kernel'}
    """

    scalars: dict[str, float | int | bool | None] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    diverged: bool = False
    not_asked: dict[str, str] = field(default_factory=dict)

    __repr__ = one_line

    def leave_out(self, reason: str, *names: str) -> None:
        """Note that the theory is not asked about some scalars, and why."""
        self.scalars |= dict.fromkeys(names, math.nan)
        self.not_asked |= dict.fromkeys(names, reason)

    def number(self, name: str) -> float:
        """A scalar that was found before, as a number."""
        value = self.scalars[name]
        return math.nan if value is None else float(value)

    def add_stop(self, what: str, curve: TrainingCurve) -> None:
        """Note why a training ended early, if it did."""
        if curve.stopped:
            self.notes.append(f"{what}: {curve.stopped}")
            self.diverged |= "diverged" in curve.stopped

    def add_divergence(self, what: str) -> None:
        """Note that a training diverged."""
        self.notes.append(what)
        self.diverged = True

    def result(self) -> dict[str, Any]:
        """As the sweep stores it."""
        found: dict[str, Any] = {
            "scalars": self.scalars,
            "curves": self.curves,
            "notes": self.notes,
            "diverged": self.diverged,
        }
        return found | ({"not_asked": self.not_asked} if self.not_asked else {})
