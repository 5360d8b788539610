"""A network that learns what arms pay, retrained on all that was seen."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from ntkgap.errors import StudyError
from ntkgap.models import parameter_groups
from ntkgap.practice.bandits.policy import Diverged
from ntkgap.practice.checks import check_training
from ntkgap.practice.training.curves import DIVERGENCE_FACTOR
from ntkgap.practice.training.network_modes import Masks, draw_seed, modes_differ, refuse_dependence, set_training
from ntkgap.practice.training.update_rules import update_rule


@dataclass(frozen=True)
class RewardTraining:
    """When and how a reward model is trained.

    After t rounds the loss is (½Σ(f − r)² + ½λ‖θ − θ₀‖²)/t: its curvature does not grow with t, so that one
    learning rate does for all rounds (the theorem's η of the sum falls like 1/t too).

    Attributes:
        steps: J, updates a training.
        learning_rate: η of that loss; of ``"adam"`` its step size.
        every: rounds from one training to the next; 1 as in the papers.
        start: ``"initial"`` (each training begins at θ₀, as in the paper of NeuralUCB) or ``"current"`` (it goes
            on from where the last one ended, as in its released code).
        optimizer: ``"gd"`` (all examples at once), ``"sgd"`` (plain, minibatches) or ``"adam"``.
        batch_size: of ``"sgd"`` and ``"adam"``, drawn with replacement; all examples if not given. Batch
            normalization takes its running statistics where an update has a single example, which has none.

    Raises:
        StudyError: if a number is out of range or a choice unknown.
    """

    steps: int = 100
    learning_rate: float = 1e-2
    every: int = 1
    start: Literal["initial", "current"] = "initial"
    optimizer: Literal["gd", "sgd", "adam"] = "gd"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_training(self.learning_rate, self.steps)
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise StudyError(f"every must be an integer of at least 1 round, got {self.every!r}")
        for name, value, known in (
            ("start", self.start, ("initial", "current")),
            ("optimizer", self.optimizer, ("gd", "sgd", "adam")),
        ):
            if value not in known:
                raise StudyError(f"unknown {name} {value!r}; choose one of {', '.join(known)}")
        if self.batch_size is not None and (self.batch_size < 1 or self.optimizer == "gd"):
            raise StudyError(
                f"batch_size {self.batch_size!r} must be at least 1, and is for 'sgd' and 'adam' only"
            )


class RewardModel:
    """A network, what it has been told, and its training; on the network's device, but it answers on the CPU.

    Args:
        network: maps the inputs of ``Environment.inputs`` to one number an arm, flattened; it is copied.
        training: when and how.
        regularization: λ ≥ 0, the pull to the initial parameters θ₀.
        generator: source of minibatches, torch's global one if not given; and of the seed of random masks, 0 if
            not given.

    Attributes:
        network: trained in place, with batch statistics and masks as usual; in evaluation mode at all other times.
        initial: the network at θ₀, in evaluation mode.
        trained: number of trainings so far.

    Raises:
        StudyError: if λ is out of range.
        ModelError: when it is trained, if what the network says about a point depends on other points.
    """

    def __init__(
        self,
        network: nn.Module,
        training: RewardTraining,
        *,
        regularization: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        if not 0 <= regularization < float("inf"):
            raise StudyError(f"regularization must be finite and at least 0, got {regularization!r}")
        self.network, self.initial = copy.deepcopy(network), copy.deepcopy(network).eval()
        set_training(self.network)
        self._flags = [(module, module.training) for module in self.network.modules()]
        self.network.eval()
        self._modes_differ, self._independent, self._masks, self._updates = False, False, 0, 0
        self.training, self.regularization, self.generator = training, regularization, generator
        self._factor = max(group["lr"] for group in parameter_groups(network, 1.0))
        self.trained = 0
        self._inputs: list[Tensor] = []  # [D] of the chosen arm, or of the context
        self._outputs: list[int] = []  # which output is about the chosen arm
        self._rewards: list[float] = []

    @property
    def seen(self) -> int:
        """Rounds t that it has been told about."""
        return len(self._rewards)

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's parameters."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def step_size(self) -> float:
        """η, and for gradient descent so small that the penalty alone makes no layer overshoot.

        A layer with the factor c of its parametrization and of the output's scale α moves by ηcλ/t of its distance
        from θ₀: η is at most t/(cλ) for the largest c.
        """
        if self.training.optimizer == "adam" or not self.regularization:
            return self.training.learning_rate
        return min(self.training.learning_rate, max(self.seen, 1) / (self.regularization * self._factor))

    def predict(self, inputs: Tensor) -> Tensor:
        """Expected reward of every arm, [K].

        Raises:
            Diverged: if one is not finite.
        """
        with torch.no_grad():
            rewards = self.network(inputs.to(self.device, self.dtype)).flatten().cpu()
        if not torch.isfinite(rewards).all():
            raise Diverged("the network's outputs are not finite; lower the learning rate")
        return rewards

    def add(self, inputs: Tensor, arm: int, reward: float) -> bool:
        """Note what an arm paid, and train if it is time.

        Returns:
            Whether the network was trained.

        Raises:
            Diverged: as ``fit`` does.
        """
        # One row an arm (one output), or one row for all arms (one output each).
        row, output = (arm, 0) if len(inputs) > 1 else (0, arm)
        self._inputs.append(inputs[row].to(self.device, self.dtype))
        self._outputs.append(output)
        self._rewards.append(reward)
        if self.seen % self.training.every:
            return False
        self.fit()
        return True

    def history(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs [t, D], outputs [t] that are about the chosen arms, rewards [t, 1]; on the network's device."""
        rewards = torch.tensor(self._rewards, dtype=self.dtype, device=self.device)[:, None]
        return torch.stack(self._inputs), torch.tensor(self._outputs, device=self.device), rewards

    def fit(self) -> None:
        """Train for J steps on all that was seen.

        Raises:
            Diverged: if a parameter ends infinite or NaN, or the mean squared error is a million times that at θ₀.
        """
        settings = self.training
        inputs, outputs, rewards = self.history()
        if settings.start == "initial":
            self.network.load_state_dict(self.initial.state_dict())
        groups = parameter_groups(self.network, self.step_size, "adam" if settings.optimizer == "adam" else "gd")
        optimizer = update_rule(groups, settings.optimizer)
        self._compare_modes(inputs)
        pairs = list(zip(self.network.parameters(), self.initial.parameters(), strict=True))
        t = self.seen
        size = t if settings.batch_size is None else min(t, settings.batch_size)
        for _ in range(settings.steps):
            chosen = slice(None) if size == t else torch.randint(t, (size,), generator=self.generator)
            found = self._learning_outputs(inputs[chosen]).gather(1, outputs[chosen][:, None])
            optimizer.zero_grad()
            (0.5 * (found - rewards[chosen]).square().mean()).backward()
            if self.regularization:
                _pull(pairs, self.regularization / t)
            optimizer.step()
        self.trained += 1
        if not all(torch.isfinite(p).all() for p in self.network.parameters()):
            raise Diverged("training made parameters infinite or NaN; lower the learning rate")
        error, at_start = self._error(self.network), self._error(self.initial)
        if error > DIVERGENCE_FACTOR * max(at_start, torch.finfo(self.dtype).eps):
            raise Diverged(
                f"training left a mean squared error of {error:.3g}, where that of θ₀ is {at_start:.3g}; lower "
                "the learning rate"
            )

    def _compare_modes(self, inputs: Tensor) -> None:
        """See whether training needs masks and batch statistics, before the first."""
        if self.seen > 1 and not self._independent:
            refuse_dependence(self.network, inputs)
            self._independent = True
        if self.trained == 0:
            self._modes_differ = modes_differ(self.network, inputs)
            if self._modes_differ:
                self._masks = draw_seed(self.generator or torch.Generator().manual_seed(0))

    def _learning_outputs(self, x: Tensor) -> Tensor:
        """In train mode, with the masks of the next update."""
        if not self._modes_differ:
            return self.network(x)
        for module, flag in self._flags:
            module.training = flag and not (len(x) == 1 and isinstance(module, nn.modules.batchnorm._BatchNorm))
        self._updates += 1
        try:
            with Masks(self._masks, self._updates, x.device):
                return self.network(x)
        finally:
            self.network.eval()

    def _error(self, network: nn.Module) -> float:
        """Mean square of f − r over what was seen."""
        inputs, outputs, rewards = self.history()
        with torch.no_grad():
            return float((network(inputs).gather(1, outputs[:, None]) - rewards).double().square().mean())


@torch.no_grad()
def _pull(pairs: Sequence[tuple[Tensor, Tensor]], strength: float) -> None:
    """Add the gradient of the penalty to that of parameters θ, given with θ₀; without one they have not moved."""
    for p, start in pairs:
        if p.grad is not None:
            p.grad.add_(p - start, alpha=strength)
