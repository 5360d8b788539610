"""What is wrong with a configuration, in words for who wrote it."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError

from ntkgap.errors import StudyError

MAX_FAULTS = 5
# Names of members of a union that are not found in the configuration itself.
TAGS = ("own network", "in-house network")
Place = tuple[int | str, ...]
M = TypeVar("M", bound=BaseModel)


class Checked(BaseModel):
    """Settings whose faults are told when they are made, as those of a preset are.

    Raises:
        StudyError: naming each setting that is wrong.
    """

    def __init__(self, *unnamed: Any, **settings: Any) -> None:
        name = type(self).__name__
        if unnamed:
            keys = ", ".join(f"{key}=" for key in type(self).model_fields)
            raise StudyError(f"{name} takes its settings by name, got {_short(unnamed[0])}; they are {keys}")
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise StudyError(f"{name}: {faults(error, settings, type(self))}") from error

    # What validation makes of mappings is checked by it, not here.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def validate(model: type[M], configuration: Mapping[str, Any], origin: str, what: str) -> M:
    """What a configuration describes.

    Args:
        model: what it is to be.
        configuration: as read from YAML.
        origin: where it comes from, for messages.
        what: the model, in words.

    Raises:
        StudyError: naming each entry that is wrong.
    """
    try:
        found = model.model_validate(dict(configuration))
        found.model_dump_json()
    except ValidationError as error:
        raise StudyError(f"{origin} does not describe {what}: {faults(error, configuration, model)}") from error
    except PydanticSerializationError as error:
        raise StudyError(f"{origin}: a text holds half a surrogate pair; write the character itself") from error
    return found


def nearest(name: object, names: Sequence[str]) -> str:
    """The name that may have been meant, as a question; empty where none is near."""
    found = get_close_matches(str(name), names, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def faults(error: ValidationError, configuration: Mapping[str, Any], model: type[BaseModel]) -> str:
    """The first faults, each with its place; problems are called by their names.

    Args:
        error: what validation found.
        configuration: what was validated.
        model: what it was to be.
    """
    found: dict[Place, list[Any]] = {}
    for fault in error.errors():
        found.setdefault(_place(fault["loc"], configuration, fault["type"] == "missing"), []).append(fault)
    first = list(found.items())[:MAX_FAULTS]
    return "; ".join(_sentence(place, at, configuration, model) for place, at in first)


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


def _sentence(place: Place, at: Sequence[Any], configuration: Mapping[str, Any], model: type[BaseModel]) -> str:
    if unknown := [fault for fault in at if fault["type"] == "extra_forbidden"]:
        keys = _keys(model, unknown[0]["loc"][:-1])
        hint = nearest(place[-1], keys) or (f"; the keys are {', '.join(keys)}" if keys else "")
        return f"{_name(place, configuration)}: there is no such key{hint}"
    messages = list(dict.fromkeys(plain(fault["msg"]) for fault in at))
    first, *others = messages
    message = " or ".join([first, *(other.removeprefix("Input should be ") for other in others)])
    value = at[0]["input"]
    got = "" if isinstance(value, dict) else f", got {_short(value)}"
    if at[0]["type"] == "list_type" and isinstance(value, range | tuple | set):
        got += f"; write list({_short(value)})"
    return f"{_name(place, configuration)}: {message}{got}"


def _keys(model: type[BaseModel], loc: Place) -> list[str]:
    """The keys there are at a location, of all kinds of settings that may stand there."""
    models = [model]
    for name in loc:
        if fields := [f for m in models for key, f in m.model_fields.items() if name in (key, *_old_keys(f))]:
            models = [m for field in fields for m in _models(field.annotation)]
    return list(dict.fromkeys(name for m in models for name in m.model_fields))


def _old_keys(field: FieldInfo) -> Sequence[Any]:
    """What else a setting may be called."""
    return field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else ()


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation: in unions, sequences, optional ones."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


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
