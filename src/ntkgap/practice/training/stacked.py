"""Networks of one architecture with their parameters stacked, so that one call runs all of them where it can."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from ntkgap.errors import ModelError, NtkgapError
from ntkgap.models import parameter_groups
from ntkgap.models.calls import output_tensor
from ntkgap.models.substitution import call_with, places
from ntkgap.practice.checks import check_stackable
from ntkgap.practice.training.network_modes import (
    Masks,
    called,
    draw_seed,
    enough_for_statistics,
    evaluation_mode,
    modes_differ,
    refuse_dependence,
    set_training,
)


class StackedNetworks:
    """M networks of one architecture; a single one is called as it is.

    Asked they are in evaluation mode, trained in train mode (``network_modes``). Where the two differ, or a
    network cannot be run in one vectorized call, they are called one by one: that is how running statistics follow
        batches.

    All are run as the first of them with parameters of their own. That they compute the same function of these is
    seen on a few examples, at parameters that are moved a little: antisymmetric networks, and those whose last
    layer is zero, start with outputs of zero, whatever they are.

    Args:
        networks: the networks; they are not changed.
        examples: inputs that all share, [k, ...], or those of each, [M, k, ...]; a few (``modes.PROBED``).
        each: which of both.
        first: number of the first, for messages.
        generators: one a network, that give the seeds of their masks and are not moved; of seeds 0, 1, … if not
            given.

    Attributes:
        trained: parameters that are trained, by name, [M, ...].
        fixed: the others.
        rest: those and buffers.
        skeleton: the first network, in evaluation mode; its own parameters are not used.

    Raises:
        ModelError: if the networks differ in architecture, have nothing to train, or say something about a
            point that depends on the other points of the call.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        examples: Tensor,
        *,
        each: bool = False,
        first: int = 0,
        generators: Sequence[torch.Generator] | None = None,
    ) -> None:
        for network in networks:
            check_stackable(network)
        self.skeleton, self._first = copy.deepcopy(networks[0]).eval(), first
        self._flags = [module.training for module in networks[0].modules()]
        own = examples[0] if each else examples
        refuse_dependence(self.skeleton, own)
        self.modes_differ, self._one_by_one = modes_differ(networks[0], own), False
        self._check_shared(networks)
        try:
            parameters, self._buffers = stack_module_state(list(networks))
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the members of an ensemble must share one architecture: {error}") from error
        self.trained = {k: p.detach() for k, p in parameters.items() if p.requires_grad}
        self.fixed = {k: p.detach() for k, p in parameters.items() if not p.requires_grad}
        self.rest = self.fixed | self._buffers
        if not self.trained:
            raise ModelError("the members have no parameters to train")
        few = (examples if each else examples.expand(len(networks), *examples.shape))[:, :2]
        self._check_equal(networks, few)
        if len(networks) > 1 and not self._one_by_one:
            self._check_differentiable(few)
        if self.modes_differ:
            self._learner = copy.deepcopy(networks[0])
            set_training(self._learner)
            sources = generators or [torch.Generator().manual_seed(first + i) for i in range(len(networks))]
            self._seeds = [draw_seed(generator) for generator in sources]

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
            ModelError: if they return no tensor.
        """
        parameters = trained | self.fixed
        if len(self) > 1 and not self._one_by_one:

            def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
                return output_tensor(self.skeleton, call_with(self.skeleton, parameters | buffers, (x,)))

            try:
                return _with_columns(vmap(one, in_dims=(0, 0, 0 if each else None))(parameters, self._buffers, x))
            except RuntimeError as error:
                if isinstance(error, NtkgapError):
                    raise
                self._one_by_one = True  # what is wrong with the network itself is raised below
        own = [self._own(i, parameters) for i in range(len(self))]
        return self._stacked([called(self.skeleton, x[i] if each else x, p) for i, p in enumerate(own)])

    def begin(self, step: int, awake: Tensor | None = None) -> None:
        """Begin an update: new masks are drawn for it.

        Args:
            step: its number.
            awake: the networks that take part, [M]; the running statistics of the others stand still. All if not
                given.
        """
        if self.modes_differ:
            self._awake = [True] * len(self) if awake is None else awake.tolist()
            device = next(iter(self.trained.values())).device
            self._masks = [Masks(seed, step, device) for seed in self._seeds]

    def learning_outputs(self, trained: dict[str, Tensor], x: Tensor, each: bool = False) -> Tensor:
        """``outputs`` as an update takes them: in train mode, with masks, and running statistics follow.

        Raises:
            StudyError: if a batch is too small for its own statistics.
        """
        if not self.modes_differ:
            return self.outputs(trained, x, each)
        found = []
        for i, (masked, awake) in enumerate(zip(self._masks, self._awake, strict=True)):
            with masked, enough_for_statistics():
                model = self._learner if awake else self.skeleton
                found.append(called(model, x[i] if each else x, self._own(i, trained | self.fixed)))
        return self._stacked(found)

    def _own(self, i: int, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of network i: views, so that what it writes into its buffers stays there."""
        return {k: v[i] for k, v in (parameters | self._buffers).items()}

    def _stacked(self, outputs: Sequence[Tensor]) -> Tensor:
        return _with_columns(torch.stack(list(outputs)))

    def network(self, i: int, trained: dict[str, Tensor]) -> nn.Module:
        """Network i with parameters as they are now, a copy of its own, in evaluation mode."""
        network = copy.deepcopy(self.skeleton)
        own = {k: v[i] for k, v in (trained | self.fixed | self._buffers).items()}
        with torch.no_grad():
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                tensor.copy_(own[name])
        return network

    def train_alone(self, i: int, train: Callable[[nn.Module], None]) -> None:
        """Let a function train network i in place, in the modes that the first was given in."""
        network, stacked = self.network(i, self.trained), self.trained | self.rest
        for module, flag in zip(network.modules(), self._flags, strict=True):
            module.training = flag
        train(network)
        with torch.no_grad():
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                stacked[name][i].copy_(tensor)

    def _check_differentiable(self, examples: Tensor) -> None:
        """Call networks one by one if the vectorized call has no gradient, as attention's fast path has none."""
        with torch.enable_grad():
            trained = {name: p.detach().requires_grad_() for name, p in self.trained.items()}
            try:
                outputs = self.outputs(trained, examples, each=True)
                torch.autograd.grad(outputs.sum(), list(trained.values()), allow_unused=True)
            except RuntimeError as error:
                if isinstance(error, NtkgapError):
                    raise
                self._one_by_one = True

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

    def _check_equal(self, networks: Sequence[nn.Module], examples: Tensor) -> None:
        """Refuse networks that make something else of the same parameters than the first, or learn at other rates.

        Raises:
            ModelError: naming the first such network.
        """
        if len(networks) == 1:
            return
        generator = torch.Generator().manual_seed(0)
        trained = {name: _moved(p, generator) for name, p in self.trained.items()}
        with torch.no_grad():
            try:
                together = self.outputs(trained, examples, each=True)
            except Exception:  # a network may not be defined there; if it is nowhere, this says so
                trained = self.trained
                together = self.outputs(trained, examples, each=True)
            alone: list[Tensor] = []
            for i, network in enumerate(networks):
                own = {k: v[i] for k, v in (trained | self.rest).items()}
                with evaluation_mode(network):
                    found = called(network, examples[i], own)
                alone += _with_columns(found[None])
        # Of all: an output that happens to be nearly zero has errors of the others' size. The first differs from
        # itself by rounding alone, and networks that amplify it do so more than others.
        rounding = 10.0 * _largest(alone[0] - together[0])
        tolerance = max(torch.finfo(together.dtype).eps ** 0.5 * _largest(together), rounding)
        for i, (network, found) in enumerate(zip(networks, alone, strict=True)):
            same = found.shape == together[i].shape and torch.allclose(
                found, together[i], atol=tolerance, equal_nan=True
            )
            if not same or _rates(network) != _rates(self.skeleton):
                raise ModelError(
                    f"the members of an ensemble must share one architecture: member {self._first + i} makes "
                    f"something else of its parameters than member {self._first} would, or learns at other rates; "
                    "give all the same nonlinearity, scales and parametrization"
                )


def _moved(p: Tensor, generator: torch.Generator) -> Tensor:
    """Parameters of all networks, [M, ...], moved by the same tenth of their size; of 1 where all are zero."""
    noise = torch.randn(p.shape[1:], generator=generator, dtype=p.dtype)
    size = p.abs().mean()
    return p + 0.1 * torch.where(size > 0, size, 1.0) * noise.to(p.device)


def _largest(values: Tensor) -> float:
    """Largest magnitude of what is finite."""
    return float(values.abs().nan_to_num(0.0, posinf=0.0).max())


def _rates(network: nn.Module) -> list[list[float]]:
    """Factors of the learning rates of all parameters, for linear rules and for Adam."""
    found = []
    for optimizer in ("gd", "adam"):
        factors = {p: group["lr"] for group in parameter_groups(network, 1.0, optimizer) for p in group["params"]}
        found.append([factors[p] for p in network.parameters()])
    return found


def _with_columns(outputs: Tensor) -> Tensor:
    """[M, n] as [M, n, 1]: against targets [M, n, 1] the former would broadcast to a wrong number."""
    return outputs[..., None] if outputs.ndim == 2 else outputs
