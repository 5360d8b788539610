"""What an ensemble cell takes, foretold from the sizes of its network."""

import time
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from ntkgap.studies.estimate import PROCESS_BYTES, Estimate, Work, this_machine
from ntkgap.studies.limit_cost import limit_entries
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.network_sizes import PROBES, SizesByWidth
from ntkgap.studies.spec import DataSpec

if TYPE_CHECKING:
    from ntkgap.studies.uncertainty.ensembles.problem import EnsembleProblem

# Members are trained so many at once that what a step touches takes about this many bytes: more would leave the
# cache, fewer would wait for Python.
TOGETHER_BYTES = 12e6

# Examples that show the sizes; more would show the same.
EXAMPLES = 3

# Ensembles of a cell: deep and randomised-prior.
ENSEMBLES = 2

# Speed of the members' products of float32, many small ones in one call, relative to a large one of float64; and
# operations for every entry of an array that a step passes over, at the same speed.
BATCHED, PASSES = 0.9, 150.0

# Calls of torch functions a step takes, for the whole batch of members, and for every layer.
CALLS, CALLS_A_LAYER = 8, 22

# Ensembles that are drawn for the floor, times the flops of an eigendecomposition; see ``CellWork``.
DECOMPOSITION, LIMIT_ENTRY = 10.0, 25.0


def estimate(problem: "EnsembleProblem", width: int) -> Estimate:
    """Operations, memory and time of a cell; seeds are alike.

    Raises:
        NtkgapError: if the data cannot be loaded or the network not be built.
    """
    data = problem.data if problem.data.fingerprint else problem.data.pinned()
    few = data.model_copy(update={"n_train": EXAMPLES, "n_test": 1})
    sizes, entries, seconds_to_load = _family(problem.model, few.model_dump_json())
    parameters = sizes.at(width).parameters
    once, rest = prediction_work(problem, entries), network_work(problem, parameters, width)
    machine = this_machine()
    foretold = machine.seconds(once)
    memory = PROCESS_BYTES + 8.0 * 12 * (data.n_train + data.n_test) ** 2 + 8.0 * parameters * (data.n_train + 10)
    return Estimate((once + rest).flops, memory, seconds_to_load + foretold + machine.seconds(rest), foretold)


def prediction_work(problem: "EnsembleProblem", limit_entries_a_pair: float) -> Work:
    """The kernels of infinite width, their decompositions, and the draws for the floor; once for all widths."""
    n, k = problem.data.n_train, problem.data.n_test
    times = len(problem.training.observed_steps)
    pairs = (n + k) * (n + k + 3) / 2
    draw = Work(4.0 * k**2 * problem.members + DECOMPOSITION * k**3 / 2, calls=25)
    return Work(LIMIT_ENTRY * limit_entries_a_pair * pairs + 6 * DECOMPOSITION * n**3) + 200 * times * draw


def network_work(problem: "EnsembleProblem", parameters: int, width: int) -> Work:
    """Training of both ensembles and of Laplace's network, and Laplace's Gram matrix."""
    n, k, depth = problem.data.n_train, problem.data.n_test, problem.model.depth
    together = min(members_together(parameters, n * width * depth), problem.members)
    touched = 3 * parameters + 4 * n * width * depth
    step = Work((6.0 * parameters * n + PASSES * touched / 8) / BATCHED)
    calls = Work(calls=(CALLS + CALLS_A_LAYER * (depth + 1)) / together)
    steps = ENSEMBLES * problem.members * problem.training.steps
    laplace = Work(8.0 * parameters * n * (n + k) + DECOMPOSITION * n**3, calls=400)
    alone = Work(12.0 * parameters * n, calls=CALLS + CALLS_A_LAYER * (depth + 1))
    return steps * (step + calls) + problem.training.steps * alone + laplace


def members_together(parameters: int, activations: int) -> int:
    """How many members are trained at once; what a step touches are parameters, gradients and activations."""
    return max(1, int(TOGETHER_BYTES / (4 * (3 * parameters + 4 * activations))))


@lru_cache(maxsize=64)
def _family(model: ModelSpec, data: str) -> tuple[SizesByWidth, float, float]:
    """Sizes by width, entries of the limit's arrays for a pair of examples, and seconds in which data were loaded.

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

    return SizesByWidth(build, train.x), limit_entries(build(PROBES[0]), train.x), seconds
