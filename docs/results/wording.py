"""How the pages write numbers."""

import math
from collections.abc import Callable
from typing import Any

from ntkgap.studies.statistics import Interval

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
GROUP = "\N{NO-BREAK SPACE}"
FRACTIONS = {0.25: "¼", 0.5: "½", 0.75: "¾"}
WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
# Numbers below ten thousand have no groups of digits, and those from a million on are written with powers of ten.
GROUPED_FROM, POWERS_FROM, POWERS_BELOW = 1e4, 1e6, 1e-4


def plain(value: float, decimals: int) -> str:
    """A number with so many decimals, a true minus sign and groups of three digits."""
    if not math.isfinite(value):
        return "inconclusive" if math.isnan(value) else "∞" if value > 0 else "−∞"
    rounded = round(value, decimals) + 0.0  # no minus zero
    text = (
        f"{abs(rounded):,.{max(decimals, 0)}f}"
        if abs(rounded) >= GROUPED_FROM
        else f"{abs(rounded):.{max(decimals, 0)}f}"
    )
    return ("−" if rounded < 0 else "") + text.replace(",", GROUP)


def significant(value: float, digits: int, like: float | None = None) -> str:
    """A number with so many significant digits; very large and very small ones with a power of ten.

    Args:
        value: the number.
        digits: how many.
        like: another number, whose decimals it gets: bounds are written like the value between them.
    """
    if value == 0 or not math.isfinite(value):
        return plain(value, 0)
    exponent = _exponent(value, digits)
    if POWERS_BELOW <= 10.0**exponent < POWERS_FROM:
        same = like is not None and like != 0 and math.isfinite(like)
        return plain(value, digits - 1 - (_exponent(like, digits) if same else exponent))  # type: ignore[arg-type]
    factor = f"{value / 10.0**exponent:.{digits - 1}f}".replace("-", "−")
    power = f"10{str(exponent).translate(SUPERSCRIPTS)}"
    return power if factor == "1" else f"{factor}·{power}"


def _exponent(value: float, digits: int) -> int:
    return int(f"{abs(value):.{digits - 1}e}".split("e")[1])


def _percentage(value: float, digits: int, like: float | None = None) -> str:
    """A percentage is written to the last whole one at least."""
    middle = 100 * (value if like is None else like)
    whole = 0 if middle == 0 or not math.isfinite(middle) else _exponent(middle, digits) + 1
    return significant(100 * value, max(digits, whole), None if like is None else 100 * like)


def _decimals(scale: float) -> Callable[..., str]:
    return lambda value, decimals, like=None: plain(scale * value, decimals)


def _each(write: Callable[..., str], unit: str = "") -> Callable[..., str]:
    """A filter for numbers and for intervals; an interval has its bounds in brackets unless they are unwanted."""

    def written(value: Any, digits: int = 2, bounds: bool = True) -> str:
        if not isinstance(value, Interval):
            return write(float(value), digits) + unit
        middle = write(value.value, digits) + unit
        low, high = (write(bound, digits, value.value) for bound in (value.low, value.high))
        return f"{middle} [{low}, {high}]" if bounds else middle

    return written


def power_of_ten(value: float) -> str:
    """The nearest power of ten."""
    return f"10{str(round(math.log10(value))).translate(SUPERSCRIPTS)}"


def fraction(value: float) -> str:
    """One of the usual fractions as one sign; other numbers as they are."""
    sign = "−" if value < 0 else ""
    return sign + FRACTIONS[abs(value)] if abs(value) in FRACTIONS else f"{value:g}".replace("-", "−")


def bold(text: str, when: bool = True) -> str:
    """Emphasized, if that is wanted."""
    return f"**{text}**" if when else text


def listing(items: Any, last: str = "and") -> str:
    """Items with commas, and a word before the last."""
    texts = [str(item) for item in items]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {last} {texts[-1]}"


def value_of(variation: str) -> str:
    """The value in the name of a variation."""
    value = variation.partition("=")[2]
    if _is_number(value):
        return f"{float(value):g}".replace("-", "−")
    return "μP" if value == "mup" else value.replace("_", " ")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def span(values: Any) -> str:
    """From the least to the largest of whole numbers."""
    return f"{plain(min(values), 0)} to {plain(max(values), 0)}"


FILTERS: dict[str, Callable[..., Any]] = {
    "sig": _each(significant),
    "fixed": _each(_decimals(1)),
    "percent": _each(_percentage, " %"),
    "percents": _each(_percentage),
    "percent_fixed": _each(_decimals(100), " %"),
    "points": _each(_decimals(100)),
    "whole": lambda value: plain(float(value), 0),
    "word": lambda value: WORDS[int(value)] if value < len(WORDS) else plain(float(value), 0),
    "short": lambda value: f"{value:g}".replace("-", "−"),
    "power_of_ten": power_of_ten,
    "fraction": fraction,
    "bold": bold,
    "listing": listing,
    "span": span,
    "value_of": value_of,
}
