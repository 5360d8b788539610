"""What every study has: settings, a grid over problems, widths and seeds, and claims."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from ntkgap.errors import NtkgapError, StudyError, StudyWarning
from ntkgap.models.devices import find_device
from ntkgap.one_line import line_of
from ntkgap.studies.cells import MAX_CELLS, grid_cells, supplies_of
from ntkgap.studies.changes import Changes
from ntkgap.studies.claim import Claim
from ntkgap.studies.claim_keys import present_key
from ntkgap.studies.computing import Computing
from ntkgap.studies.faults import validate
from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.presets import choose, descriptions, numbers, read_preset, refuse_unknown
from ntkgap.studies.problem import BaseProblem
from ntkgap.studies.spec import Seed
from ntkgap.studies.statistics import seeds_advice
from ntkgap.studies.verdict import Verdict


class BaseStudy(Computing):
    """A study: problems × widths × seeds, and the claims judged over the widths of each problem.

    A study of one's own is a subclass with a ``name``, ``problems`` of its own kind, ``measure`` and ``claims``.
    It may show figures and tables besides (see the page on writing a study).

    Its presets are YAML files in a folder ``presets`` beside its module, or ``written`` in it as mappings.

    A problem may vary other settings too, at one width: those cells carry the setting and its value under
    ``"variation"``, which is empty for all others. What theory says along such an axis stands in ``axis_notes``.

    What theory promises is said in one short sentence in ``promise``, for readers who do not know the field.

    A study that compares networks of one seed over width, in ``complete``, says so by ``compares_widths``: where a
    verdict on such a comparison is open, seeds are then added at the narrower widths too.

    Attributes:
        description: what a preset is for.
        seeds: seeds of the replicates.
        problems: networks on data.
        leave_out: keys of claims that are not judged, chosen before anything is measured; the page names them.
        device: where cells are computed, ``"cpu"``, ``"cuda"`` (workers take its GPUs in turn), ``"cuda:1"`` or
            ``"mps"``; no part of what a cell is.

    Example:
        >>> sorted(ng.OptimizationStudy.presets())
        ['paper', 'quick', 'smoke', 'standard', 'thorough']
        >>> study = ng.OptimizationStudy.preset("smoke", widths=[8, 16], seeds=2)
        >>> study.cells()[0]["width"], isinstance(study, ng.studies.BaseStudy)
        (8, True)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: ClassVar[str]
    version: ClassVar[int] = 1
    axes: ClassVar[Sequence[str]] = ("problem", "width", "seed", "variation")
    promise: ClassVar[str] = ""
    axis_notes: ClassVar[Mapping[str, str]] = {}
    written: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    compares_widths: ClassVar[bool] = False

    description: str = ""
    seeds: list[Seed] = Field(min_length=1)
    problems: Sequence[BaseProblem] = Field(min_length=1)
    # Left out where it is empty: configurations of older stores have no such key.
    leave_out: list[str] = Field(default=[], exclude_if=lambda keys: not keys)

    device: str = Field(default="cpu", exclude=True)

    def __repr__(self) -> str:
        return line_of(self, problems=len(self.problems), seeds=len(self.seeds), description=self.description)

    __str__ = __repr__

    @field_validator("leave_out")
    @classmethod
    def _old_keys_are_read(cls, keys: list[str]) -> list[str]:
        return [present_key(key) for key in keys]

    @model_validator(mode="after")
    def _claims_left_out_are_known(self) -> Self:
        known = {claim.key for claim in self.claims()} if self.leave_out else set()
        if unknown := [key for key in self.leave_out if key not in known]:
            raise ValueError(f"leave_out: there is no claim {unknown[0]!r}; there are {', '.join(sorted(known))}")
        return self

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
        return validate(cls, configuration, origin, f"the study {cls.name!r}")

    @classmethod
    def presets(cls) -> dict[str, str]:
        """Names and descriptions of the presets that come with the study."""
        return descriptions(cls)

    @classmethod
    def preset(
        cls,
        name: str,
        *,
        model: Any = None,
        data: Any = None,
        widths: int | Sequence[int] | None = None,
        seeds: int | Sequence[int] | None = None,
        problems: Sequence[str] | None = None,
        n_train: int | None = None,
        n_test: int | None = None,
        target: str | None = None,
        train: Any = None,
        device: str | None = None,
        **unknown: Any,
    ) -> Self:
        """The study a preset describes, or a changed one.

        Args:
            name: name of a preset, or path of a YAML file of the same form.
            model: replaces the network of every problem by one's own: a function ``build(width)`` that returns an
                ``nn.Module``, its place ``"my_model.py:build"`` or ``"package.module:build"``, a network as it is,
                or a mapping with ``factory`` and ``options``. By their names the function may ask for
                ``generator``, ``in_shape``, ``in_features``, ``in_channels`` and ``n_outputs`` too; without a
                ``width`` it is one network, judged at one place of the axis. Problems that then are alike are
                asked once; those that the network does not fit are left out, with a warning that says why.
            data: replaces the data set of every problem (its options are dropped; sizes stay): a name, a file
                such as ``"mine.npz:images,labels"``, or the examples themselves, as for ``load_data``.
            widths: replaces the widths of every problem; variations are kept where theirs is among them.
            seeds: replaces the seeds; a number asks for so many.
            problems: keeps the problems whose names contain one of these texts, case ignored.
            n_train: replaces the number of training examples.
            n_test: replaces the number of test examples.
            target: name of the column of targets, where data are a table.
            train: how you train, measured besides in the optimization study, in place of the preset's training in
                the others. A function (model, data, seed) -> None or its place; or a mapping with ``optimizer`` (a
                name, a class of ``torch.optim``, a function), ``loss`` (a name, a class of ``torch.nn``, a
                function), ``learning_rate``, ``steps``, ``momentum``, ``weight_decay``, ``clip``, ``batch_size``
                and ``schedule`` (a function).
            device: replaces the device, see there.
            unknown: refused; a YAML file says what else a study is to be.

        Raises:
            StudyError: if there is no such preset, problem, device or keyword, a value is out of range, or the
                network or the data fit none of the problems.
        """
        origin = f"preset {name!r}"
        refuse_unknown(origin, unknown)
        changes = Changes.of(model, data, target, numbers("widths", widths), n_train, n_test)
        found = cls.build(read_preset(cls, name), origin)
        chosen_device, configuration = device or found.device, found.configuration()
        left_out = configuration.pop("leave_out", [])
        configuration = choose(configuration, origin, problems, numbers("seeds", seeds))
        study = changes.apply(cls.build, configuration, origin)
        if train is not None:
            study = cls.build(cls._with_training(study.configuration(), train), f"{origin} with train=")
        find_device(chosen_device)
        # A changed study may not have all claims of the preset.
        known = {claim.key for claim in study.claims()}
        left_out = [key for key in left_out if key in known]
        return study.model_copy(update={"device": str(chosen_device), "leave_out": left_out})

    @classmethod
    def _with_training(cls, configuration: dict[str, Any], train: Any) -> dict[str, Any]:
        """A configuration whose problems are trained as a user does.

        Raises:
            StudyError: if the study does not take that.
        """
        raise StudyError(f"the study {cls.name!r} trains as its presets say and takes no train=")

    @classmethod
    def title(cls) -> str:
        """What a reader calls the study, in a heading."""
        return f"The {cls.name} promise"

    @classmethod
    def concerns(cls, preset: str, problems: Sequence[str] | None = None) -> bool:
        """Whether a preset is one of this study, with problems whose names contain one of these texts."""
        try:
            study = cls.build(read_preset(cls, preset))
        except StudyError:
            return False
        texts = [""] if problems is None else [text.lower() for text in problems]
        return any(text in problem.name.lower() for problem in study.problems for text in texts)

    def cells(self) -> list[dict[str, Any]]:
        """Every point of the grid.

        Raises:
            StudyError: if two cells have the same place on the axes.
        """
        return grid_cells(self.problems, self.seeds, self.axes)

    def configuration(self) -> dict[str, Any]:
        """The study as ``build`` takes it."""
        return self.model_dump(mode="json", exclude_none=True)

    def cost(self, cell: Mapping[str, Any]) -> float:
        """What tells cheap cells from expensive ones: the width."""
        return float(cell["width"])

    def supplies(self) -> dict[str, Any]:
        """Factories and arrays that the user has given to this process, for workers.

        Raises:
            NtkgapError: if the user has not given one.
        """
        return supplies_of(self.problems, self.device)

    @classmethod
    def problem_of(cls, cell: Mapping[str, Any]) -> Any:
        """The problem that a cell made by ``cells`` is of, at that cell's width alone."""
        settings = {k: v for k, v in cell.items() if k not in ("problem", "width", "seed", "variation")}
        problem = {"name": cell["problem"], "widths": [cell["width"]], **settings}
        return cls.model_validate({"seeds": [cell["seed"]], "problems": [problem]}).problems[0]

    def check(self) -> None:
        """Try every problem's data and network, so that mistakes show before the sweep starts.

        Numbers of seeds that cost more than they tell are warned of.

        Raises:
            NtkgapError: saying what cannot be loaded or built.
        """
        find_device(self.device)
        if advice := seeds_advice(len(set(self.seeds))):
            warnings.warn(advice, StudyWarning, stacklevel=2)
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

    def judged_claims(self) -> list[Claim]:
        """The claims without those that are left out."""
        return [claim for claim in self.claims() if claim.key not in self.leave_out]

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
