"""Steps that act on every entry alone: Σ ← E[φφ'], Θ ← Θ·E[φ̇φ̇'] (Jacot, Gabriel, Hongler 2018, proposition 1)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ntkgap.kernels.infinite.activations import Activation, quadrature_of
from ntkgap.kernels.infinite.activations.polynomial import Identity
from ntkgap.kernels.infinite.activations.rectifiers import ABReLU
from ntkgap.kernels.infinite.pairs import Moments, Tile, own_positions, with_own_positions
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, State, rule
from ntkgap.kernels.infinite.rules.normalization import learned
from ntkgap.kernels.infinite.signals import Signal


@dataclass(frozen=True)
class Pointwise(Operation):
    """A nonlinearity on every field."""

    name: str
    activation: Activation
    positions: int
    scales: Activation | None = None  # x·φ'(x), where trained scales act on the input
    shared: bool = True

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Expectations of products under the Gaussians that the fields are."""
        return [self._one(at, pairs, (self.name, i), moments) for i, moments in enumerate(states[0])]

    def _one(self, at: Tile, pairs: bool, key: tuple[str, int], moments: Moments) -> Moments:
        c, ntk = moments
        if at.recording:
            at.noted[key] = own_positions(c, self.positions) if pairs else c
        nngp, slope = self._expectations(self.activation, at, pairs, key, c, ntk is not None)
        out = Moments(nngp, None if ntk is None or slope is None else slope * ntk)
        if self.scales is None or not at.with_ntk:
            return out
        squares, _ = self._expectations(self.scales, at, pairs, key, c, False)
        return learned(out, squares, pairs and not self.shared, self.positions)

    def _expectations(
        self, activation: Activation, at: Tile, pairs: bool, key: tuple[str, int], c: Tensor, derivative: bool
    ) -> tuple[Tensor, Tensor | None]:
        """E[φφ'] and E[φ̇φ̇'] on a tile, exact where an input meets itself."""
        if not at.recording:
            return activation.covariance(c, *at.recall(key, pairs), derivative)
        q = at.noted[key]
        product, slope = activation.variance(q, derivative)
        if pairs:
            across, slope_across = activation.covariance(c, *at.spread(q, q, pairs), derivative)
            product = with_own_positions(across, product)
            slope = None if slope is None or slope_across is None else with_own_positions(slope_across, slope)
        return product, slope


def pointwise(call: Call, activation: Activation) -> Compiled:
    """Apply a nonlinearity to a Gaussian signal.

    Raises:
        ModelError: if the signal is not Gaussian, as behind another nonlinearity.
    """
    source = call.input
    if not source.signal.gaussian:
        raise call.refusal(
            "is applied to something that is not Gaussian at infinite width: the output of another nonlinearity, "
            "or a sum with one. Put a Linear or convolution in between, write several elementwise steps as one "
            "activation module, or use monte_carlo_kernel"
        )
    scales = {f.scales for f in source.signal.fields} - {""}
    if "mixed" in scales or (scales and any(not f.scales for f in source.signal.fields)):
        raise call.refusal(
            "acts on a sum or mean that holds the trained scales of a normalisation, whose part of the tangent "
            "kernel is then not known; freeze the scales (requires_grad=False), put the normalisation right "
            "before the nonlinearity, or use monte_carlo_kernel"
        )
    fields = tuple(replace(f, gaussian=False, zero_mean=activation.odd, scales="") for f in source.signal.fields)
    operation = Pointwise(
        call.name,
        activation,
        len(source.layout.positions),
        slope_times_input(call, activation) if scales else None,
        "own" not in scales,
    )
    return Compiled(operation, [source], Signal(source.layout, fields))


def slope_times_input(call: Call, activation: Activation) -> Activation:
    """ψ(x) = x·φ'(x): the derivative by the scale, at scale 1, of φ(scale·x)."""
    if isinstance(activation, ABReLU | Identity):
        return activation  # of degree one: x·φ'(x) = φ(x)

    def phi(x: Tensor) -> Tensor:
        if call.is_module:
            return call.target(x)
        function = getattr(torch.Tensor, call.target) if isinstance(call.target, str) else call.target
        return function(x, *call.args[1:], **call.kwargs)

    def psi(x: Tensor) -> Tensor:
        return x * torch.func.jvp(phi, (x,), (torch.ones_like(x),))[1]

    return quadrature_of(psi, f"x·φ'(x) of {activation.name}")


@dataclass(frozen=True)
class Same(Operation):
    """Nothing happens to the kernels."""

    keeps_scales = True

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """The state as it is."""
        return states[0]


@rule(nn.Identity, "contiguous", "clone", "to", "float", "double", "type")
def identity(call: Call) -> Compiled:
    """Steps without effect on values."""
    return Compiled(Same(), [call.input], call.input.signal)


@rule(nn.modules.dropout._DropoutNd)
def dropout(call: Call) -> Compiled:
    """Dropout does nothing in eval mode."""
    if call.target.training and call.target.p > 0:
        raise call.refusal(
            f"drops units at random in train mode (p={call.target.p:g}); call model.eval(), or set p=0"
        )
    return Compiled(Same(), [call.input], call.input.signal)
