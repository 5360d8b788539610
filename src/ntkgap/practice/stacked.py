"""Networks of one architecture with their parameters stacked, so that one call runs all of them."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from ntkgap.errors import ModelError
from ntkgap.models import parameter_groups
from ntkgap.models.substitution import Substitution, places


class StackedNetworks:
    """M networks of one architecture; a single one is called as it is.

    Args:
        networks: the networks; they are not changed.
        first: number of the first, for messages.

    Attributes:
        trained: parameters that are trained, by name, [M, ...].
        fixed: the others.
        rest: those and buffers.

    Raises:
        ModelError: if the networks differ in architecture, or have nothing to train.
    """

    def __init__(self, networks: Sequence[nn.Module], first: int = 0) -> None:
        self.skeleton, self._first = networks[0], first
        self._check_shared(networks)
        self._call = Substitution(self.skeleton)
        try:
            parameters, self._buffers = stack_module_state(list(networks))
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the members of an ensemble must share one architecture: {error}") from error
        self.trained = {k: p.detach() for k, p in parameters.items() if p.requires_grad}
        self.fixed = {k: p.detach() for k, p in parameters.items() if not p.requires_grad}
        self.rest = self.fixed | self._buffers
        if not self.trained:
            raise ModelError("the members have no parameters to train")

    def __len__(self) -> int:
        return len(next(iter(self.trained.values())))

    def rates(self, learning_rate: float, optimizer: str = "gd") -> dict[str, float]:
        """Learning rate of every trained parameter, with the factors that its layer asks for."""
        groups = parameter_groups(self.skeleton, learning_rate, optimizer)
        rates = {p: group["lr"] for group in groups for p in group["params"]}
        return {k: rates[p] for k, p in self.skeleton.named_parameters() if p.requires_grad}

    def outputs(self, trained: dict[str, Tensor], x: Tensor, each: bool = False) -> Tensor:
        """Outputs of every network, [M, n, C]; networks with one output may give it as [n].

        Args:
            trained: parameters, [M, ...] each.
            x: inputs that all share, [n, ...], or those of each, [M, n, ...].
            each: which of both.

        Raises:
            ModelError: if the networks cannot be run in one vectorised call.
        """
        parameters = trained | self.fixed
        if len(self) == 1:
            own = {k: v[0] for k, v in (parameters | self._buffers).items()}
            return _with_columns(self._call(own, (x[0] if each else x,))[None])

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            return self._call(parameters | buffers, (x,))

        try:
            return _with_columns(vmap(one, in_dims=(0, 0, 0 if each else None))(parameters, self._buffers, x))
        except RuntimeError as error:
            raise ModelError(
                f"the members cannot be run in one vectorised call ({error}); put them in eval mode if it is "
                "dropout or batch normalisation that stands in the way, or train them one by one"
            ) from error

    def network(self, i: int, trained: dict[str, Tensor]) -> nn.Module:
        """Network i with parameters as they are now, a copy of its own."""
        network = copy.deepcopy(self.skeleton)
        own = {k: v[i] for k, v in (trained | self.fixed | self._buffers).items()}
        with torch.no_grad():
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                tensor.copy_(own[name])
        return network

    def _check_shared(self, networks: Sequence[nn.Module]) -> None:
        """Refuse networks whose parameters have other names, or are shared between other places, than the first's.

        Raises:
            ModelError: naming the first such network.
        """
        expected = places(self.skeleton)
        for i, network in enumerate(networks):
            if places(network) != expected:
                raise ModelError(
                    f"the members of an ensemble must share one architecture: member {self._first + i} has other "
                    f"parameters than member {self._first}, or ties them differently; build all alike"
                )


def _with_columns(outputs: Tensor) -> Tensor:
    """[M, n] as [M, n, 1]: against targets [M, n, 1] the former would broadcast to a wrong number."""
    return outputs[..., None] if outputs.ndim == 2 else outputs
