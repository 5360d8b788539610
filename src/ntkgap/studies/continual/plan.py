"""How the tasks of a stream are trained: as the preset says."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from ntkgap.models import learning_rate_factor
from ntkgap.practice.continual import EWC, OGD, Joint, Method, Plain, Replay, Steps, Stopping, UntilAccuracy
from ntkgap.studies.continual.training_spec import MethodsSpec, TrainingSpec


class Plan(Protocol):
    """How the tasks of a stream are trained."""

    @property
    def stops(self) -> Sequence[int]:
        """The training budgets, ascending; each is a training of its own."""
        ...

    @property
    def accuracies(self) -> Sequence[float]:
        """Training scores at which tasks are left, beside the training budgets."""
        ...

    @property
    def rates(self) -> Sequence[float]:
        """η of every task, as kernels count it where they predict the training; empty where that is not known."""
        ...

    @property
    def unpredictable(self) -> str:
        """Why no kernel predicts what is forgotten; empty if one does."""
        ...

    @property
    def unfollowed(self) -> str:
        """Why no kernel determines the steps; empty if one does, whatever the loss."""
        ...

    def settings(self, stop: int, method: Method, network: nn.Module) -> dict[str, Any]:
        """What ``train_tasks`` takes, for one training budget."""
        ...

    def until(self, accuracy: float, network: nn.Module) -> dict[str, Any]:
        """What ``train_tasks`` takes, for training until a score."""
        ...

    def left_out(self, method: Method) -> str:
        """Why a method is not tried under this training; empty if it is."""
        ...


class PresetPlan:
    """As the preset says; see ``Plan``.

    Args:
        training: of the problem.
        kernel_rates: η on the kernel, of every task, where the learning rate is a fraction of the critical one.
        width: of the network.
        tasks: T.
        examples: of a task.
    """

    unpredictable = ""  # such a preset names no kernels

    def __init__(
        self, training: TrainingSpec, kernel_rates: Sequence[float] | None, width: int, tasks: int, examples: int
    ) -> None:
        self._training, self._tasks, self._width = training, tasks, width
        self._by_kernel = kernel_rates is not None or training.predictable
        self._in_a_pass = training.in_a_pass(examples)
        self.stops, self.accuracies = training.stops(examples), training.accuracies
        self.rates = [training.rate_at(width)] * tasks if kernel_rates is None else list(kernel_rates)
        bent = training.optimizer == "adam"
        self.unfollowed = "the steps of adam are not determined by outputs and kernel" if bent else ""

    def settings(self, stop: int, method: Method, network: nn.Module) -> dict[str, Any]:
        """What ``train_tasks`` takes, for one training budget."""
        together = tasks_together(method, self._tasks)
        return self._settings(Steps([stop * tasks for tasks in together]), method, network)

    def until(self, accuracy: float, network: nn.Module) -> dict[str, Any]:
        """The same until training sets have a score, within the largest training budget.

        They are scored after every step, or with batches five times a pass.
        """
        stop = UntilAccuracy(accuracy, at_most=self.stops[-1], every=max(1, self._in_a_pass // 5))
        return self._settings(stop, Plain(), network)

    def _settings(self, stop: Stopping, method: Method, network: nn.Module) -> dict[str, Any]:
        training, together = self._training, tasks_together(method, self._tasks)
        # Layers move with η times this factor, of which kernels know nothing.
        factor = learning_rate_factor(network) if self._by_kernel else 1.0
        rates = [rate / factor for rate in self.rates]
        if isinstance(method, Joint):
            rates = [min(rates)]
        if training.optimizer != "adam":  # whose steps do not grow with the loss
            rates = [rate / tasks for rate, tasks in zip(rates, together, strict=True)]
        return {
            "learning_rate": rates,
            "stop": stop,
            "optimizer": training.optimizer,
            "momentum": training.momentum,
            "batch_size": training.batch_size,
            "loss": training.loss,
            "keep_last": False,
        }

    def left_out(self, method: Method) -> str:
        """Nothing is."""
        return ""


def tasks_together(method: Method, tasks: int) -> list[int]:
    """Of how many tasks the losses are added up in every phase.

    Where tasks are alike their kernel has about as many times the largest eigenvalue of one task's: steps are as
    many times smaller, and as many more.
    """
    if isinstance(method, Joint):
        return [tasks]
    return [t + 1 if isinstance(method, Replay) else 1 for t in range(tasks)]


def methods_of(asked: MethodsSpec) -> Mapping[str, Method]:
    """What is done against forgetting, by name."""
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
