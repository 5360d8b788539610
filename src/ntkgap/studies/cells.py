"""The cells of a study: planned from its grid, and what they need where they are computed."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ntkgap.errors import NtkgapError, StudyError
from ntkgap.studies import factories, given_data
from ntkgap.studies.cost import PROCESS_BYTES
from ntkgap.studies.device import of_worker
from ntkgap.studies.problem import BaseProblem
from ntkgap.sweep.parcels import FILES

if TYPE_CHECKING:
    from ntkgap.studies.computing import Computing

# A sweep of so many cells is planned in a few seconds.
MAX_CELLS = 100_000

# Forecasts by configuration: seeds are alike.
_BYTES: dict[str, float] = {}


def grid_cells(problems: Sequence[BaseProblem], seeds: Sequence[int], axes: Sequence[str]) -> list[dict[str, Any]]:
    """Every point of the grid.

    Raises:
        StudyError: if two cells have the same place on the axes.
    """
    cells = []
    for problem in problems:
        pinned = problem.pinned()
        for variation, grid in pinned.grids().items():
            settings = grid.model_dump(mode="json", exclude={"name", "widths", "data", "variations"})
            settings["data"] = grid.data.model_dump(mode="json", exclude_none=True)
            cells += [
                {"problem": problem.name, "width": width, "seed": seed, "variation": variation, **settings}
                for width in sorted(set(grid.widths))
                for seed in sorted(set(seeds))
            ]
    places = {tuple(cell[axis] for axis in axes) for cell in cells}
    if len(places) < len(cells):
        raise StudyError("two problems have the same name; give each a name of its own")
    return cells


def forecast_bytes(study: "type[Computing]", cell: Mapping[str, Any], seeds: int = 1) -> float:
    """The bytes that a cell needs, or several seeds at once; zero where its network cannot be built."""
    key = json.dumps({k: v for k, v in cell.items() if k != "seed"}, sort_keys=True)
    if key not in _BYTES:
        try:
            _BYTES[key] = study.problem_of(cell).sizes(cell["width"]).bytes
        except NtkgapError:
            _BYTES[key] = 0.0
    return _BYTES[key] + (seeds - 1) * max(0.0, _BYTES[key] - PROCESS_BYTES)


def supplies_of(problems: Sequence[BaseProblem], device: str) -> dict[str, Any]:
    """Factories and arrays that the user has given to this process, and the device, for workers.

    Raises:
        NtkgapError: if the user has not given one.
    """
    code = {key: name for problem in problems for key, name in problem.own_code.items()}
    every = [one for problem in problems for one in problem.all_data]
    data = {key for one in every for key in one.given_keys}
    files: dict[str, list[str]] = {}
    for one in every:
        for folder, names in one.own_files().items():
            files[folder] = sorted({*files.get(folder, []), *names})
    own_device = "" if device == "cpu" else device
    found = {"code": factories.parcels(code), "data": given_data.files(data), FILES: files, "device": own_device}
    return {key: value for key, value in found.items() if value}


def take_supplies(supplies: Mapping[str, Any] | None) -> torch.device:
    """Take in what ``supplies_of`` made; the device to compute on."""
    if supplies:
        factories.receive(supplies.get("code", {}))
        given_data.receive(supplies.get("data", {}))
    return of_worker((supplies or {}).get("device", "cpu"))
