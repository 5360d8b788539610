"""What the files of a store must hold: whoever wrote them, nothing that is read further on has another shape."""

from collections.abc import Callable, Sequence
from typing import Any

# Integers beyond this are no floating-point numbers; no configuration has so many mappings inside each other.
LARGEST, DEEPEST = 10**300, 30


def fault_of_meta(value: Any) -> str:
    """What is wrong with ``ntkgap.json``; empty if nothing is."""
    return _fault(
        value,
        {
            "format": ("a whole number", _is_whole),
            "study": ("a text", _is_text),
            "version": ("a whole number", _is_whole),
        },
    ) or _fault(
        {"axes": [], "configuration": {}, "looks": None, **value},
        {
            "axes": ("a list of texts", _is_texts),
            "configuration": ("a mapping, not too deep", lambda part: isinstance(part, dict) and _is_flat(part)),
            "looks": (
                "a mapping with a schedule of ascending seeds with ranks up to half and as many seeds",
                _are_looks,
            ),
        },
    )


def fault_of_result(value: Any) -> str:
    """What is wrong with ``result.json``; empty if nothing is."""
    return _fault(
        value,
        {
            "scalars": ("a mapping of names to numbers", _is_scalars),
            "curves": ("a mapping of names to lists of numbers", _is_curves),
            "notes": ("a list of texts", _is_texts),
            "diverged": ("true or false", lambda part: isinstance(part, bool)),
            "seconds": ("a number", lambda part: isinstance(part, int | float) and _is_number(part)),
        },
    )


def fault_of_failure(value: Any) -> str:
    """What is wrong with ``failure.json``; empty if nothing is."""
    return _fault(value, {"message": ("a text", _is_text), "traceback": ("a text", _is_text)})


def fault_of_cell(value: Any, axes: Sequence[str], text: bytes) -> str:
    """What is wrong with a cell's configuration, which was read from a text; empty if nothing is."""
    if not isinstance(value, dict) or not (_reads_flat(text) or _is_flat(value)):
        return "it must hold a mapping, not too deep"
    for axis in axes:
        if axis not in value:
            return f"it has no {axis!r}"
        is_number = isinstance(value[axis], int | float) and _is_number(value[axis])
        if isinstance(value[axis], bool) or not (is_number or _is_text(value[axis])):
            return f"its {axis!r} must be a text or a number"
    return ""


def _fault(value: Any, parts: dict[str, tuple[str, Callable[[Any], bool]]]) -> str:
    if not isinstance(value, dict) or not set(parts) <= set(value):
        return f"it must hold {', '.join(sorted(parts))}"
    for name, (what, is_right) in parts.items():
        if not is_right(value[name]):
            return f"its {name!r} must be {what}"
    return ""


def _is_flat(value: Any) -> bool:
    """Whether nothing lies too deep, and all texts are texts."""
    level = [value]  # one after the other: calls of calls are slow, and stores have thousands of cells
    for _ in range(DEEPEST + 1):
        deeper: list[Any] = []
        for part in level:
            if isinstance(part, str):
                if not (part.isascii() or _is_text(part)):
                    return False
            elif isinstance(part, dict):
                deeper.extend(part)
                deeper.extend(part.values())
            elif isinstance(part, list):
                deeper.extend(part)
        if not deeper:
            return True
        level = deeper
    return False


def _reads_flat(text: bytes) -> bool:
    """Whether a JSON text shows without a walk that what it holds is flat, as nearly all do."""
    return text.isascii() and b"\\" not in text and text.count(b"{") + text.count(b"[") <= DEEPEST


def _is_text(value: Any) -> bool:
    """Whether a value is a text that can be written; JSON can hold halves of characters."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_looks(value: Any) -> bool:
    """Whether a value says how seeds were added; a store whose seeds were planned at once says nothing."""
    if value is None:
        return True
    if not isinstance(value, dict) or not {"schedule", "seeds"} <= set(value):
        return False
    schedule, seeds = value["schedule"], value["seeds"]
    if not isinstance(schedule, list) or not isinstance(seeds, list) or not schedule:
        return False
    if not all(isinstance(look, list) and len(look) == 2 and all(map(_is_whole, look)) for look in schedule):
        return False
    counts = [n for n, _ in schedule]
    ascending = counts == sorted(set(counts)) and all(1 <= k <= n // 2 for n, k in schedule)
    return ascending and all(map(_is_whole, seeds)) and len(set(seeds)) == len(seeds) == counts[-1]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST


def _is_number(value: Any) -> bool:
    """Whether a value is what ``to_json`` makes of a number: NaN is null, and infinity has a name."""
    if isinstance(value, int):  # truth values included
        return abs(value) < LARGEST
    return value is None or isinstance(value, float) or value in ("inf", "-inf")


def _is_scalars(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_number, value.values()))


def _is_curves(value: Any) -> bool:
    if not isinstance(value, dict) or not all(map(_is_text, value)):
        return False
    return all(isinstance(curve, list) and all(map(_is_number, curve)) for curve in value.values())
