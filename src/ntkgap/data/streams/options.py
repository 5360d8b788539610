"""Checks of the numbers that streams are made with."""

import math

from ntkgap.errors import DataError


def check_count(name: str, value: object, least: int) -> None:
    """Refuse what is not an integer of at least ``least``.

    Raises:
        DataError: naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DataError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_number(name: str, value: object, low: float, high: float = math.inf, *, below: bool = False) -> None:
    """Refuse what is not a finite number from ``low`` to ``high``.

    Args:
        name: of the option.
        value: what was given.
        low: the least that is allowed.
        high: the most that is allowed.
        below: whether ``high`` itself is too much.

    Raises:
        DataError: naming the option and the range.
    """
    allowed = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
        and not (below and value == high)
    )
    if not allowed:
        to = "" if high == math.inf else f" and {'below' if below else 'at most'} {high:g}"
        raise DataError(f"{name} must be a finite number of at least {low:g}{to}, got {value!r}")
