"""The network of one width and seed, its stream, and how it learns."""

from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Generator, nn

from ntkgap.errors import KernelError, ModelError
from ntkgap.models import learning_rate_factor
from ntkgap.practice import linearize
from ntkgap.practice.continual import EWC, OGD, Joint, Method, Observer, Replay, Steps, TaskRuns, train_tasks
from ntkgap.studies.continual.points import Kernel, Points
from ntkgap.studies.continual.prediction import (
    Limit,
    PredictedScores,
    critical_rates,
    finite_kernel,
    limit_kernel,
    limit_of,
    predict_scores,
)
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.model import OwnModel


class Learner:
    """The network of one width and seed, its stream, and how it learns.

    Attributes:
        problem: what it is one of.
        stream: the tasks.
        points: all inputs of the stream.
        rates: η of gradient descent on the network's kernel, of every task; empty for other optimisers.
        limit: the kernel of infinite width, where it is to predict and is known.
        no_limit: why it is not known.
    """

    def __init__(self, problem: ContinualProblem, width: int, seed: int) -> None:
        self.problem, self.width, self.seed = problem, width, seed
        self.stream = problem.load(seed)
        self.points = Points.of(self.stream)
        self.limit: Limit | None = None
        self.no_limit = ""
        if "infinite" in problem.kernels:
            try:
                self.limit = limit_of(problem, width, seed)
            except (KernelError, ModelError) as error:
                if not isinstance(problem.model, OwnModel):
                    raise
                self.no_limit = f"no infinite-width kernel: {error}"
        self.rates: list[float] = []
        if problem.training.fraction_of_critical is not None:
            critical = critical_rates(self.limit, self.network().double(), self.points)
            self.rates = [problem.training.fraction_of_critical * rate for rate in critical]

    def network(self) -> nn.Module:
        """The network as it starts, always the same."""
        stream = int(np.random.SeedSequence([self.seed, self.width]).generate_state(1)[0])
        return self.problem.network(self.stream.template(), self.width, Generator().manual_seed(stream))

    def train(
        self, stop: int, method: Method, observe: Observer | None = None, linearized: bool = False
    ) -> TaskRuns:
        """Learn all tasks, each for so many steps; the network itself, or its linearised twin."""
        training, together = self.problem.training, self._tasks_together(method)
        network = linearize(self.network()) if linearized else self.network()
        if self.rates:
            # Layers are trained with η times this factor, of which kernels know nothing.
            rates = [rate / learning_rate_factor(network) for rate in self.rates]
            if isinstance(method, Joint):
                rates = [min(rates)]
        else:
            assert training.learning_rate is not None  # as the problem is valid
            rates = [training.learning_rate] * len(together)
        if training.optimizer != "adam":  # whose steps do not grow with the loss
            rates = [rate / tasks for rate, tasks in zip(rates, together, strict=True)]
        return train_tasks(
            [network],
            [self.stream],
            learning_rate=rates,
            stop=Steps([stop * tasks for tasks in together]),
            method=method,
            optimizer=training.optimizer,
            momentum=training.momentum,
            batch_size=training.batch_size,
            loss=training.loss,
            keep_last=False,
            seeds=[self.seed],
            observe=observe,
        )

    def _tasks_together(self, method: Method) -> list[int]:
        """Of how many tasks the losses are added up in every phase.

        Where tasks are alike their kernel has about as many times the largest eigenvalue of one task's: steps are
        as many times smaller, and as many more.
        """
        tasks = len(self.stream)
        if isinstance(method, Joint):
            return [tasks]
        return [t + 1 if isinstance(method, Replay) else 1 for t in range(tasks)]

    def methods(self) -> dict[str, Method]:
        """What is done against forgetting, by name."""
        asked = self.problem.methods
        found: dict[str, Method] = {}
        if asked.joint:
            found["joint"] = Joint()
        if asked.ogd is not None:
            name = "ogd" if asked.ogd_directions == "all" else "ogd_label"
            found[name] = OGD(examples=asked.ogd, directions=asked.ogd_directions)
        if asked.ewc is not None:
            found["ewc"] = EWC(asked.ewc)
        if asked.replay is not None:
            found["replay"] = Replay(asked.replay)
        return found

    def kernel_of(self, network: nn.Module) -> Kernel:
        """K(points, X_t) of a network as it is."""
        return finite_kernel(network, self.stream, self.points, self.problem.full_kernel)

    @cached_property
    def initial_kernel(self) -> Kernel:
        """K(points, X_t) of the network as it starts; of the first task it is kept, for all trainings begin so."""
        kernel = self.kernel_of(self.network().double())
        first = lru_cache(maxsize=1)(lambda: kernel(0))
        return lambda t: kernel(t) if t else first()

    def predictions(self) -> dict[str, PredictedScores]:
        """R at all stopping times by the kernels that are known before training, by name."""
        problem, found = self.problem, {}
        network = self.network().double()
        with torch.no_grad():
            initial = network(self.points.x)
        steps = problem.training.steps
        if (limit := self.limit) is not None:
            found["infinite"] = predict_scores(
                self.stream,
                self.points,
                limit_kernel(limit.gram, self.points),
                self.rates,
                steps,
                initial,
                limit.modes.__getitem__,
            )
        if "initial" in problem.kernels:
            found["initial"] = predict_scores(
                self.stream, self.points, self.initial_kernel, self.rates, steps, initial
            )
        return found
