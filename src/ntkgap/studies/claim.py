"""A claim: one statement of the theory, and what would count for or against it."""

import functools
import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

from ntkgap.errors import StudyError
from ntkgap.one_line import one_line

Kind = Literal["requirement", "condition", "consequence", "payoff"]


def _takes_old_name(kind: type["Claim"]) -> type["Claim"]:
    """The same class, which also takes ``undecidable=``, as its reason was called."""
    make = kind.__init__

    @functools.wraps(make)
    def made(self: "Claim", *args: Any, **settings: Any) -> None:
        if "undecidable" in settings:
            warnings.warn(_RENAMED, DeprecationWarning, stacklevel=2)
            settings["inconclusive"] = settings.pop("undecidable")
        make(self, *args, **settings)

    kind.__init__ = made  # type: ignore[method-assign]
    return kind


_RENAMED = "undecidable of a Claim is now inconclusive; the old name will go"


@_takes_old_name
@dataclass(frozen=True)
class Claim:
    """One statement of kernel-regime theory, tied to a measured quantity and a criterion.

    The criterion compares one number a cell with a threshold. In that number NaN means "could not be
    decided" (with the reason in ``inconclusive``) and infinity "diverged".

    Attributes:
        key: short name, stable over versions.
        title: what the theory says, in a few words.
        statement: the same as a sentence that can be false.
        source: paper and place.
        kind: ``"condition"`` for a sufficient condition of a theorem (if it fails, the theorem is silent:
            "condition not met"), ``"consequence"`` for what the theory predicts (it "fails"), ``"payoff"`` for
            what is hoped of it, which no theorem says, ``"requirement"`` for what has to be so before the others
            mean anything ("not met").
        quantity: name of the measured number in a cell's result.
        label: the quantity as an axis label.
        threshold: the criterion's limit.
        direction: ``"below"`` if the claim holds for quantities under the threshold, ``"above"`` if over it.
        criterion: the criterion in words, with the threshold's origin.
        prediction: what theory puts on the same axis, in words.
        caveat: what a reader must not conclude.
        inconclusive: why a cell may be inconclusive, in words.
        exponent: exponent in the width that theory predicts for the quantity, if it does.
        log_scale: whether the quantity is drawn and extrapolated in logarithms.
        optional: whether some problems do not measure the quantity; elsewhere its absence is an error.
        slowest_exponent: where theory's exponent depends on the network, the one nearest to zero: extrapolation
            goes no slower. ``exponent`` if not given.
        question: what a reader without the field's words would ask, answered by yes or no; ``title`` if not given.
            Claims with the same question, about problems of different kinds, share a row of the report's first
            picture.
        headline: the statement in a few plain words; a claim that has one is in the first picture.
        tie: a value within this fraction of the threshold (of 1 for a threshold of zero) is at the threshold, on
            neither side: rounding must not decide a verdict.

    Raises:
        StudyError: if the threshold, an exponent or the tie is not finite, or logarithms are asked of a threshold
            that is not positive.

    Example:
        >>> claim = next(c for c in ng.OptimizationStudy.preset("smoke").claims() if c.key == "kernel_constant")
        >>> claim.quantity, claim.direction, claim.threshold, claim.exponent
        ('kernel_change', 'below', 0.1, -0.5)
        >>> claim.holds(0.05)
        True
    """

    key: str
    title: str
    statement: str
    source: str
    kind: Kind
    quantity: str
    label: str
    threshold: float
    direction: Literal["below", "above"]
    criterion: str
    prediction: str
    caveat: str = ""
    inconclusive: str = "it could not be computed"
    exponent: float | None = None
    log_scale: bool = True
    optional: bool = False
    slowest_exponent: float | None = None
    question: str = ""
    headline: str = ""
    tie: float = 1e-9

    __repr__ = one_line

    def __post_init__(self) -> None:
        numbers = {"threshold": self.threshold, "tie": self.tie}
        numbers |= {k: v for k in ("exponent", "slowest_exponent") if (v := getattr(self, k)) is not None}
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise StudyError(f"the {name} of the claim {self.key!r} must be finite, got {value}")
        if self.log_scale and self.threshold <= 0:
            raise StudyError(
                f"the claim {self.key!r} has the threshold {self.threshold:g}, which has no logarithm; "
                "give a positive one, or log_scale=False"
            )
        if not self.question:
            object.__setattr__(self, "question", self.title)
        if self.tie < 0:
            raise StudyError(f"the tie of the claim {self.key!r} must not be negative, got {self.tie}")

    @property
    def undecidable(self) -> str:
        """The old name of ``inconclusive``."""
        warnings.warn(_RENAMED, DeprecationWarning, stacklevel=2)
        return self.inconclusive

    @property
    def failure_word(self) -> str:
        """How a failure is put, "condition not met" for a sufficient condition, "not met" for a requirement."""
        return {"condition": "condition not met", "requirement": "not met"}.get(self.kind, "fails")

    def side(self, value: float) -> int:
        """1 for a number that meets the criterion, −1 for one that does not, 0 for one at the threshold."""
        if abs(value - self.threshold) <= self.tie * (abs(self.threshold) or 1.0):
            return 0
        return 1 if (value < self.threshold) == (self.direction == "below") else -1

    def holds(self, value: float) -> bool:
        """Whether a decided number meets the criterion; one at the threshold does not."""
        return self.side(value) > 0
