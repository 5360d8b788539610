"""How the tasks of a stream are trained: as a user does it, in place of the preset's training."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from torch import nn

from ntkgap.errors import ModelError
from ntkgap.models import learning_rate_factor
from ntkgap.practice.continual import EWC, OGD, Joint, Method, Replay, Steps
from ntkgap.studies.continual.plan import tasks_together
from ntkgap.studies.train_spec import TrainSpec


class OwnPlan:
    """As a user does it; see ``Plan``.

    Every task is left after a tenth of the user's steps, and after all of them. A training function is one stop.

    Args:
        spec: how the user trains.
        tasks: T.
        one_head: whether all tasks use the same outputs.
        network: as it starts.
    """

    def __init__(self, spec: TrainSpec, tasks: int, one_head: bool, network: nn.Module) -> None:
        self._spec, self._tasks, self._one_head = spec, tasks, one_head
        self._factor: float | None = None
        with suppress(ModelError):  # layers have learning rates of their own
            self._factor = learning_rate_factor(network)
        self.stops = spec.stops
        self.accuracies: Sequence[float] = []
        self.unpredictable = _unpredictable(spec)
        if self._factor is None and not self.unpredictable:
            self.unpredictable = "layers have learning rates of their own, of which kernels know nothing"
        self.unfollowed = spec.unpredictable
        if spec.weight_decay and not self.unfollowed:
            self.unfollowed = "weight decay moves outputs that no example asks to move"
        self.rates: list[float] = []
        if not self.unpredictable:
            assert spec.learning_rate is not None  # as of "gd" and "sgd" it is given
            self.rates = [spec.learning_rate] * tasks

    def settings(self, stop: int, method: Method, network: nn.Module) -> dict[str, Any]:
        """What ``train_tasks`` takes, for one training budget."""
        spec, together = self._spec, tasks_together(method, self._tasks)
        settings = spec.settings(self._factor or 1.0)
        settings.pop("steps")
        if spec.fit is not None:
            return settings
        rate, schedule = settings["learning_rate"], settings["schedule"]
        if isinstance(method, Joint) and schedule is not None:
            settings["schedule"] = lambda step: schedule(step // together[0])
        if rate is not None:
            grows = not spec.adaptive and (spec.summed or isinstance(method, Replay))
            settings["learning_rate"] = [rate / (tasks if grows else 1) for tasks in together]
        return settings | {"stop": Steps([stop * tasks for tasks in together])}

    def until(self, accuracy: float, network: nn.Module) -> dict[str, Any]:
        """Own training is not left at a score.

        Raises:
            NotImplementedError: always; there are no ``accuracies``.
        """
        raise NotImplementedError

    def left_out(self, method: Method) -> str:
        """Why a method is not tried under this training; empty if it is."""
        spec, named = (
            self._spec,
            isinstance(self._spec.loss, str) and self._spec.loss in ("squared", "cross_entropy"),
        )
        if spec.fit is not None and not isinstance(method, Joint):
            return "a training function knows nothing of it"
        if isinstance(method, Joint) and not (named or self._one_head):
            return "a loss of one's own does not know of tasks with outputs of their own"
        if isinstance(method, OGD) and spec.adaptive:
            return "the optimizer bends its directions"
        if isinstance(method, EWC) and not named:
            return "its strength counts against losses that are summed"
        longer = isinstance(method, Replay) or (isinstance(method, Joint) and not spec.schedule_of_steps)
        if spec.schedule is not None and longer:
            return "it takes more steps than the schedule is made for"
        return ""


def _unpredictable(spec: TrainSpec) -> str:
    """Why no kernel predicts what is forgotten; empty if one does."""
    if spec.unpredictable:
        return spec.unpredictable
    other = {
        f"the loss {spec.loss if isinstance(spec.loss, str) else spec.loss.factory}": spec.loss != "squared",
        "momentum": spec.velocity > 0,
        "weight decay": spec.weight_decay > 0,
        "clipping": spec.clip is not None,
        "batches": spec.batch_size is not None,
        "a schedule": spec.schedule is not None,
    }
    found = [name for name, given in other.items() if given]
    if not found:
        return ""
    return (
        "kernels predict what plain gradient descent on the squared loss forgets, and this training has "
        f"{', '.join(found)}"
    )
