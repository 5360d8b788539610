"""How the tasks of a stream are trained: as the preset says."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from ntkgap.models import learning_rate_factor
from ntkgap.practice.continual import EWC, OGD, Joint, Method, Replay, Steps
from ntkgap.studies.continual.problem import MethodsSpec, TrainingSpec


class Plan(Protocol):
    """How the tasks of a stream are trained."""

    @property
    def stops(self) -> Sequence[int]:
        """The stopping times, ascending; each is a training of its own."""
        ...

    @property
    def rates(self) -> Sequence[float]:
        """η of gradient descent on the network's kernel, of every task; empty where kernels predict nothing."""
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
        """What ``train_tasks`` takes, for one stopping time."""
        ...

    def left_out(self, method: Method) -> str:
        """Why a method is not tried under this training; empty if it is."""
        ...


class PresetPlan:
    """As the preset says; see ``Plan``.

    Args:
        training: of the problem.
        rates: η of gradient descent on the network's kernel, of every task; empty for other optimisers.
        tasks: T.
    """

    unpredictable = ""  # such a preset names no kernels

    def __init__(self, training: TrainingSpec, rates: Sequence[float], tasks: int) -> None:
        self._training, self._tasks = training, tasks
        self.stops, self.rates = training.steps, rates
        bent = training.optimizer == "adam"
        self.unfollowed = "the steps of adam are not determined by outputs and kernel" if bent else ""

    def settings(self, stop: int, method: Method, network: nn.Module) -> dict[str, Any]:
        """What ``train_tasks`` takes, for one stopping time."""
        training, together = self._training, tasks_together(method, self._tasks)
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
        return {
            "learning_rate": rates,
            "stop": Steps([stop * tasks for tasks in together]),
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
