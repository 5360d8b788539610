"""What is recorded while a network is trained: losses, and how long the updates took."""

import time
from dataclasses import dataclass, field

import torch
from torch import nn

from ntkgap.data import Dataset
from ntkgap.errors import NtkgapError
from ntkgap.one_line import one_line
from ntkgap.practice.training.losses import Loss, loss_on
from ntkgap.practice.training.network_modes import evaluation_mode

# A loss this many times the initial one never comes back; stopping there keeps the numbers finite.
DIVERGENCE_FACTOR = 1e6


@dataclass
class TrainingCurve:
    """Losses at every step, summed over examples; a loss of one's own as it is.

    Attributes:
        losses: the loss on the training set before each step and after the last, at most steps + 1 numbers.
        stopped: why training ended early ("diverged at step 3"), or None if it did not.
        test_losses: the loss on the test set at the same steps; empty where no test set was given.
        seconds: wall time of all updates up to that step, without what was recorded or observed between them;
            starts at 0. The only part of a curve that differs from run to run, and not compared by ``==``.
    """

    losses: list[float] = field(default_factory=list)
    stopped: str | None = None
    test_losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=lambda: [0.0], compare=False)

    __repr__ = one_line

    @property
    def diverged(self) -> bool:
        """Whether the last recorded loss is not finite or has left all bounds."""
        # A loss of one's own may begin at or below zero. True for NaN too.
        return not self.losses[-1] <= DIVERGENCE_FACTOR * (abs(self.losses[0]) or 1.0)

    def has_diverged(self) -> bool:
        """``diverged``; then says so in ``stopped``."""
        if self.diverged:
            self.stopped = f"diverged at step {len(self.losses) - 1}"
        return self.diverged

    def stop(self, failure: "NoStepError") -> None:
        """Say in ``stopped`` that no step could be taken from the last recorded one."""
        self.stopped = f"{failure.what} at step {len(self.losses) - 1}; {failure.remedy}"

    def add_test_loss(self, model: nn.Module, test: Dataset | None, loss: Loss) -> None:
        """Record the loss on the test set, if there is one, in evaluation mode: training must not notice."""
        if test is not None:
            with torch.no_grad(), evaluation_mode(model):
                self.test_losses.append(loss_on(model, loss, test.x, test.y).item())


class NoStepError(NtkgapError):
    """No step can be taken from here; a run ends with it and says so in ``stopped``.

    Args:
        what: what is wrong.
        remedy: what to do.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what, self.remedy = what, remedy


class Stopwatch:
    """Adds up the time spent inside its ``with`` blocks.

    Where one thread does the work, its processor time is counted: what else the machine does is not part of it.
    Else the clock is read.

    Args:
        device: where the work is done; one that works in the background is waited for.

    Attributes:
        seconds: so far.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self._background = device.type == "cuda"
        alone = device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = time.thread_time if alone else time.perf_counter

    def __enter__(self) -> "Stopwatch":
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now() - self._start

    def _now(self) -> float:
        if self._background:
            torch.cuda.synchronize()
        return self._clock()
