"""Updates of stacked networks: one rule for all parameters at once, or an optimizer a network."""

import torch
from torch import Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.training.losses import name_of
from ntkgap.practice.training.optimizer_choice import Rates, takes_closure
from ntkgap.practice.training.stacked import StackedNetworks
from ntkgap.practice.training.updates import Rule, Updates

Tensors = dict[str, Tensor]
"""By name of the parameter, [M, ...] each."""


class StackedUpdates:
    """Moves the parameters of M networks, in place.

    The rules by name work entry by entry, so that one update moves all. A norm that is clipped, a scheduler and an
    optimizer of one's own are about one network: each has its own then.

    Args:
        rule: which.
        networks: M of them; their ``trained`` parameters are moved.
        learning_rate: η; None where the optimizer knows its own.

    Raises:
        StudyError: as ``Updates``; if the optimizer evaluates the loss itself.
    """

    def __init__(self, rule: Rule, networks: StackedNetworks, learning_rate: float | None) -> None:
        self._trained = {name: p.requires_grad_() for name, p in networks.trained.items()}
        rates: Rates | None = None
        if learning_rate is not None:
            rates = _rates(networks, float(learning_rate))
        self._together = rule.by_name and not rule.with_scheduler and rule.clip is None
        if self._together:
            self._updates = [Updates(rule, self._trained, rates)]
            return
        # Views: what an optimizer does to them is done to the whole.
        self._own = [
            {name: p.detach()[i].requires_grad_() for name, p in self._trained.items()}
            for i in range(len(networks))
        ]
        self._updates = [Updates(rule, own, rates) for own in self._own]
        if takes_closure(self._updates[0].optimizer):
            raise StudyError(
                f"optimizer={name_of(rule.optimizer)} evaluates the loss several times a step, which only train "
                f"does; "
                "train the networks one by one, or choose another"
            )

    def follow(self, gradients: Tensors, losses: Tensor, awake: Tensor | None = None) -> None:
        """One update.

        Args:
            gradients: by parameter, [M, ...] each.
            losses: of every network, [M], for schedules that look at them.
            awake: networks that move, [M]; all if not given.
        """
        if self._together:
            self._all_at_once(gradients, awake)
            return
        for i, (own, updates) in enumerate(zip(self._own, self._updates, strict=True)):
            if awake is None or awake[i]:
                for name, p in own.items():
                    p.grad = gradients[name][i]
                updates.follow(float(losses[i]))

    def _all_at_once(self, gradients: Tensors, awake: Tensor | None) -> None:
        everyone = awake is None or bool(awake.all())
        before = {} if everyone else {k: p.detach().clone() for k, p in self._trained.items()}
        for name, p in self._trained.items():
            p.grad = gradients[name]
        self._updates[0].follow(0.0)
        with torch.no_grad():
            for name, old in before.items():
                p = self._trained[name]
                assert awake is not None  # or there were nothing to put back
                p.copy_(torch.where(awake.view(-1, *[1] * (p.ndim - 1)), p, old))


def _rates(networks: StackedNetworks, learning_rate: float) -> Rates:
    return lambda kind: networks.rates(learning_rate, kind)
