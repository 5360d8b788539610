"""Upper confidence bounds of a Gaussian process with a given kernel: NTK-UCB, NNGP-UCB."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ntkgap.kernels import SequentialPosterior, infinite_width
from ntkgap.practice.bandits.policy import Decision, Exploration, Policy

Kernel = Callable[[Tensor, Tensor], Tensor]


class KernelUCB(Policy):
    r"""The arm with the largest :math:`\mu + \gamma\,\sigma` of a Gaussian process of rewards.

    .. math::
        \mu = k^\top(K_t + sI)^{-1} r, \qquad \sigma^2 = k_{**} - k^\top(K_t + sI)^{-1}k

    Arms that share one network's output share one process, over the inputs x ⊗ e_a. Outputs of an infinitely wide
    network are independent, so with one output an arm each has a process of its own.

    Args:
        kernel: of inputs [n, D] and [m, D], [n, m].
        arms: K.
        noise: s > 0, variance of the noise (regularisation).
        exploration: γ.

    Raises:
        KernelError: if the noise is not positive, or the kernel is not positive definite.

    Source:
        Kassraie, Krause (2022), Neural contextual bandits without regret.
    """

    def __init__(self, kernel: Kernel, arms: int, *, noise: float, exploration: Exploration) -> None:
        self.kernel, self.arms, self.exploration = kernel, arms, exploration
        # One for each arm; where arms share a process, only the first is used.
        self._posteriors = [SequentialPosterior(noise) for _ in range(arms)]
        self._seen = [_Rows() for _ in range(arms)]
        self._asked: tuple[list[Tensor], Tensor] = [], torch.zeros(0)

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Take the upper confidence bounds' best."""
        x = inputs.double()
        own = self.kernel(x, x).double().diagonal().expand(self.arms)
        if len(x) > 1:
            cross = [self._cross(self._seen[0], x)]
            mean, variance = self._posteriors[0].mean(cross[0]), self._posteriors[0].variance(cross[0], own)
        else:
            cross = [self._cross(seen, x) for seen in self._seen]
            pairs = list(zip(self._posteriors, cross, own, strict=True))
            mean = torch.cat([posterior.mean(k) for posterior, k, _ in pairs])
            variance = torch.cat([posterior.variance(k, k_own[None]) for posterior, k, k_own in pairs])
        self._asked = cross, own
        rounds = sum(len(posterior) for posterior in self._posteriors)
        information = sum(posterior.log_determinant() for posterior in self._posteriors)
        width = self.exploration(rounds, information) * variance.sqrt()
        return Decision(int((mean + width).argmax()), mean, width)

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Add the observation to its process."""
        cross, own = self._asked
        process, column = (0, arm) if len(inputs) > 1 else (arm, 0)
        self._posteriors[process].append(cross[process][:, column], own[arm], reward)
        self._seen[process].add(inputs[column].double())

    def _cross(self, seen: "_Rows", x: Tensor) -> Tensor:
        """Kernel of what was seen and inputs [k, D], [t, k]."""
        if not len(seen):
            return torch.zeros(0, len(x), dtype=torch.float64)
        return self.kernel(seen.rows, x).double()


class _Rows:
    """A matrix that grows by a row at a time without being copied each time."""

    def __init__(self) -> None:
        self._rows, self._size = torch.zeros(0, 0, dtype=torch.float64), 0

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> Tensor:
        return self._rows[: self._size]

    def add(self, row: Tensor) -> None:
        if self._size == len(self._rows):
            larger = torch.zeros(max(64, 2 * self._size), len(row), dtype=torch.float64)
            larger[: self._size] = self._rows[: self._size] if self._size else 0
            self._rows = larger
        self._rows[self._size] = row
        self._size += 1


def infinite_kernel(model: nn.Module, kind: Literal["ntk", "nngp"] = "ntk") -> Kernel:
    """The kernel of a network at infinite width, for ``KernelUCB``; its width and weights do not matter.

    Raises:
        ModelError: if a step of the model has no known limit.
    """
    limit = infinite_width(model)
    return limit.ntk if kind == "ntk" else limit.nngp
