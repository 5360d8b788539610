"""A claim: one statement of the theory, and what would count for or against it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Claim:
    """One statement of kernel-regime theory, tied to a measured quantity and a criterion.

    The criterion compares one number a cell with a threshold. In that number NaN means "could not be
    decided" (with the reason in ``undecidable``) and infinity "diverged".

    Attributes:
        key: short name, stable over versions.
        title: what the theory says, in a few words.
        statement: the same as a sentence that can be false.
        source: paper and place.
        kind: ``"condition"`` for a sufficient condition of a theorem (if it fails, the theorem is silent:
            "condition not met"), ``"consequence"`` for what the theory predicts (it "fails"), ``"payoff"`` for
            what is hoped of it, which no theorem says.
        quantity: name of the measured number in a cell's result.
        label: the quantity as an axis label.
        threshold: the criterion's limit.
        direction: ``"below"`` if the claim holds for quantities under the threshold, ``"above"`` if over it.
        criterion: the criterion in words, with the threshold's origin.
        prediction: what theory puts on the same axis, in words.
        caveat: what a reader must not conclude.
        undecidable: why a cell may be undecidable.
        exponent: exponent in the width that theory predicts for the quantity, if it does.
        log_scale: whether the quantity is drawn and extrapolated in logarithms.
        optional: whether some problems do not measure the quantity; elsewhere its absence is an error.
    """

    key: str
    title: str
    statement: str
    source: str
    kind: Literal["condition", "consequence", "payoff"]
    quantity: str
    label: str
    threshold: float
    direction: Literal["below", "above"]
    criterion: str
    prediction: str
    caveat: str = ""
    undecidable: str = "it could not be computed"
    exponent: float | None = None
    log_scale: bool = True
    optional: bool = False

    @property
    def failure_word(self) -> str:
        """How a failure is put: "condition not met" for a sufficient condition, else "fails"."""
        return "condition not met" if self.kind == "condition" else "fails"

    def holds(self, value: float) -> bool:
        """Whether a decided number meets the criterion."""
        return value < self.threshold if self.direction == "below" else value > self.threshold
