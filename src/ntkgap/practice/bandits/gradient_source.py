"""Values and gradients of a policy's network, asked for the same inputs more than once a round."""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError
from ntkgap.kernels import RepeatedJacobian
from ntkgap.practice.bandits.gradients import BLOCK, FactoredGradients, gradients_at
from ntkgap.practice.bandits.policy import Diverged

Answer = tuple[Tensor, FactoredGradients]


class GradientSource:
    """Gradients in float64, whatever the network trains in; the answer to the last question is remembered.

    Args:
        network: maps the inputs of ``Environment.inputs`` to one number an arm, flattened.
        ahead: up to so many inputs that will be asked about next, in this order, before the parameters change.
            They are evaluated together with the present ones, which takes little longer.
    """

    def __init__(self, network: nn.Module, ahead: Callable[[int], Sequence[Tensor]] | None = None) -> None:
        self._network, self._evaluate, self._ahead = network, RepeatedJacobian(network), ahead
        self._last: tuple[Tensor, Answer] | None = None
        self._next: deque[tuple[Tensor, Answer]] = deque()

    def refresh(self) -> None:
        """Take the parameters as they are now."""
        self._evaluate.refresh()
        self._last = None
        self._next.clear()

    def __call__(self, inputs: Tensor) -> Answer:
        """Expected rewards [K], on the CPU, and their gradients on the network's device, an arm each.

        Raises:
            Diverged: if one is not finite.
        """
        while self._last is None or not torch.equal(self._last[0], inputs):
            if not self._next:
                self._next.extend(self._found(inputs))
            self._last = self._next.popleft()
        return self._last[1]

    def at(self, inputs: Tensor, outputs: Tensor) -> Answer:
        """Values [t] and gradients of one output of each of t examples."""
        try:
            return gradients_at(self._evaluate, inputs, outputs)
        except ModelError as error:
            raise self._diverged(inputs) or error from error

    def _found(self, inputs: Tensor) -> list[tuple[Tensor, Answer]]:
        """Answers about these inputs, and about those ahead where all of them are finite."""
        if self._ahead is not None:
            room = BLOCK // len(inputs) - 1
            asked = [inputs, *(x for x in self._ahead(room) if x.shape == inputs.shape)]
            try:
                return self._together(asked)
            except (ModelError, Diverged):  # of a later round, it may be: that one shall say so
                pass
        return self._together([inputs])

    def _together(self, asked: list[Tensor]) -> list[tuple[Tensor, Answer]]:
        inputs = torch.cat(asked)
        try:
            jacobian = self._evaluate(inputs.to(next(self._network.parameters()).device))
        except ModelError as error:
            raise self._diverged(inputs) or error from error
        gradients, values = FactoredGradients.of(jacobian), jacobian.outputs.flatten().cpu()
        if not torch.isfinite(gradients.squared_norms()).all():
            raise Diverged("gradients of the network are not finite; lower the learning rate")
        arms = len(values) // len(asked)
        rows = [slice(k * arms, (k + 1) * arms) for k in range(len(asked))]
        return [(x.clone(), (values[own], gradients.rows(own))) for x, own in zip(asked, rows, strict=True)]

    def _diverged(self, inputs: Tensor) -> Diverged | None:
        """The error that a network with infinite outputs calls for."""
        parameter = next(self._network.parameters())
        with torch.no_grad():
            finite = torch.isfinite(self._network(inputs.to(parameter))).all()
        return None if finite else Diverged("the network's outputs are not finite; lower the learning rate")
