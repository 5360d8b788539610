"""Upper confidence bounds of a Gaussian process with a given kernel: NTK-UCB, NNGP-UCB."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError, StudyError
from ntkgap.kernels import infinite_width
from ntkgap.linalg import SequentialPosterior
from ntkgap.models import Antisymmetric
from ntkgap.practice.bandits.environment import Environment
from ntkgap.practice.bandits.policy import Decision, Exploration, Policy, constant_exploration
from ntkgap.practice.checks import check_count

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
        noise: s > 0, variance of the noise (regularization).
        exploration: γ, a schedule, or a number for a constant.
        every: rounds from one update of the means to the next, as networks are trained now and then; widths always
            know of all rounds.

    Raises:
        KernelError: if the noise is not positive, or the kernel is not positive definite.
        StudyError: if K, the rounds from one update to the next or γ are out of range; by the methods, if the
            inputs are of another number of arms, or something shall be learned that was not decided.

    Source:
        Kassraie, Krause (2022), Neural contextual bandits without regret.
    """

    arms: int

    def __init__(
        self, kernel: Kernel, arms: int, *, noise: float, exploration: Exploration | float, every: int = 1
    ) -> None:
        check_count("arms", arms)
        check_count("every", every)
        self.kernel, self.arms, self.every = kernel, arms, every
        self.exploration = constant_exploration(exploration)
        # One for each arm; where arms share a process, only the first is used.
        self._posteriors = [SequentialPosterior(noise) for _ in range(arms)]
        self._seen = torch.zeros(0, 0, dtype=torch.float64)  # inputs of all rounds, and room for more
        self._told = [0] * arms  # observations that each process's mean knows of
        self._process: list[int] = []  # which process each of them belongs to
        self._asked: tuple[list[Tensor], Tensor] | None = None  # kernel with the seen ones, and own, last decided

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Take the upper confidence bounds' best."""
        if len(inputs) not in (1, self.arms):
            raise StudyError(
                f"this policy is for {self.arms} arms, but was asked about inputs of {len(inputs)}; build it for "
                f"{len(inputs)}"
            )
        x, t = inputs.double(), len(self._process)
        found = self._with_seen(x)
        own = found[t:].diagonal().expand(self.arms)
        if len(x) > 1:
            cross = [found[:t]]
            mean = self._posteriors[0].mean(cross[0], self._told[0])
            variance = self._posteriors[0].variance(cross[0], own)
        else:
            process = torch.tensor(self._process, dtype=torch.long)
            cross = [found[:t][process == a] for a in range(self.arms)]
            each = list(zip(self._posteriors, cross, own, self._told, strict=True))
            mean = torch.cat([posterior.mean(k, told) for posterior, k, _, told in each])
            variance = torch.cat([posterior.variance(k, k_own[None]) for posterior, k, k_own, _ in each])
        self._asked = cross, own
        information = sum(posterior.log_determinant() for posterior in self._posteriors)
        width = self.exploration(t, information) * variance.sqrt()
        return Decision(self.best(mean + width), mean, width)

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Add the observation to its process."""
        if self._asked is None:
            raise StudyError("there is no decision to learn from; call decide before each learn")
        cross, own = self._asked
        process, column = (0, arm) if len(inputs) > 1 else (arm, 0)
        self._posteriors[process].append(cross[process][:, column], own[arm], reward)
        self._note(inputs[column], arm)
        self._process.append(process)
        self._asked = None
        if len(self._process) % self.every == 0:
            self._told = [len(posterior) for posterior in self._posteriors]

    def _note(self, x: Tensor, arm: int) -> None:
        """Keep what the kernel will be asked about: the input of the chosen arm."""
        self._seen[len(self._process)] = x

    def _with_seen(self, x: Tensor) -> Tensor:
        """Kernel of the inputs of all rounds, and then of those asked about, with the latter: [t + k, k]."""
        return (
            self.kernel(self._seen_and(x), x).double().cpu()
        )  # one call a round: evaluating it may cost little more

    def _seen_and(self, x: Tensor) -> Tensor:
        """Inputs of all rounds and then those asked about, [t + k, D], without a copy of the former."""
        t, k = len(self._process), len(x)
        if t + k > len(self._seen):
            larger = torch.zeros(2 * (t + k), x.shape[1], dtype=torch.float64)
            larger[:t] = self._seen[:t] if t else 0
            self._seen = larger
        self._seen[t : t + k] = x
        return self._seen[: t + k]


class TabulatedKernelUCB(KernelUCB):
    """The same policy where all contexts are known beforehand, as they are to who plays it on stored data.

    The kernel is evaluated once for all rounds instead of once a round. It must treat arms alike: a permutation of
    the inputs leaves it as it is, which kernels of fully connected networks do.

    Args:
        environment: that will be played, from its first round on.
        kernel: as for ``KernelUCB``, with its other arguments.
        noise: s.
        exploration: γ.
        every: as for ``KernelUCB``.

    Raises:
        KernelError: as for ``KernelUCB``.
        StudyError: as for ``KernelUCB``; by ``decide``, if another environment is played than that of the table.
    """

    def __init__(
        self,
        environment: Environment,
        kernel: Kernel,
        *,
        noise: float,
        exploration: Exploration | float,
        every: int = 1,
    ) -> None:
        super().__init__(kernel, environment.arms, noise=noise, exploration=exploration, every=every)
        self._same, self._other = kernel_table(environment, kernel)
        self._contexts, self._rows = environment.contexts, len(environment.inputs(0))
        self._chosen: list[int] = []

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Take the upper confidence bounds' best."""
        t, n = len(self._process), len(self._contexts)
        if t >= n:
            raise StudyError(
                f"the table is of {n} rounds, which were all played; build it of the longer environment"
            )
        if len(inputs) != self._rows or not torch.equal(context, self._contexts[t]):
            raise StudyError(
                f"round {t + 1} is not that of the environment of which the table was made: its context or its "
                "encoding differs; build the policy of the environment that it plays, from the first round on"
            )
        return super().decide(context, inputs)

    def _note(self, x: Tensor, arm: int) -> None:
        """Keep the arm; its input is in the table."""
        self._chosen.append(arm)

    def _with_seen(self, x: Tensor) -> Tensor:
        t, k = len(self._process), len(x)
        if k == 1:
            return self._same[: t + 1, t, None]
        chosen = torch.tensor(self._chosen, dtype=torch.long)[:, None] == torch.arange(k)
        seen = torch.where(chosen, self._same[:t, t, None], self._other[:t, t, None])
        own = torch.full((k, k), float(self._other[t, t]), dtype=torch.float64)
        return torch.cat([seen, own.fill_diagonal_(float(self._same[t, t]))])


def kernel_table(environment: Environment, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """The kernel of all contexts for one arm and for two different ones, [T, T] both.

    Where every arm has an output of its own there is nothing between different arms.
    """
    rounds = [environment.inputs(t).double() for t in range(environment.rounds)]
    first = torch.stack([x[0] for x in rounds])
    same = kernel(first, first).double().cpu()
    if len(rounds[0]) == 1:
        return same, torch.zeros_like(same)
    return same, kernel(first, torch.stack([x[1] for x in rounds])).double().cpu()


def infinite_kernel(model: nn.Module, kind: Literal["ntk", "nngp"] = "ntk") -> Kernel:
    """The kernel of a network at infinite width, for ``KernelUCB``; its width and weights do not matter.

    Raises:
        ModelError: if a step of the model has no known limit, or the model starts at zero and has no NNGP kernel.
    """
    if kind == "nngp" and any(isinstance(module, Antisymmetric) for module in model.modules()):
        raise ModelError(
            "the NNGP kernel of an antisymmetric network is zero, as its function is at the start: nothing could "
            "be learned with it; give the network without antisymmetric=True"
        )
    limit = infinite_width(model)
    return limit.ntk if kind == "ntk" else limit.nngp
