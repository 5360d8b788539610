"""The network of one width and seed, its stream, and how it learns."""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Generator, nn

from ntkgap.errors import KernelError, ModelError
from ntkgap.models.devices import in_float64
from ntkgap.practice import linearize
from ntkgap.practice.continual import Method, Observer, Plain, TaskRuns, train_tasks
from ntkgap.practice.training.network_modes import modes_differ
from ntkgap.studies.continual.own_training import OwnPlan
from ntkgap.studies.continual.plan import Plan, PresetPlan
from ntkgap.studies.continual.points import Points
from ntkgap.studies.continual.prediction import (
    Limit,
    PredictedScores,
    critical_rates,
    limit_of,
    predict_scores,
)
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.continual.task_kernels import Kernel, finite_kernel, limit_kernel
from ntkgap.studies.model import OwnModel
from ntkgap.studies.train_spec import TrainSpec

OF_TRAINING_ALONE = "what the network does in train mode alone, such as batch statistics, is no part of its kernel"


class Learner:
    """The network of one width and seed, its stream, and how it learns.

    Attributes:
        problem: what it is one of.
        stream: the tasks.
        points: all inputs of the stream.
        plan: how tasks are trained.
        kernels: those that predict this training of this network.
        trains_otherwise: why no kernel knows how it is trained; empty where that is not so.
        unpredictable: why those that are asked for do not; empty if they do.
        limit: the kernel of infinite width, where it is to predict and is known.
        no_limit: why it is not known.
    """

    def __init__(self, problem: ContinualProblem, width: int, seed: int) -> None:
        self.problem, self.width, self.seed = problem, width, seed
        self.stream = problem.load(seed)
        self.points = Points.of(self.stream)
        self.limit: Limit | None = None
        self.no_limit = ""
        self.plan: Plan = self._preset_plan() if problem.train is None else self._own_plan(problem.train)
        differs = modes_differ(self.network(), self.stream.tasks[0].train.x)
        self.trains_otherwise = OF_TRAINING_ALONE if differs else ""
        self.unpredictable = self.plan.unpredictable or self.trains_otherwise
        self.kernels = [] if self.unpredictable else problem.kernels

    def _preset_plan(self) -> PresetPlan:
        training, rates = self.problem.training, None
        if training.rule == "fraction_of_critical" or training.predictable:
            self._find_limit()
        if training.rule == "fraction_of_critical":
            assert training.fraction_of_critical is not None  # as the rule takes it
            critical = critical_rates(self.limit, in_float64(self.network()), self.points)
            rates = [training.fraction_of_critical * rate for rate in critical]
        return PresetPlan(training, rates, self.width, len(self.stream), self.problem.data.n_train)

    def _own_plan(self, spec: TrainSpec) -> OwnPlan:
        one_head = len({task.columns for task in self.stream.tasks}) == 1
        plan = OwnPlan(spec, len(self.stream), one_head, self.network())
        if not plan.unpredictable:
            self._find_limit()
        return plan

    def _find_limit(self) -> None:
        """The kernel of infinite width, or why there is none."""
        if "infinite" not in self.problem.kernels:
            return
        try:
            self.limit = limit_of(self.problem, self.width, self.seed)
        except (KernelError, ModelError) as error:
            if not isinstance(self.problem.model, OwnModel):
                raise
            self.no_limit = f"no infinite-width kernel: {error}"

    def network(self) -> nn.Module:
        """The network as it starts, always the same."""
        stream = int(np.random.SeedSequence([self.seed, self.width]).generate_state(1)[0])
        return self.problem.network(self.stream.template(), self.width, Generator().manual_seed(stream))

    def train(
        self, stop: int, method: Method, observe: Observer | None = None, linearized: bool = False
    ) -> TaskRuns:
        """Learn all tasks, each for so many steps; the network itself, or its linearized model."""
        return train_together([self], stop, method, None if observe is None else [observe], linearized)[0]

    def kernel_of(self, network: nn.Module, alone: bool) -> Kernel:
        """Of a network as it is; of every task alone, or with what couples it to later ones."""
        return finite_kernel(network, self.stream, self.points, self.problem.full_kernel, alone)

    @cached_property
    def initial_kernel(self) -> Kernel:
        """Of the network as it starts; that of the first task is kept, for all trainings begin so."""
        kernel = self.kernel_of(in_float64(self.network()), alone="initial" not in self.kernels)
        first = lru_cache(maxsize=1)(lambda: kernel(0))
        return lambda t: kernel(t) if t else first()

    def predictions(self) -> dict[str, PredictedScores]:
        """R at all training budgets by the kernels that are known before training, by name."""
        found = {}
        network = in_float64(self.network())
        with torch.no_grad():
            initial = network(self.points.x)
        steps, rates = self.plan.stops, self.plan.rates
        if (limit := self.limit) is not None and "infinite" in self.kernels:
            found["infinite"] = predict_scores(
                self.stream,
                self.points,
                limit_kernel(limit.gram, self.points),
                rates,
                steps,
                initial,
                limit.modes.__getitem__,
            )
        if "initial" in self.kernels:
            found["initial"] = predict_scores(self.stream, self.points, self.initial_kernel, rates, steps, initial)
        return found


def train_together(
    learners: Sequence[Learner],
    stop: int,
    method: Method,
    observers: Sequence[Observer] | None = None,
    linearized: bool = False,
) -> list[TaskRuns]:
    """Have the networks of several seeds learn all tasks at once, each for so many steps.

    Args:
        learners: of one problem and width.
        stop: steps a task.
        method: what is done against forgetting.
        observers: one a network, each of which sees its own as network 0.
        linearized: train the linearized models in place of the networks.
    """
    networks = [linearize(one.network()) if linearized else one.network() for one in learners]
    settings = [one.plan.settings(stop, method, net) for one, net in zip(learners, networks, strict=True)]
    return _train(learners, networks, method, observers, settings)


def train_until(learners: Sequence[Learner], accuracy: float) -> list[TaskRuns]:
    """Have the networks of several seeds learn all tasks at once, each until its training set has a score."""
    networks = [one.network() for one in learners]
    settings = [one.plan.until(accuracy, net) for one, net in zip(learners, networks, strict=True)]
    return _train(learners, networks, Plain(), None, settings)


def _train(
    learners: Sequence[Learner],
    networks: Sequence[nn.Module],
    method: Method,
    observers: Sequence[Observer] | None,
    settings: Sequence[dict[str, Any]],
) -> list[TaskRuns]:
    """Train by settings that are alike but for the learning rates."""
    rates = [one["learning_rate"] for one in settings]

    def observe(phase: int, network: Callable[[int], nn.Module]) -> None:
        for i, see in enumerate(observers or ()):
            see(phase, lambda _, i=i: network(i))  # type: ignore[misc]

    runs = train_tasks(
        networks,
        [one.stream for one in learners],
        method=method,
        seeds=[one.seed for one in learners],
        observe=None if observers is None else observe,
        **settings[0] | ({"learning_rate": rates} if any(rate != rates[0] for rate in rates) else {}),
    )
    return [runs.of(i) for i in range(len(learners))]
