"""The linearised twin of a network: its first-order Taylor expansion in the parameters."""

import copy

from torch import Tensor, nn
from torch.func import jvp

from ntkgap.errors import ModelError
from ntkgap.models.substitution import call_with


class LinearizedModel(nn.Module):
    """First-order Taylor twin; see ``linearize``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(model)
        self.names = [name for name, _ in self.network.named_parameters()]
        if not self.names:
            raise ModelError("the model has no parameters, so there is nothing to linearise in")
        for i, (_, p) in enumerate(self.network.named_parameters()):
            self.register_buffer(f"anchor_{i}", p.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """f(x; θ0) + J(x; θ0)(θ − θ0), [n, ...] -> [n, C]."""
        anchor = {name: self.get_buffer(f"anchor_{i}") for i, name in enumerate(self.names)}
        step = {name: p - anchor[name] for name, p in self.network.named_parameters()}
        buffers = dict(self.network.named_buffers())

        def outputs(parameters: dict[str, Tensor]) -> Tensor:
            return call_with(self.network, parameters | buffers, (x,))

        try:
            value, change = jvp(outputs, (anchor,), (step,))  # type: ignore[misc]  # three values only with has_aux
        except NotImplementedError as error:
            raise ModelError(
                f"the model uses an operation without forward-mode derivative ({error}); for attention choose "
                "the math backend (torch.nn.attention.sdpa_kernel), recurrent layers have no such remedy"
            ) from error
        return value + change


def linearize(model: nn.Module) -> LinearizedModel:
    r"""First-order Taylor twin of ``model`` at its present parameters θ0.

    .. math:: f^{\mathrm{lin}}(x; \theta) = f(x; \theta_0) + J(x; \theta_0)(\theta - \theta_0)

    The twin is an ``nn.Module`` with parameters of its own that start at θ0: train it with any optimiser.
    Gradient descent on the squared loss then does exactly what the kernel K(θ0) predicts. The given
    model is copied, not changed. Source: Lee et al. 2019, equation 5.

    Args:
        model: any network with parameters; buffers keep their present values.

    Raises:
        ModelError: if the model has no parameters, or, when called, if an operation in it has no
            forward-mode derivative.
    """
    return LinearizedModel(model)
