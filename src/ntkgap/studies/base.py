"""What the studies have in common: presets, a grid over problems, widths and seeds, and claims."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from ntkgap.errors import NtkgapError, StudyError
from ntkgap.paths import expanded, is_file
from ntkgap.studies.claim import Claim
from ntkgap.studies.estimate import Estimate
from ntkgap.studies.faults import faults
from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.spec import DataSpec, Seed, Spec, Width
from ntkgap.studies.variations import Variations, varied
from ntkgap.studies.verdict import Verdict
from ntkgap.studies.yaml_text import MAX_CHARACTERS, read_yaml

# A network of so many layers is built and traced, and a sweep of so many cells planned, in a few seconds.
MAX_DEPTH, MAX_CELLS = 100, 100_000


class BaseProblem(Spec, ABC):
    """One network family on one data set, over widths.

    Attributes:
        name: what a reader calls it.
        data: the data.
        widths: the widths.
        variations: what is varied besides, at a fixed width.
    """

    name: str
    data: DataSpec
    widths: list[Width] = Field(min_length=1)
    variations: Variations | None = None

    @model_validator(mode="after")
    def _depth_is_in_reach(self) -> Self:
        depth = getattr(getattr(self, "model", None), "depth", 1)
        if depth > MAX_DEPTH:
            raise ValueError(f"model: depth must be at most {MAX_DEPTH}, got {depth}")
        return self

    @model_validator(mode="after")
    def _variations_are_valid(self) -> Self:
        self.grids()
        return self

    def grids(self) -> dict[str, Self]:
        """The problem as it stands, at its widths and that of its variations, and each of its variations.

        Returns:
            Problems by what tells them apart: ``""`` for the first, then ``"model.alpha=10.0"`` and the like.

        Raises:
            ValueError: if a variation is not valid.
        """
        if self.variations is None:
            return {"": self}
        widths = sorted({*self.widths, self.variations.width})
        return {"": self.model_copy(update={"widths": widths}), **varied(self, self.variations)}

    @abstractmethod
    def describe(self) -> str:
        """What was trained on what and for how long, in a line for the report."""

    @abstractmethod
    def check(self) -> None:
        """Load the data once and build the narrowest network, so that mistakes show before the sweep starts.

        Raises:
            NtkgapError: saying what cannot be loaded or built.
        """


class BaseStudy(BaseModel, ABC):
    """A study: problems × widths × seeds, and the claims judged over the widths of each problem.

    A problem may vary other settings too, at one width: those cells carry the setting and its value under
    ``"variation"``, which is empty for all others. What theory says along such an axis stands in ``axis_notes``.

    Attributes:
        description: what a preset is for.
        seeds: seeds of the replicates.
        problems: networks on data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: ClassVar[str]
    version: ClassVar[int]
    compute: ClassVar[str]
    axes: ClassVar[Sequence[str]] = ("problem", "width", "seed", "variation")
    axis_notes: ClassVar[Mapping[str, str]] = {}

    description: str = ""
    seeds: list[Seed] = Field(min_length=1)
    problems: Sequence[BaseProblem] = Field(min_length=1)
    _costs: dict[str, float] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _grid_is_in_reach(self) -> Self:
        cells = len(set(self.seeds)) * sum(
            len(set(grid.widths)) for problem in self.problems for grid in problem.grids().values()
        )
        if cells > MAX_CELLS:
            raise ValueError(f"the grid has {cells} cells, and at most {MAX_CELLS} are planned: take fewer seeds")
        return self

    @classmethod
    def build(cls, configuration: Mapping[str, Any], origin: str = "the configuration") -> Self:
        """Validate a configuration.

        Args:
            configuration: as read from YAML.
            origin: where it comes from, for messages.

        Raises:
            StudyError: naming each entry that is wrong.
        """
        try:
            return cls.model_validate(dict(configuration))
        except ValidationError as error:
            wrong = faults(error, configuration)
            raise StudyError(f"{origin} does not describe the study {cls.name!r}: {wrong}") from error

    @classmethod
    def presets(cls) -> dict[str, str]:
        """Names and descriptions of the presets that come with ntkgap."""
        found = {}
        for file in sorted(cls._preset_folder().iterdir(), key=lambda f: f.name):
            if file.name.endswith(".yaml"):
                found[file.name.removesuffix(".yaml")] = str(read_yaml(file.read_text())["description"])
        return found

    @classmethod
    def preset(
        cls,
        name: str,
        *,
        widths: int | Sequence[int] | None = None,
        seeds: int | Sequence[int] | None = None,
        data: str | None = None,
        problems: Sequence[str] | None = None,
    ) -> Self:
        """The study a preset describes, or a changed one.

        Args:
            name: name of a preset, or path of a YAML file of the same form.
            widths: replaces the widths of every problem; variations are kept where theirs is among them.
            seeds: replaces the seeds; a number asks for so many.
            data: replaces the data set of every problem (its options are dropped; sizes stay).
            problems: keeps the problems whose names contain one of these texts, case ignored.

        Raises:
            StudyError: if there is no such preset or problem, or a value is out of range.
        """
        origin = f"preset {name!r}"
        widths, seeds = _numbers("widths", widths), _numbers("seeds", seeds)
        configuration = cls.build(cls._read_preset(name), origin).configuration()
        chosen = configuration["problems"]
        if problems is not None:
            texts = [text.lower() for text in problems]
            chosen = [p for p in chosen if any(text in p["name"].lower() for text in texts)]
            if not chosen:
                names = ", ".join(repr(p["name"]) for p in configuration["problems"])
                raise StudyError(f"{origin} has no problem like {', '.join(problems)}; it has {names}")
        for problem in chosen:
            if widths is not None:
                problem["widths"] = list(widths)
                if problem.get("variations", {}).get("width") not in problem["widths"]:
                    problem.pop("variations", None)
            if data is not None:
                problem["data"] |= {"name": data, "options": {}}
                problem["name"] = f"{problem['name'].split(',')[0]}, {Path(data).stem}"
        configuration["problems"] = chosen
        if seeds is not None:
            configuration["seeds"] = list(seeds)
        return cls.build(configuration, origin)

    @classmethod
    def concerns(cls, preset: str, problems: Sequence[str] | None = None) -> bool:
        """Whether a preset is one of this study, with problems whose names contain one of these texts."""
        try:
            study = cls.build(cls._read_preset(preset))
        except StudyError:
            return False
        texts = [""] if problems is None else [text.lower() for text in problems]
        return any(text in problem.name.lower() for problem in study.problems for text in texts)

    def cells(self) -> list[dict[str, Any]]:
        """Every point of the grid.

        Raises:
            StudyError: if two cells have the same place on the axes.
        """
        cells = []
        for problem in self.problems:
            pinned = problem.model_copy(update={"data": problem.data.pinned()})
            for variation, grid in pinned.grids().items():
                settings = grid.model_dump(mode="json", exclude={"name", "widths", "data", "variations"})
                settings["data"] = grid.data.model_dump(mode="json", exclude_none=True)
                cells += [
                    {"problem": problem.name, "width": width, "seed": seed, "variation": variation, **settings}
                    for width in sorted(set(grid.widths))
                    for seed in sorted(set(self.seeds))
                ]
        places = {tuple(c[axis] for axis in self.axes) for c in cells}
        if len(places) < len(cells):
            raise StudyError("two problems have the same name; give each a name of its own")
        return cells

    def configuration(self) -> dict[str, Any]:
        """The study as ``build`` takes it."""
        return self.model_dump(mode="json", exclude_none=True)

    @abstractmethod
    def estimate(self, cell: Mapping[str, Any]) -> Estimate:
        """Operations, memory and time that a cell will take on this machine.

        Raises:
            NtkgapError: if its data cannot be loaded or its network not be built.
        """

    def cost(self, cell: Mapping[str, Any]) -> float:
        """Seconds that a cell takes, whatever its seed; 0 if that cannot be said: such a cell fails at once."""
        alike = json.dumps({**cell, "seed": None}, sort_keys=True)
        if alike not in self._costs:
            try:
                self._costs[alike] = self.estimate(cell).seconds
            except NtkgapError:
                self._costs[alike] = 0.0
        return self._costs[alike]

    def check(self) -> None:
        """Try every problem's data and network, so that mistakes show before the sweep starts.

        Raises:
            NtkgapError: saying what cannot be loaded or built.
        """
        for problem in self.problems:
            for variation, grid in problem.grids().items():
                try:
                    grid.check()
                except NtkgapError as error:
                    if not variation:
                        raise
                    raise StudyError(f"{problem.name!r} with {variation}: {error}") from error

    @abstractmethod
    def claims(self) -> list[Claim]:
        """The claims this study judges."""

    def complete(self, cells: Sequence[Measured]) -> list[Measured]:
        """Add to cells what can be said of each only beside others, such as those of other seeds.

        Args:
            cells: all that are done.
        """
        return list(cells)

    def answers(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """What a reader in a hurry asks, answered; the first thing a report shows.

        Args:
            cells: those that are done, by problem.
            verdicts: of all claims on all problems.
        """
        return []

    def figures(self) -> list[StudyFigure]:
        """What this study draws besides its claims."""
        return []

    def tables(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """What this study lists besides its claims.

        Args:
            cells: those that are done, by problem.
            verdicts: of all claims on all problems.
        """
        return []

    @classmethod
    def _preset_folder(cls) -> Traversable:
        return resources.files("ntkgap.studies") / cls.name / "presets"

    @classmethod
    def _read_preset(cls, name: str) -> dict[str, Any]:
        source: Traversable | Path
        if name.endswith((".yaml", ".yml")):
            source = expanded(name)
            if not is_file(source):
                raise StudyError(
                    f"no preset file at {source.absolute()}; give the path of a YAML file, or choose one of "
                    f"{', '.join(cls.presets())}"
                )
        elif name in cls.presets():
            source = cls._preset_folder() / f"{name}.yaml"
        else:
            raise StudyError(
                f"unknown preset {name!r} of the study {cls.name!r}; choose one of {', '.join(cls.presets())}, "
                "or the path of a .yaml file of the same form"
            )
        try:
            with source.open(encoding="utf-8-sig") as file:
                configuration = read_yaml(file.read(MAX_CHARACTERS + 1))
        except (OSError, UnicodeDecodeError, StudyError) as error:
            raise StudyError(f"cannot read the preset {name}: {error}") from error
        if not isinstance(configuration, dict):
            raise StudyError(f"the preset {name} must be a YAML mapping with keys description, seeds, problems")
        return configuration


def _numbers(name: str, given: int | Sequence[int] | None) -> Sequence[int] | None:
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
