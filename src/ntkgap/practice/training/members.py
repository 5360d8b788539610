"""Members of an ensemble while they are trained."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import DivergenceError
from ntkgap.practice.training.batches import Minibatches
from ntkgap.practice.training.losses import Loss, OwnLoss, check_gradient, one_loss_a_network
from ntkgap.practice.training.network_modes import PROBED
from ntkgap.practice.training.own_fit import Fit, call_fit
from ntkgap.practice.training.stacked import StackedNetworks
from ntkgap.practice.training.stacked_updates import StackedUpdates
from ntkgap.practice.training.updates import Rule

Batches = Callable[[torch.Generator], Minibatches]


class Members:
    """M networks on one training set, each with targets of its own.

    Args:
        networks: of one architecture; they are not changed.
        first: number of the first, for messages.
        x: inputs, [n, ...].
        targets: [M, n, C].
        loss: of one network.
        generators: of the order of examples and of masks, one a member.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        first: int,
        x: Tensor,
        targets: Tensor,
        loss: Loss,
        generators: Sequence[torch.Generator],
    ) -> None:
        self.first, self.x, self.targets, self.loss, self.generators = first, x, targets, loss, generators
        self.networks = StackedNetworks(networks, x[:PROBED], first=first, generators=generators)
        self.trained = self.networks.trained
        self.seen: list[tuple[Tensor, Tensor]] = []

    def descend(
        self, steps: Sequence[int], inputs: Tensor, rule: Rule, anchoring: float, batches: Batches
    ) -> None:
        """Train by a rule, and look after the given numbers of steps."""
        updates = StackedUpdates(rule, self.networks, rule.learning_rate)
        # Only anchored members need to remember where they began; a copy may be a lot of memory.
        start = {k: p.detach().clone() for k, p in self.trained.items()} if anchoring else {}
        orders, done = [batches(generator) for generator in self.generators], 0
        for step in steps:
            for at in range(done, step):
                losses = self._losses(at, orders)
                # No member's loss depends on another's parameters: the gradient of the sum holds that of each.
                leaves = list(self.trained.values())
                found = torch.autograd.grad(losses.sum(), leaves, allow_unused=True, materialize_grads=True)
                gradients = dict(zip(self.trained, found, strict=True))
                for name, origin in start.items():
                    away = self.trained[name].detach() - origin
                    gradients[name] = torch.add(gradients[name], away, alpha=anchoring)
                updates.follow(gradients, losses.detach())
            done = step
            hint = "" if rule.learning_rate is None else f" = {rule.learning_rate:g}"
            self._look(step, inputs, f"lower learning_rate{hint} (stable below 2/κ_max of its kernel)")

    def be_fitted(self, steps: Sequence[int], inputs: Tensor, fit: Fit) -> None:
        """Let a function train every member; looked at before (0), after (1) or both."""
        if steps[0] == 0:
            self._look(0, inputs, "give members with finite outputs")
        if steps[-1] == 1:
            for i, generator in enumerate(self.generators):
                data, seed = Dataset(self.x, self.targets[i]), generator.initial_seed()
                self.networks.train_alone(i, partial(call_fit, fit, data=data, seed=seed))
            self._look(1, inputs, "fit left it so")

    def _losses(self, step: int, orders: Sequence[Minibatches]) -> Tensor:
        """What an update descends, [M]."""
        networks, scale = self.networks, 1.0
        networks.begin(step)
        if orders[0].in_a_pass == 1:
            outputs, targets = networks.learning_outputs(self.trained, self.x), self.targets
        else:
            chosen = torch.stack([next(order) for order in orders])
            outputs = networks.learning_outputs(self.trained, self.x[chosen], each=True)
            targets = self.targets[torch.arange(len(chosen))[:, None], chosen]
            scale = 1.0 if isinstance(self.loss, OwnLoss) else len(self.x) / chosen.shape[1]
        losses = one_loss_a_network(self.loss, outputs, targets)
        check_gradient(self.loss, losses)
        return losses * scale if scale != 1.0 else losses

    def _look(self, step: int, inputs: Tensor, remedy: str) -> None:
        """Note outputs [M, k, C] and losses [M].

        Raises:
            DivergenceError: naming the first member whose outputs are not finite.
        """
        with torch.no_grad():
            found, fitted = (self.networks.outputs(self.trained, points) for points in (inputs, self.x))
            for outputs in (found, fitted):
                bad = ~torch.isfinite(outputs).flatten(1).all(dim=1)
                if bad.any():
                    member = self.first + int(bad.nonzero()[0])
                    raise DivergenceError(f"member {member} has diverged by step {step}; {remedy}")
            self.seen.append((found, one_loss_a_network(self.loss, fitted, self.targets)))
