"""Ensembles of finite networks, trained together: one vectorised step moves all members."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.data import dataset_of
from ntkgap.data.dataset import tensor_of
from ntkgap.errors import DivergenceError, StudyError
from ntkgap.practice.checks import check_training
from ntkgap.practice.losses import squared_loss
from ntkgap.practice.stacked import StackedNetworks


@dataclass(frozen=True)
class TrainedEnsemble:
    """What the members of an ensemble said at some steps of their training.

    Attributes:
        steps: the steps, T of them.
        outputs: on the inputs that were asked for, [M, T, k, C].
        losses: ½‖f − y‖² over the training set, each member with its own targets, [M, T].
    """

    steps: tuple[int, ...]
    outputs: Tensor
    losses: Tensor


def train_ensemble(
    build_member: Callable[[int], nn.Module],
    data: Any,
    members: int,
    *,
    learning_rate: float,
    steps: int,
    inputs: Tensor,
    observe_at: Sequence[int] | None = None,
    targets: Tensor | None = None,
    anchoring: float = 0.0,
    together: int | None = None,
) -> TrainedEnsemble:
    r"""Train M networks by full-batch gradient descent, each from its own start; same numbers as one by one.

    Member i minimises

    .. math:: \tfrac12 \lVert f(X; \theta) - y_i \rVert^2 + \tfrac{\lambda}{2} \lVert \theta - \theta_i \rVert^2

    with θ_i its initial parameters. As they are, ``targets`` and ``anchoring`` give a deep ensemble; with
    targets y + ε_i, ε_i ~ N(0, σ²), and λ = σ² members are samples of the randomised-prior ensemble
    (He, Lakshminarayanan, Teh 2020; in NTK parametrisation).

    Args:
        build_member: makes member i = 0 … M − 1; all of one architecture, with random numbers of their own.
        data: training set that all members share, as for ``train``.
        members: M.
        learning_rate: η of the summed loss.
        steps: number of updates.
        inputs: where the members are asked for their outputs, [k, ...].
        observe_at: the steps at which they are asked, ascending; the last one alone if not given.
        targets: y_i of every member, [M, n, C]; ``data.y`` for all if not given.
        anchoring: λ, at least 0.
        together: how many members are trained at once, to bound the memory; all if not given.

    Returns:
        Outputs and losses at the asked steps, in the type of the members' parameters.

    Raises:
        StudyError: if a number is out of range or a shape does not fit.
        DivergenceError: if a member's outputs cease to be finite; a ``StudyError``.
        ModelError: if the members differ in architecture or cannot be trained in one vectorised call.
    """
    check_training(learning_rate, steps)
    data, inputs = dataset_of(data), tensor_of("inputs", inputs)
    if isinstance(members, bool) or not isinstance(members, int) or members < 1:
        raise StudyError(f"members must be an integer of at least 1, got {members!r}")
    if not 0 <= anchoring < float("inf"):
        raise StudyError(f"anchoring must be finite and at least 0, got {anchoring!r}")
    if together is not None and together < 1:
        raise StudyError(f"together must be at least 1, got {together!r}")
    asked = (steps,) if observe_at is None else tuple(observe_at)
    if not asked or list(asked) != sorted(set(asked)) or asked[0] < 0 or asked[-1] > steps:
        raise StudyError(f"observe_at must be ascending steps between 0 and {steps}, got {asked}")
    shape = (members, *data.y.shape)
    if targets is not None and targets.shape != shape:
        raise StudyError(f"targets must have shape {shape}, one set a member, got {tuple(targets.shape)}")
    if targets is None:
        targets = data.y.expand(shape)

    size = members if together is None else together
    parts = []
    for first in range(0, members, size):
        chosen = slice(first, min(first + size, members))
        networks = [build_member(i) for i in range(members)[chosen]]
        training = _Members(networks, first, data.x, targets[chosen], learning_rate, anchoring)
        parts.append(training.run(asked, inputs))
    return TrainedEnsemble(
        asked, torch.cat([outputs for outputs, _ in parts]), torch.cat([losses for _, losses in parts])
    )


class _Members:
    """Members of an ensemble while they are trained."""

    def __init__(
        self,
        networks: list[nn.Module],
        first: int,
        x: Tensor,
        targets: Tensor,
        learning_rate: float,
        anchoring: float,
    ) -> None:
        self.first, self.x, self.targets = first, x, targets
        self.learning_rate, self.anchoring = learning_rate, anchoring
        self.networks = StackedNetworks(networks, x[:2], first=first)
        self.rates = self.networks.rates(learning_rate)
        self.trained = self.networks.trained
        # Only anchored members need to remember where they began; a copy may be a lot of memory.
        self.start = {k: p.clone() for k, p in self.trained.items()} if anchoring else {}

    def run(self, asked: tuple[int, ...], inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [M, T, k, C] and losses [M, T] at the asked steps."""
        outputs, losses, done = [], [], 0
        for step in asked:
            for _ in range(step - done):
                self.update()
            done = step
            with torch.no_grad():
                found = self.networks.outputs(self.trained, inputs)
                fitted = self.networks.outputs(self.trained, self.x)
                self.check_finite(found, step)
                self.check_finite(fitted, step)
                outputs.append(found)
                losses.append(torch.stack([squared_loss(f, y) for f, y in zip(fitted, self.targets, strict=True)]))
        return torch.stack(outputs, dim=1), torch.stack(losses, dim=1)

    def update(self) -> None:
        """One step of gradient descent for every member, in place."""
        trained = {k: p.requires_grad_() for k, p in self.trained.items()}
        # No member's loss depends on another's parameters: the gradient of the sum holds that of each.
        loss = squared_loss(self.networks.outputs(trained, self.x), self.targets)
        gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            for (name, p), g in zip(self.trained.items(), gradients, strict=True):
                if self.anchoring:
                    p.sub_(p - self.start[name], alpha=self.rates[name] * self.anchoring)
                p.sub_(g, alpha=self.rates[name])

    def check_finite(self, outputs: Tensor, step: int) -> None:
        """Refuse to hand on outputs [M, k, C] of members that diverged.

        Raises:
            DivergenceError: naming the first such member.
        """
        bad = ~torch.isfinite(outputs).flatten(1).all(dim=1)
        if bad.any():
            member = self.first + int(bad.nonzero()[0])
            raise DivergenceError(
                f"member {member} has diverged by step {step}; lower learning_rate = {self.learning_rate:g} "
                "(stable below 2/κ_max of its kernel)"
            )
