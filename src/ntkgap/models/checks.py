"""What every constructor refuses: bad sizes, bad scales, unknown names."""

import math
from collections.abc import Iterable

from ntkgap.errors import ModelError


def check_positive_integers(**sizes: int) -> None:
    """Refuse sizes that are not positive integers, naming the argument.

    Raises:
        ModelError: for the first size that is not an integer of at least 1.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ModelError(f"{name} must be an integer of at least 1, got {size!r}")


def check_scales(**scales: float) -> None:
    """Refuse standard deviations that are negative or not finite, naming the argument.

    Raises:
        ModelError: for the first scale that is negative, infinite or not a number.
    """
    for name, scale in scales.items():
        if not math.isfinite(scale) or scale < 0:
            raise ModelError(f"{name} must be a finite number of at least 0, got {scale!r}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Refuse a value that is not one of the choices, naming the argument.

    Raises:
        ModelError: listing the choices.
    """
    choices = list(choices)
    if value not in choices:
        raise ModelError(f"unknown {name} {value!r}; choose one of {', '.join(map(str, choices))}")
