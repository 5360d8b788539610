"""The linearized model: the first-order Taylor expansion of a network in its parameters."""

from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, cast
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from ntkgap.errors import ModelError
from ntkgap.kernels.empirical.network.refusals import refuse_coupling_layers
from ntkgap.kernels.empirical.network.selection import select_parameters
from ntkgap.models.calls import call_arguments
from ntkgap.models.substitution import replicate, unwrapped
from ntkgap.practice.training.linearized.network_at_start import Evaluation
from ntkgap.practice.training.linearized.route_check import find_route
from ntkgap.practice.training.linearized.routes import Route
from ntkgap.practice.training.linearized.snapshot import snapshot


class LinearizedModel(nn.Module):
    """First-order Taylor expansion in the parameters; see :func:`linearize`.

    Attributes:
        network: a copy of the network, which holds the present parameters θ.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ModelError(f"linearize takes an nn.Module, got {type(model).__name__}")
        model = unwrapped(model)
        refuse_coupling_layers(model)
        select_parameters(model)  # refuses a network that has none to linearize in
        with torch.inference_mode(False):
            self.network = snapshot(model)
            trained = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
            for i, p in enumerate(trained.values()):
                self.register_buffer(f"anchor_{i}", p.detach().clone())
        self._names = tuple(trained)
        # What is evaluated: not a submodule, so that train() and eval() do not reach it.
        self._evaluated = (replicate(self.network),)
        self._routes = _Routes(WeakValueDictionary(model.named_parameters()))
        self.training = model.training

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """f(x; θ0) + J(x; θ0)(θ − θ0), in the shape of the network's outputs.

        Args:
            args: those of the network; one mapping or tuple alone holds keyword or positional arguments.
            kwargs: those of the network.
        """
        if len(args) == 1 and not kwargs:
            args, kwargs = call_arguments(self.network, args[0])
        start = tuple(cast(Tensor, self._buffers[f"anchor_{i}"]) for i in range(len(self._names)))
        with _plainly(start[0].device):
            parameters = dict(self.network.named_parameters())
            present = [parameters.pop(name) for name in self._names]
            constants = {name: p.detach() for name, p in parameters.items()} | dict(self.network.named_buffers())
            evaluation = Evaluation(self._evaluated[0], self._names, start, constants, _normal((args, kwargs)))
            route, writes = self._routes.of(evaluation)
            step = tuple(p - p0 for p, p0 in zip(present, start, strict=True))
            value, change = route(replace(evaluation, writes=True) if writes else evaluation, step)
            return value + change

    def train(self, mode: bool = True) -> "LinearizedModel":
        """Sets the flag alone: the network is linearized in the mode it was in."""
        self.training = mode
        return self

    def extra_repr(self) -> str:
        """How derivatives are evaluated."""
        return f"derivative: {', '.join(self._routes.names()) or 'chosen at the first call'}"


class _Routes:
    """The route for each kind of input that was seen. All replicas of a model share it; copies start anew.

    Args:
        given: the parameters of the user's own network, which are not to be used.
    """

    def __init__(self, given: "WeakValueDictionary[str, Tensor]") -> None:
        self._given = given
        self._found: dict[Hashable, tuple[Route, bool]] = {}

    def __deepcopy__(self, memo: dict) -> "_Routes":
        return _Routes(self._given)

    def __reduce__(self) -> Any:
        return _Routes, ({},)  # another process has other objects

    def of(self, evaluation: Evaluation) -> tuple[Route, bool]:
        """The route, and whether the network writes into its tensors."""
        kind = evaluation.kind()
        if kind not in self._found:
            route, writes, lasting = find_route(evaluation, self._given)
            if not lasting:
                return route, writes
            self._found[kind] = route, writes
        return self._found[kind]

    def names(self) -> list[str]:
        """Of all routes in use."""
        return list(dict.fromkeys(route.name for route, _ in list(self._found.values())))


@contextmanager
def _plainly(device: torch.device) -> Iterator[None]:
    """No autocast, which would change the numbers, and no inference mode, which knows no derivatives."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        for kind in {device.type, "cpu"}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _normal(arguments: Any) -> Any:
    """Inputs that were made in inference mode cannot take part in derivatives: copies can."""
    if not any(isinstance(leaf, Tensor) and leaf.is_inference() for leaf in tree.tree_leaves(arguments)):
        return arguments
    return tree.tree_map_only(Tensor, torch.clone, arguments)


def linearize(model: nn.Module) -> LinearizedModel:
    r"""First-order Taylor expansion of a network at its present parameters θ0.

    .. math:: f^{\mathrm{lin}}(x; \theta) = f(x; \theta_0) + J(x; \theta_0)(\theta - \theta_0)

    The linearized model is an ``nn.Module`` with parameters of its own that start at θ0: train it with any
    optimizer. Gradient descent on the squared loss then does exactly what the kernel K(θ0) predicts: J is that of
    :func:`empirical_ntk`, which is reverse mode on the network as it is. Source: Lee et al. 2019, equation 5.

    J w is evaluated in forward mode. On the first call for each kind of input (types and shapes of the arguments)
    it is compared with reverse mode in random directions; where it fails or differs, as for attention in one
    piece, ``torch.no_grad()`` in the forward, or an ``autograd.Function``, these are tried in turn: fused
    functions written out, double backward, and one backward pass for each output. ``print`` the model to see
    which is used.

    The given network is copied, not changed, and evaluated in the mode it is in now: ``train()`` and ``eval()`` of
    the linearized model have no effect. Frozen parameters (``requires_grad=False``) and buffers are constants.
    Outputs keep their shape; of an object or mapping with ``logits`` these are the outputs. Gradients with respect
    to the inputs are there where forward mode is.

    Args:
        model: any network with parameters that require grad.

    Raises:
        ModelError: if there are none; if a layer is random or mixes the examples in the mode it is in; if the
            network is of TorchScript, or has no values yet. When called: if the network does not return one
            tensor, is random, is not finite, or has no derivative.
        DataError: when called, if the inputs are of another dtype or device than the network.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
        >>> linear, x = ng.linearize(net), torch.randn(5, 3)
        >>> bool(torch.allclose(linear(x), net(x), atol=1e-6))  # equal at θ₀
        True
    """
    return LinearizedModel(model)
