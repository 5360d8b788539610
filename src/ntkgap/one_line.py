"""How objects show themselves: in one line, with tensors by their shapes."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields
from typing import Any

MOST, MOST_OF_A_VALUE = 100, 40
FEW = 4


def one_line(self: Any) -> str:
    """What a dataclass is in a line: ``__repr__ = one_line`` in its body."""
    return line_of(self, **{f.name: getattr(self, f.name) for f in fields(self) if f.repr})


def line_of(self: Any, *words: str, **parts: Any) -> str:
    """``Name(words, part=value, ...)`` in at most 100 characters; what has no room is left out.

    Args:
        self: whose class names the line.
        words: shown as they are.
        parts: shown as numbers, short texts, shapes, or how many there are.
    """
    every = [*words, *(f"{name}={_value(part)}" for name, part in parts.items())]
    name = type(self).__name__
    shown: list[str] = []
    for i, part in enumerate(every):
        more = ["…"] if i + 1 < len(every) else []
        if len(f"{name}({', '.join([*shown, part, *more])})") > MOST:
            return f"{name}({', '.join([*shown, '…'])})"
        shown.append(part)
    return f"{name}({', '.join(shown)})"


def _value(value: Any) -> str:
    match value:
        case float():
            return f"{value:.4g}"
        case bool() | int() | None:
            return str(value)
        case str():
            return repr(value if len(value) <= MOST_OF_A_VALUE else f"{value[: MOST_OF_A_VALUE - 1]}…")
        case Mapping() | Set():
            return f"{len(value)} {'entry' if len(value) == 1 else 'entries'}"
        case Sequence():
            few = len(value) <= FEW and all(isinstance(v, str | float | int | None) for v in value)
            return f"[{', '.join(map(_value, value))}]" if few else f"{len(value)} values"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):  # of tensors and arrays
        return _value(value.item()) if not shape else str(list(shape))
    return getattr(value, "__name__", None) or type(value).__name__
