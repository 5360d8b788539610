"""Elastic weight consolidation: parameters that earlier tasks need are held where they were."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Real
from operator import itemgetter

import torch
from torch import Tensor, nn

from ntkgap.errors import StudyError
from ntkgap.practice.continual.method import Learning, Memory, Method, Tensors
from ntkgap.practice.continual.output_gradients import gradients_at
from ntkgap.practice.training.losses import OwnLoss


@dataclass(frozen=True)
class EWC(Method):
    r"""Penalize moving parameters, each by its Fisher information (Kirkpatrick et al. 2017).

    .. math:: L_t + \frac{\lambda}{2} \sum_{s < t} \sum_p F_{s,p} (\theta_p - \theta_{s,p})^2

    θ_s are the parameters at the end of task s and F_s the diagonal of the Fisher information there, exact and
    summed over the task's examples: Σ_i Σ_c (∂f_c(x_i)/∂θ_p)² for the squared loss,
    Σ_i Σ_c π_c (∂ log π_c(x_i)/∂θ_p)² with π the softmax for cross-entropy. Plain steps must stay short of where
    the penalty makes them unstable: with λ = 1 it is as steep as the tasks' own losses together.

    ``nn.CrossEntropyLoss`` and ``nn.MSELoss`` have the Fisher information of the same names; other losses of one's
    own have none that is known.

    Attributes:
        strength: λ, at least 0.
        online: one penalty about the last θ with the sum of all F, in place of one a task (Schwarz et al. 2018,
            without decay).

    Raises:
        StudyError: if the strength is no number, or out of range.

    Example:
        >>> stream = ng.continual.load_stream("rotated", "digits", n_train=10, n_test=10, tasks=2, flatten=True)
        >>> net = ng.MLP(64, 10, 8, 1)
        >>> method, stop = ng.continual.EWC(strength=1), ng.continual.Steps(5)
        >>> runs = ng.continual.train_tasks([net], stream, learning_rate=1e-3, stop=stop, method=method)
        >>> runs.scores[0].shape
        torch.Size([2, 2])
    """

    strength: float
    online: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.strength, bool) or not isinstance(self.strength, Real):
            raise StudyError(f"strength must be a number, got {self.strength!r}")
        if not 0 <= self.strength < float("inf"):
            raise StudyError(f"strength must be finite and at least 0, got {self.strength!r}")

    def start(self, learning: Learning) -> Memory:
        """No penalty yet."""
        return _Held(learning, self)


def likelihood(loss: str | OwnLoss) -> str:
    """The name of the loss whose Fisher information is meant.

    Raises:
        StudyError: if it is not known.
    """
    if isinstance(loss, str):
        return loss
    if isinstance(loss.function, nn.CrossEntropyLoss):
        return "cross_entropy"
    if isinstance(loss.function, nn.MSELoss):
        return "squared"
    raise StudyError(
        f"EWC needs the Fisher information of the loss, which is not known for loss={loss.name}; use 'squared', "
        "'cross_entropy', nn.MSELoss() or nn.CrossEntropyLoss()"
    )


class _Held(Memory):
    """Sums of the penalties of all tasks: Σ_s F_s, Σ_s F_s θ_s, Σ_s F_s θ_s² make one quadratic."""

    def __init__(self, learning: Learning, method: EWC) -> None:
        super().__init__(learning)
        likelihood(learning.loss)
        self._method = method
        self._fisher: Tensors = {}
        self._center: Tensors = {}
        self._offset = torch.zeros(len(learning.networks))

    def penalty(self, trained: Tensors) -> Tensor | None:
        if not self._fisher:
            return None
        parts = [
            (fisher * (trained[name] - self._center[name]).square()).flatten(1).sum(dim=1)
            for name, fisher in self._fisher.items()
        ]
        return 0.5 * self._method.strength * (sum(parts[1:], start=parts[0]) + self._offset.to(parts[0]))

    def finish(self, phase: int, trained: Tensors) -> None:
        if phase == len(self.learning.lessons) - 1:
            return  # nothing comes after the last task
        fisher = self._fisher_of(phase, trained)
        for name, new in fisher.items():
            here, old = trained[name].detach().clone(), self._fisher.get(name)
            if old is None:
                self._fisher[name], self._center[name] = new, here
                continue
            whole = old + new
            if self._method.online:
                self._fisher[name], self._center[name] = whole, here
                continue
            # Σ F_s (θ − θ_s)² is (ΣF)(θ − c)² and what is left, c the mean of the θ_s.
            before = self._center[name]
            safe = torch.where(whole > 0, whole, torch.ones_like(whole))
            self._center[name] = torch.where(whole > 0, (old * before + new * here) / safe, here)
            self._offset = self._offset.to(new) + (old * new / safe * (before - here).square()).flatten(1).sum(
                dim=1
            )
            self._fisher[name] = whole

    def _fisher_of(self, phase: int, trained: Tensors) -> Tensors:
        """The diagonal of a task's Fisher information, [M, ...] a parameter."""
        learning, lesson = self.learning, self.learning.lessons[phase]
        columns = lesson.mask[0].nonzero()[:, 0]
        found = {name: torch.zeros_like(p) for name, p in trained.items()}
        classes = likelihood(learning.loss) == "cross_entropy"
        with torch.no_grad():
            outputs = learning.networks.outputs(trained, lesson.x, each=True)[..., columns]
        of: Callable[[Tensor], Tensor]
        for c, column in enumerate(columns):
            if classes:
                weights = outputs.softmax(dim=-1)[..., c]  # [M, n]

                of = partial(_log_probability, columns=columns, c=c)
            else:
                weights = torch.ones_like(outputs[..., c])

                of = itemgetter(int(column))
            for name, g in gradients_at(learning.networks, trained, lesson.x, of).items():
                found[name] += torch.einsum("mn,mn...->m...", weights, g.square())
        return found


def _log_probability(outputs: Tensor, columns: Tensor, c: int) -> Tensor:
    return outputs[columns].log_softmax(dim=-1)[c]
