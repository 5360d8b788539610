"""How the cells of a study are computed, on its device: one by one, or several seeds at once."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ntkgap.studies.cells import forecast_bytes, take_supplies
from ntkgap.studies.device import CPU, note_on, on, with_less_memory
from ntkgap.studies.device_memory import check_fits, room_on
from ntkgap.studies.faults import Checked
from ntkgap.studies.findings import Findings
from ntkgap.studies.stacks import stacks_of


class Computing(Checked, ABC):
    """What measures a problem at a width and a seed, and what workers call to have that done.

    A study whose ``measure_seeds`` trains networks of several seeds at once says so by ``seeds_at_once``: on a GPU
    cells that differ by their seed alone are then computed in one call.
    """

    compute: ClassVar[str]
    seeds_at_once: ClassVar[bool] = False

    if TYPE_CHECKING:
        device: str  # a setting of every study, which stands among the others

    def __init_subclass__(cls, **settings: Any) -> None:
        """Name the function that computes a cell, where workers find it."""
        super().__init_subclass__(**settings)
        cls.compute = f"{cls.__module__}:{cls.__qualname__}.compute_cell"

    @classmethod
    @abstractmethod
    def problem_of(cls, cell: Mapping[str, Any]) -> Any:
        """The problem that a cell is of, at that cell's width alone."""

    @classmethod
    def memory(cls, cell: Mapping[str, Any], seeds: int = 1) -> float:
        """A forecast of the bytes that a cell needs; zero where its network cannot be built.

        Args:
            cell: which.
            seeds: how many that differ by their seed alone are computed at once.
        """
        return forecast_bytes(cls, cell, seeds)

    def device_memory(self, cell: Mapping[str, Any], seeds: int = 1) -> float:
        """The same of the device that cells are computed on; zero on the CPU."""
        return 0.0 if self.device == "cpu" else self.memory(cell, seeds)

    @property
    def compute_at_once(self) -> str:
        """Where workers find the function that computes several cells, ``compute_cells``."""
        return f"{self.compute}s"

    def stacks(self, cells: Sequence[Mapping[str, Any]], workers: int) -> list[list[int]]:
        """Which cells are computed in one call, by their places; each alone on the CPU.

        Args:
            cells: those that are to be computed.
            workers: how many share the device.
        """
        room = room_on(self.device) if self.seeds_at_once and cells else None
        return [[i] for i in range(len(cells))] if room is None else stacks_of(cells, room, workers, self.memory)

    def most_workers(
        self, workers: int, cells: Sequence[Mapping[str, Any]], seeds: Sequence[int] | None = None
    ) -> int:
        """So many workers, or as many as the device has room for, by the forecast of memory.

        Args:
            workers: how many there would be.
            cells: those that are to be computed.
            seeds: how many are computed at once with each, itself included; each alone if not given.

        Warns:
            StudyWarning: if it has room for fewer.
        """
        room = room_on(self.device) if cells else None
        if room is None:
            return workers
        needs = [self.memory(cell, n) for cell, n in zip(cells, seeds or [1] * len(cells), strict=True)]
        return room.capped(workers, needs)

    @classmethod
    def compute_cell(cls, cell: dict[str, Any], supplies: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Measure one cell; the same configuration always gives the same numbers.

        Args:
            cell: configuration made by ``cells``.
            supplies: what the process that the user runs has sent.

        Returns:
            ``scalars``, ``curves``, ``notes`` and ``diverged``. A scalar is NaN where it could not be decided and
            infinite where training diverged.
        """
        device = take_supplies(supplies)
        if device != CPU:
            check_fits(cls.memory(cell), device)
        with on(device):
            notes = [] if device == CPU else [note_on(device)]
            problem = cls.problem_of(cell)
            findings = with_less_memory(lambda: cls.measure(problem, cell["width"], cell["seed"]), notes)
            findings.notes += notes
            return findings.result()

    @classmethod
    def compute_cells(
        cls, cells: Sequence[dict[str, Any]], supplies: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Measure cells that differ by their seed alone, at once: the numbers of ``compute_cell`` up to rounding.

        Whatever one of them raises is raised for all.

        Args:
            cells: configurations made by ``cells``.
            supplies: as of ``compute_cell``.

        Returns:
            What ``compute_cell`` does, one a cell.
        """
        device, seeds = take_supplies(supplies), [cell["seed"] for cell in cells]
        if device != CPU:
            check_fits(cls.memory(cells[0], len(cells)), device)
        with on(device):
            found = cls.measure_seeds(cls.problem_of(cells[0]), cells[0]["width"], seeds)
        notes = [] if device == CPU else [note_on(device)]
        notes.append(f"{len(seeds)} seeds were trained at once: numbers are those of each alone up to rounding")
        for findings in found:
            findings.notes += notes
        return [findings.result() for findings in found]

    @classmethod
    @abstractmethod
    def measure(cls, problem: Any, width: int, seed: int) -> Findings:
        """Measure a problem at one width with one seed, beside what theory predicts."""

    @classmethod
    def measure_seeds(cls, problem: Any, width: int, seeds: Sequence[int]) -> list[Findings]:
        """Measure a problem at one width with several seeds."""
        return [cls.measure(problem, width, seed) for seed in seeds]
