"""What can go wrong, in the user's words: every message says what was wrong, where, and what to do."""

import re
import sys


def reason(error: BaseException, most: int = 200) -> str:
    """What another library's error says, in one line: its kind where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}…"


def callers_level() -> int:
    """``stacklevel`` of a warning for the first caller outside of ntkgap, whatever is between."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "ntkgap":
        frame, level = frame.f_back, level + 1
    return level


LONGEST_WORD = 300


class NtkgapError(Exception):
    """Base of all errors that ntkgap raises on purpose: its message is one line, whatever names it quotes.

    Example:
        >>> try:
        ...     ng.MLP(in_features=0, out_features=1, width=4, depth=1)
        ... except ng.NtkgapError as error:
        ...     print(error)
        ...
        in_features must be an integer of at least 1, got 0
    """

    def __str__(self) -> str:
        line = " ".join(super().__str__().splitlines())
        return re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: f"{word[0][:80]}…{word[0][-20:]}", line)


class DataError(NtkgapError, ValueError):
    """The data cannot be used: missing, wrong shape, not finite, unknown name."""


class ModelError(NtkgapError, ValueError):
    """The network cannot be built or has no well-defined per-example Jacobian."""


class KernelError(NtkgapError, ValueError):
    """A kernel cannot be computed or used as asked."""


class StudyError(NtkgapError, ValueError):
    """A study, preset or grid is not well defined."""


class DivergenceError(StudyError):
    """A training has left the finite numbers."""


class StoreError(NtkgapError):
    """A store of results cannot be opened, written or combined with this run."""


class JitterWarning(UserWarning):
    """A matrix was not positive definite in floating point; something was added to its diagonal to go on."""


class AccuracyWarning(UserWarning):
    """A number was computed, but is less exact than one would expect; the message says how much."""


class StudyWarning(UserWarning):
    """A study does something else than one might think; the message says what."""
