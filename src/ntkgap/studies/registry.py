"""The studies there are: ours, those that installed packages bring along, and those that a user names."""

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ntkgap.errors import StudyError
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.continual import ContinualStudy
from ntkgap.studies.diagnosis import DiagnosisStudy
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.uncertainty import UncertaintyStudy
from ntkgap.sweep.user_files import describe_error, load_file

# Of packages, in their ``[project.entry-points."ntkgap.studies"]``.
GROUP = "ntkgap.studies"

STUDIES: dict[str, type[BaseStudy]] = {
    study.name: study for study in (OptimizationStudy, UncertaintyStudy, ContinualStudy, DiagnosisStudy)
}

_GIVEN: dict[str, tuple[str, type[BaseStudy]]] = {}
"""Studies that the user has named, by name: the place of each, and the class."""


def study_names() -> list[str]:
    """Names of the studies that can be found without being given: ours first."""
    return [*STUDIES, *(name for name in _installed() if name not in STUDIES), *_GIVEN]


def find_study(name: str) -> type[BaseStudy]:
    """The study of a name, or the one at a place, which is known by its name from then on.

    Args:
        name: ``"optimization"``, the name of an installed study, ``"package.module:Class"`` or
            ``"my_study.py:Class"``. Code at a place is run: never take it from a store (see ``known_study``).

    Raises:
        StudyError: if there is none, it cannot be loaded, or another study has its name.

    Example:
        >>> ng.studies.find_study("optimization") is ng.OptimizationStudy
        True
    """
    if ":" not in name:
        return known_study(name)
    study = _at(name)
    if study in STUDIES.values():
        return study
    place = study.compute
    if study.name in (*STUDIES, *_installed()) or _GIVEN.get(study.name, (place,))[0] != place:
        raise StudyError(f"{name} calls itself {study.name!r}, as another study does; give it another name")
    _GIVEN[study.name] = place, study
    return study


def known_study(name: str) -> type[BaseStudy]:
    """The study of a name: ours, an installed one, or one that the user has given to this process.

    Args:
        name: as it stands in a store, which anybody may have written: nothing is loaded that is not installed.

    Raises:
        StudyError: if there is none, or an installed one cannot be loaded.
    """
    if name in _GIVEN:
        return _GIVEN[name][1]
    if name in STUDIES:
        return STUDIES[name]
    if name in _installed():
        return _checked(_load(_installed()[name]), name)
    raise StudyError(
        f"unknown study {name!r}; choose one of {', '.join(study_names())}, or give the place of your own, "
        "my_study.py:Class (to a report as --study, in Python to find_study)"
    )


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:
        raise StudyError(
            f"the study {point.name!r} of {point.value} cannot be loaded: {describe_error(error)}"
        ) from error


def _at(place: str) -> type[BaseStudy]:
    where, _, name = place.rpartition(":")
    if where.endswith(".py"):
        module = load_file(Path(where))
    else:
        try:
            module = importlib.import_module(where)
        except Exception as error:
            raise StudyError(f"cannot import {where!r}: {describe_error(error)}") from error
    study = _checked(getattr(module, name, None), place)
    if where.endswith(".py"):  # where workers find it
        study.compute = f"{Path(where).expanduser().absolute()}:{name}.compute_cell"
    return study


def _checked(found: object, place: str) -> type[BaseStudy]:
    if not (isinstance(found, type) and issubclass(found, BaseStudy)):
        what = "nothing" if found is None else type(found).__name__
        raise StudyError(f"{place} is no study but {what}; a study is a subclass of ng.studies.BaseStudy")
    if not isinstance(getattr(found, "name", None), str) or not found.name.isidentifier():
        raise StudyError(f"the study {place} needs a name, one word: name: ClassVar[str] = 'mine'")
    return found
