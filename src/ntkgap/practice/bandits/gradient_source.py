"""Values and gradients of a policy's network, asked for the same inputs more than once a round."""

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError
from ntkgap.kernels import RepeatedJacobian
from ntkgap.practice.bandits.gradients import FactoredGradients, gradients_at
from ntkgap.practice.bandits.policy import Diverged


class GradientSource:
    """Gradients in float64, whatever the network trains in; the answer to the last question is remembered.

    Args:
        network: maps the inputs of ``Environment.inputs`` to one number an arm, flattened.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network, self._evaluate = network, RepeatedJacobian(network)
        self._last: tuple[Tensor, Tensor, FactoredGradients] | None = None

    def refresh(self) -> None:
        """Take the parameters as they are now."""
        self._evaluate.refresh()
        self._last = None

    def __call__(self, inputs: Tensor) -> tuple[Tensor, FactoredGradients]:
        """Expected rewards [K], on the CPU, and their gradients on the network's device, an arm each.

        Raises:
            Diverged: if one is not finite.
        """
        if self._last is None or not torch.equal(self._last[0], inputs):
            try:
                jacobian = self._evaluate(inputs.to(next(self._network.parameters()).device))
            except ModelError as error:
                raise self._diverged(inputs) or error from error
            gradients = FactoredGradients.of(jacobian)
            if not torch.isfinite(gradients.squared_norms()).all():
                raise Diverged("gradients of the network are not finite; lower the learning rate")
            self._last = inputs.clone(), jacobian.outputs.flatten().cpu(), gradients
        return self._last[1:]

    def at(self, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, FactoredGradients]:
        """Values [t] and gradients of one output of each of t examples."""
        try:
            return gradients_at(self._evaluate, inputs, outputs)
        except ModelError as error:
            raise self._diverged(inputs) or error from error

    def _diverged(self, inputs: Tensor) -> Diverged | None:
        """The error that a network with infinite outputs calls for."""
        parameter = next(self._network.parameters())
        with torch.no_grad():
            finite = torch.isfinite(self._network(inputs.to(parameter))).all()
        return None if finite else Diverged("the network's outputs are not finite; lower the learning rate")
