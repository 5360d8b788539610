"""What is wrong with a configuration, in words for who wrote it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

MAX_FAULTS = 5
# Names of members of a union that are not found in the configuration itself.
TAGS = ("own network", "in-house network")
Place = tuple[int | str, ...]


def faults(error: ValidationError, configuration: Mapping[str, Any]) -> str:
    """The first faults, each with its place; problems are called by their names.

    Args:
        error: what validation found.
        configuration: what was validated.
    """
    found: dict[Place, list[Any]] = {}
    for fault in error.errors():
        found.setdefault(_place(fault["loc"], configuration, fault["type"] == "missing"), []).append(fault)
    return "; ".join(_sentence(place, at, configuration) for place, at in list(found.items())[:MAX_FAULTS])


def plain(message: str) -> str:
    """A message without the validator's own prefix."""
    return message.removeprefix("Value error, ")


def _place(loc: Place, configuration: Mapping[str, Any], missing: bool) -> Place:
    """The part of a location that is in the configuration; beyond it are members of a union that were tried.

    Where the members are told apart by their ``kind``, the location has that in it, and the configuration not.
    """
    part: Any = configuration
    place: Place = ()
    for name in loc:
        if isinstance(part, Mapping) and name not in part and name in (part.get("kind"), *TAGS):
            continue
        try:
            part = part[name]
        except (KeyError, IndexError, TypeError):
            return (*place, name) if missing else place
        place = (*place, name)
    return place


def _sentence(place: Place, at: Sequence[Any], configuration: Mapping[str, Any]) -> str:
    messages = list(dict.fromkeys(plain(fault["msg"]) for fault in at))
    first, *others = messages
    message = " or ".join([first, *(other.removeprefix("Input should be ") for other in others)])
    value = at[0]["input"]
    got = "" if isinstance(value, dict) else f", got {_short(value)}"
    return f"{_name(place, configuration)}: {message}{got}"


def _short(value: Any, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def _name(place: Place, configuration: Mapping[str, Any]) -> str:
    """The place in dots, a problem by its name if it has one."""
    if len(place) > 1 and place[0] == "problems":
        problem = configuration["problems"][place[1]]
        if isinstance(problem, Mapping) and isinstance(problem.get("name"), str):
            rest = ".".join(map(str, place[2:]))
            return repr(problem["name"]) + (f", {rest}" if rest else "")
    return ".".join(map(str, place)) or "it"
