"""What a cell of the optimization study takes, foretold from narrow networks of the same family."""

import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from ntkgap.data import Dataset
from ntkgap.errors import MemoryWarning, StudyError
from ntkgap.practice.gram_systems import LARGEST_GRAM
from ntkgap.studies.estimate import Estimate, Work, physical_memory, this_machine
from ntkgap.studies.limit_cost import limit_entries
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.network_sizes import PROBES, SizesByWidth
from ntkgap.studies.optimization.race_work import race_work
from ntkgap.studies.optimization.work import CellWork
from ntkgap.studies.spec import DataSpec

if TYPE_CHECKING:
    from ntkgap.studies.optimization.study import OptimizationProblem

# Examples that show the sizes; more would show the same.
EXAMPLES = 3


@dataclass(frozen=True)
class Family:
    """Networks of all widths on one data set.

    Attributes:
        sizes: by width.
        limit_entries: entries that the infinite-width kernel computes for a pair of examples.
        seconds_to_load: time in which the data were loaded just now.
    """

    sizes: SizesByWidth
    limit_entries: float
    seconds_to_load: float


def estimate(problem: "OptimizationProblem", width: int) -> Estimate:
    """Operations, memory and time of a cell; seeds are alike.

    Raises:
        NtkgapError: if the data cannot be loaded or the network not be built.
    """
    data = problem.data if problem.data.fingerprint else problem.data.pinned()
    few = data.model_copy(update={"n_train": EXAMPLES, "n_test": 1})  # how many there are changes no size
    family = _family(problem.model, few.model_dump_json())
    cell = CellWork(family.sizes.at(width), data.n_train, data.n_test, family.limit_entries)
    limit, rest = cell.limit(), cell_work(problem, cell)
    machine = this_machine()
    once, seconds = machine.seconds(limit), family.seconds_to_load + machine.seconds(limit + rest)
    return Estimate((limit + rest).flops, cell.memory(), seconds, once if problem.model.one_limit else 0.0)


def cell_work(problem: "OptimizationProblem", cell: CellWork) -> Work:
    """All measurements of a cell, but for the infinite-width kernel."""
    work = (
        cell.start()
        + cell.natural_gradient(problem.natural_gradient.steps)
        + cell.gradient_descent(problem.gradient_descent.steps, problem.gradient_descent.observations)
    )
    search = problem.search
    if search is not None and cell.sizes.trainable <= search.max_parameters:
        work += cell.search(search.starts, search.steps, flips=problem.model.architecture == "shallow")
    race = problem.race
    if race is not None and cell.sizes.trainable <= race.max_parameters:
        work += race_work(race, cell, problem.gradient_descent.observations)
    return work


def check_sizes(problem: "OptimizationProblem", train: Dataset) -> None:
    """Refuse Gram matrices that are too large to be decomposed; warn of cells that this machine cannot hold.

    Args:
        problem: networks on data.
        train: the training set of any seed.

    Raises:
        StudyError: naming the size, the limit and the remedy.
    """
    rows = train.y.numel()
    if rows > LARGEST_GRAM:
        raise StudyError(
            f"{problem.name!r}: {len(train)} examples with {train.n_outputs} outputs make a Gram matrix of {rows} "
            f"rows, and at most {LARGEST_GRAM} are decomposed; the study needs all eigenvalues, which products "
            "with the matrix alone do not give: use fewer examples (n_train) or targets"
        )
    needed, memory = estimate(problem, max(problem.widths)).bytes, physical_memory()
    if needed > memory:
        warnings.warn(
            f"{problem.name!r} needs about {needed / 1e9:.0f} GB at width {max(problem.widths)}, and this machine "
            f"has {memory / 1e9:.0f} GB; use fewer examples, smaller widths or a larger machine",
            MemoryWarning,
            stacklevel=2,
        )


@lru_cache(maxsize=64)
def _family(model: ModelSpec, data: str) -> Family:
    """Count sizes on a few examples.

    Args:
        model: the network up to its width.
        data: a ``DataSpec`` of few examples, as JSON.
    """
    spec = DataSpec.model_validate_json(data)
    start = time.perf_counter()
    train, _ = spec.load(seed=0)
    seconds = time.perf_counter() - start
    train = train.to(torch.float64)

    def build(width: int) -> torch.nn.Module:
        return model.build(train, width, torch.Generator().manual_seed(0)).double()

    return Family(SizesByWidth(build, train.x), limit_entries(build(PROBES[0]), train.x), seconds)
