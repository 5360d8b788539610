"""Presets of a study: YAML files beside its module, files of one's own, and what replaces their settings."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntkgap.errors import StudyError
from ntkgap.paths import expanded, is_file
from ntkgap.studies.cells import MAX_CELLS
from ntkgap.studies.faults import nearest
from ntkgap.studies.yaml_text import MAX_CHARACTERS, read_yaml

if TYPE_CHECKING:
    from ntkgap.studies.base import BaseStudy

# What ``preset`` replaces.
REPLACED = ("model", "data", "widths", "seeds", "problems", "n_train", "n_test", "target", "train", "device")


def descriptions(study: "type[BaseStudy]") -> dict[str, str]:
    """Names and descriptions of the presets that come with a study."""
    read = {name: read_yaml(file.read_text()) for name, file in sorted(_files(study).items())}
    return {name: str(found.get("description", "")) for name, found in {**study.written, **read}.items()}


def read_preset(study: "type[BaseStudy]", name: str) -> dict[str, Any]:
    """The configuration of a preset, by its name or the path of a YAML file.

    Raises:
        StudyError: if there is no such preset or file, or it cannot be read.
    """
    source: Traversable | Path
    files = _files(study)
    if name.endswith((".yaml", ".yml")):
        source = expanded(name)
        if not is_file(source):
            raise StudyError(
                f"no preset file at {source.absolute()}; give the path of a YAML file, or choose one of "
                f"{', '.join(descriptions(study))}"
            )
    elif name in study.written:
        return dict(study.written[name])
    elif name in files:
        source = files[name]
    else:
        raise StudyError(
            f"unknown preset {name!r} of the study {study.name!r}; choose one of "
            f"{', '.join(descriptions(study))}, or the path of a .yaml file of the same form"
        )
    try:
        with source.open(encoding="utf-8-sig") as file:
            configuration = read_yaml(file.read(MAX_CHARACTERS + 1))
    except (OSError, UnicodeDecodeError, StudyError) as error:
        raise StudyError(f"cannot read the preset {name}: {error}") from error
    if not isinstance(configuration, dict):
        raise StudyError(f"the preset {name} must be a YAML mapping with keys description, seeds, problems")
    return configuration


def _files(study: "type[BaseStudy]") -> dict[str, Traversable]:
    """Files of presets by name, in the folder ``presets`` beside the study's module."""
    package = study.__module__.rpartition(".")[0]
    folder = resources.files(package) / "presets" if package else None
    if folder is None or not folder.is_dir():
        return {}
    return {file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")}


def refuse_unknown(origin: str, unknown: Mapping[str, Any]) -> None:
    """Refuse keywords that replace nothing.

    Raises:
        StudyError: naming the first one.
    """
    if unknown:
        wrong = next(iter(unknown))
        taken = f"it takes {', '.join(REPLACED)}, and a YAML file says all else"
        raise StudyError(f"{origin} takes no {wrong}={nearest(wrong, REPLACED)}; {taken}")


def choose(
    configuration: Mapping[str, Any],
    origin: str,
    problems: Sequence[str] | None,
    seeds: Sequence[int] | None,
) -> dict[str, Any]:
    """A configuration with these seeds, and of the problems those whose names contain one of these texts.

    Raises:
        StudyError: if there is no such problem, or a seed is repeated.
    """
    found = dict(configuration)
    if problems is not None:
        texts = [text.lower() for text in problems]
        chosen = [p for p in found["problems"] if any(text in p["name"].lower() for text in texts)]
        if not chosen:
            names = ", ".join(repr(p["name"]) for p in found["problems"])
            raise StudyError(f"{origin} has no problem like {', '.join(problems)}; it has {names}")
        found["problems"] = chosen
    if seeds is not None:
        found["seeds"] = list(seeds)
    if repeated := [seed for seed, count in Counter(found["seeds"]).items() if count > 1]:
        raise StudyError(f"{origin} repeats the seed {repeated[0]}; a seed is one replicate: name each once")
    return found


def numbers(name: str, given: int | Sequence[int] | None) -> Sequence[int] | None:
    """Widths or seeds as a list; a single width is one, a number of seeds that many.

    Raises:
        StudyError: if they are no whole numbers.
    """
    if given is None:
        return None
    if isinstance(given, Integral) and not isinstance(given, bool):
        if name == "widths":
            return [int(given)]
        if (count := int(given)) > MAX_CELLS:
            raise StudyError(f"seeds asks for {count} seeds, and at most {MAX_CELLS} cells are planned")
        return list(range(count))
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise StudyError(f"{name} must be whole numbers, got {given!r}")
    found = list(given)
    if wrong := [item for item in found if isinstance(item, bool) or not isinstance(item, Integral)]:
        raise StudyError(f"{name} must be whole numbers, got {wrong[0]!r}")
    return [int(item) for item in found]
