"""Steps that act on every entry alone: Σ ← E[φφ'], Θ ← Θ·E[φ̇φ̇'] (Jacot, Gabriel, Hongler 2018, proposition 1)."""

from dataclasses import dataclass, replace

from torch import nn

from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.pairs import Moments, Tile, own_positions, with_own_positions
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, State, rule
from ntkgap.kernels.infinite.signals import Signal


@dataclass(frozen=True)
class Pointwise(Operation):
    """A nonlinearity on every field."""

    name: str
    activation: Activation
    positions: int

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Expectations of products under the Gaussians that the fields are."""
        return [self._one(at, pairs, (self.name, i), moments) for i, moments in enumerate(states[0])]

    def _one(self, at: Tile, pairs: bool, key: tuple[str, int], moments: Moments) -> Moments:
        c, ntk = moments
        differentiate = ntk is not None
        if not at.recording:
            nngp, slope = self.activation.covariance(c, *at.recall(key, pairs), differentiate)
            return Moments(nngp, None if ntk is None or slope is None else slope * ntk)
        q = own_positions(c, self.positions) if pairs else c
        at.noted[key] = q
        nngp, slope = self.activation.variance(q, differentiate)
        if pairs:  # off the diagonal of positions; on it, the variances hold exactly
            across, slope_across = self.activation.covariance(c, *at.spread(q, q, pairs), differentiate)
            nngp = with_own_positions(across, nngp)
            slope = None if slope is None or slope_across is None else with_own_positions(slope_across, slope)
        return Moments(nngp, None if ntk is None or slope is None else slope * ntk)


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
    fields = tuple(replace(f, gaussian=False, zero_mean=activation.odd) for f in source.signal.fields)
    operation = Pointwise(call.name, activation, len(source.layout.positions))
    return Compiled(operation, [source], Signal(source.layout, fields))


@dataclass(frozen=True)
class Same(Operation):
    """Nothing happens to the kernels."""

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
