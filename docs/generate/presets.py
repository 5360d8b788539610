"""The reference of presets, from the models that read them: every key, its type, its default and its meaning."""

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import ntkgap as ng
from ntkgap.studies.registry import study_names

ENTRY = re.compile(r"^ {4}(\w+): (.*(?:\n {6,}.*)*)", re.MULTILINE)


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a model and its bases say of its fields."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        section = re.search(r"^Attributes:\n((?: {4}.*\n?|\n)*)", text, re.MULTILINE)
        if section:
            found |= {name: " ".join(said.split()) for name, said in ENTRY.findall(section[1])}
    return found


def models_in(kind: Any) -> Iterator[type[BaseModel]]:
    """The models that a type annotation mentions, in order."""
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias):
        if issubclass(kind, BaseModel):
            yield kind
        return
    for part in typing.get_args(kind):
        yield from models_in(part)


def written(kind: Any) -> str:
    """A type as a reader of YAML would call it."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return written(parts[0])
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(written(part) for part in parts))
    if kind is type(None):
        return "nothing"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", typing.Any: "anything"}
    if kind in names:
        return names[kind]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{title(kind)}](#{anchor(kind)})"
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping of {written(parts[0])} to {written(parts[1])}"
    if origin is not None and parts:
        return f"list of {written(parts[0])}"
    return {list: "list", dict: "mapping", tuple: "list"}.get(kind, getattr(kind, "__name__", str(kind)))


def default(field: Any) -> str:
    """The default of a field as YAML has it."""
    if field.is_required():
        return "**required**"
    value = field.default_factory() if field.default_factory else field.default
    if value is None or value is PydanticUndefined:
        return "not set"
    if isinstance(value, BaseModel):
        return "its own defaults"
    if isinstance(value, tuple | list):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).removesuffix("...\n").strip()
    return f"`{text}`"


def title(model: type[BaseModel]) -> str:
    """The heading of a model: the name of its class."""
    return model.__name__


def anchor(model: type[BaseModel]) -> str:
    """The address of a model on the page."""
    place = model.__module__.removeprefix("ntkgap.studies.")
    return re.sub(r"[._]", "-", f"{place}-{model.__name__}".lower())


def table(model: type[BaseModel]) -> str:
    """A section with the keys of a model."""
    said = meanings(model)
    summary = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    rows = [
        f"| `{name}` | {written(field.annotation)} | {default(field)} | {cell(said.get(name, ''))} |\n"
        for name, field in model.model_fields.items()
    ]
    head = f"({anchor(model)})=\n### {title(model)}\n\n{summary}\n\n"
    return head + "| key | type | default | meaning |\n|---|---|---|---|\n" + "".join(rows)


def cell(text: str) -> str:
    """A text as the cell of a table: code in one pair of backticks."""
    return text.replace("``", "`").replace("|", "\\|")


def models_of(study: type[BaseModel]) -> list[type[BaseModel]]:
    """A study and every model below it, each once."""
    found: dict[type[BaseModel], None] = {}
    waiting = [study]
    while waiting:
        model = waiting.pop(0)
        if model in found:
            continue
        found[model] = None
        waiting += [part for field in model.model_fields.values() for part in models_in(field.annotation)]
        waiting += [part for field in model.model_fields.values() for m in field.metadata for part in models_in(m)]
    return list(found)


def page() -> str:
    """The page: tables of all models, then the quick presets as whole files."""
    every = {name: ng.studies.find_study(name) for name in sorted(study_names())}
    studies = {name: study for name, study in every.items() if study.__module__.startswith("ntkgap.")}
    parts = [
        "# Presets: every key\n\nA preset is a YAML file: copy one, change it, give its path to `--preset`. "
        "`ntkgap presets` lists those that come along. A key that is not in these tables is refused by name.\n"
    ]
    shown: set[type[BaseModel]] = set()
    for name, study in studies.items():
        parts.append(f"## Study `{name}`\n")
        new = [model for model in models_of(study) if model not in shown]
        shown.update(new)
        parts += [table(model) for model in new]
    parts.append("## Whole files to copy\n")
    for name, study in studies.items():
        folder = Path(inspect.getfile(study)).parent / "presets"
        for preset in ("smoke", "quick"):
            text = (folder / f"{preset}.yaml").read_text(encoding="utf-8")
            parts.append(f"### `{preset}` of `{name}`\n\n```yaml\n{text}```\n")
    return "\n".join(parts)
