"""What a cell of the continual-learning study takes, foretold from the sizes of its network."""

import json
import time
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from ntkgap.studies.estimate import PROCESS_BYTES, Estimate, Work, this_machine
from ntkgap.studies.limit_cost import limit_entries
from ntkgap.studies.network_sizes import PROBES, SizesByWidth

if TYPE_CHECKING:
    from ntkgap.studies.continual.problem import ContinualProblem

# Examples a task that show the sizes; more would show the same.
EXAMPLES = 10

# An eigendecomposition of n rows, in units of n³; an entry of the arrays of an infinite-width kernel, in flops.
DECOMPOSITION, LIMIT_ENTRY = 10.0, 25.0

# Calls of torch functions a step, for every layer of it, and for every layer and output of a kernel.
CALLS, CALLS_A_LAYER, CALLS_A_KERNEL = 16, 16, 60

# Speed of float32 products of a training step relative to a large one of float64.
STEP = 1.2


def estimate(problem: "ContinualProblem", width: int) -> Estimate:
    """Operations, memory and time of a cell; seeds are alike.

    Raises:
        NtkgapError: if the data cannot be loaded or the network not be built.
    """
    few = problem.data.model_copy(update={"n_train": EXAMPLES, "n_test": EXAMPLES, "fingerprint": None})
    settings = problem.model_dump(mode="json", exclude={"variations"}) | {"widths": [PROBES[0]]}
    family = _family(type(problem), json.dumps(settings | {"name": "", "data": few.model_dump(mode="json")}))
    sizes = family.sizes.at(width)
    n, test, tasks = problem.data.n_train, problem.data.n_test, family.tasks
    points, outputs = tasks * (n + test), family.outputs
    steps, layers = problem.training.steps, family.layers

    batch = min(problem.training.batch_size or n, n)
    step = Work(
        3.0 * sizes.forward_flops * batch / STEP + 6.0 * sizes.trainable, calls=CALLS + CALLS_A_LAYER * layers
    )
    methods = problem.methods
    asked = [methods.joint, methods.ogd, methods.ewc, methods.replay]
    training = tasks * (sum(steps) + sum(map(bool, asked)) * steps[-1]) * step
    if methods.joint and problem.training.batch_size is None:
        training += tasks * steps[-1] * Work(3.0 * sizes.forward_flops * (tasks - 1) * n / STEP)
    if methods.replay:
        # Phase t takes t + 1 times as many steps.
        stored, more = methods.replay * (tasks - 1) / 2, (tasks - 1) / 2
        training += tasks * steps[-1] * (more * step)
        training += tasks * (1 + more) * steps[-1] * Work(3.0 * sizes.forward_flops * stored / STEP)
    if methods.ogd:
        stored = methods.ogd * (outputs if methods.ogd_directions == "all" else 1) * tasks / 2
        training += tasks * steps[-1] * Work(4.0 * stored * sizes.trainable)

    if problem.linearized:
        training += tasks * steps[-1] * (2.0 * step)

    rows = n * (outputs if problem.full_kernel else 1)
    pairs = outputs if problem.full_kernel else 1
    kernel = Work(
        2.0 * points * n * pairs**2 * width * layers + 6.0 * sizes.forward_flops * outputs * (points + n),
        calls=CALLS_A_KERNEL * layers * outputs,
    )
    solve = Work(DECOMPOSITION * rows**3 + 4.0 * rows * points * pairs)
    kernels = Work()
    if {"initial", "task_start"} & set(problem.kernels):
        kernels += kernel  # of the first task, with which all trainings begin
    if "initial" in problem.kernels:
        kernels += (tasks - 1) * kernel + tasks * solve
    if "task_start" in problem.kernels:
        kernels += len(steps) * ((tasks - 1) * kernel + tasks * solve)
    once = Work()
    if "infinite" in problem.kernels:
        once = Work(LIMIT_ENTRY * family.entries * points**2 / 2 + tasks * DECOMPOSITION * n**3)

    machine = this_machine()
    entries = points * n * pairs**2 if {"initial", "task_start"} & set(problem.kernels) else 0
    entries += points**2 if "infinite" in problem.kernels else 0
    memory = PROCESS_BYTES + 8.0 * 4 * entries + 24.0 * sizes.trainable
    foretold = machine.seconds(once) + family.seconds
    work = training + kernels
    return Estimate((once + work).flops, memory, foretold + machine.seconds(work), foretold)


class _Family:
    """What all widths of a problem have in common."""

    def __init__(self, problem: "ContinualProblem") -> None:
        start = time.perf_counter()
        stream = problem.load(seed=0).to(torch.float64)
        self.seconds = time.perf_counter() - start
        self.tasks, self.outputs = len(stream), stream.n_outputs
        template = stream.template()

        def build(width: int) -> torch.nn.Module:
            return problem.model.build(template, width, torch.Generator().manual_seed(0)).double()

        self.sizes = SizesByWidth(build, template.x[:3])
        weights = (torch.nn.Linear, torch.nn.Conv2d)
        self.layers = sum(isinstance(module, weights) for module in build(PROBES[0]).modules())
        self.entries = limit_entries(build(PROBES[0]), template.x[:2]) if "infinite" in problem.kernels else 0.0


@lru_cache(maxsize=64)
def _family(kind: "type[ContinualProblem]", problem_json: str) -> _Family:
    return _Family(kind.model_validate_json(problem_json))
