r"""Trained factors of a branch: one a channel (LayerScale), or one for all of them that starts at zero (ReZero).

.. math:: y_c = s_c\, g_c: \qquad \Sigma \leftarrow s^2 \Sigma_g, \quad \Theta \leftarrow s^2 \Theta_g + \Sigma_g

With a factor for every channel the last term is a mean over channels, as for the weights of a layer. With one
factor r for all of them ∂f/∂r is a single number, Gaussian at infinite width: its part of the tangent kernel
*stays random however wide the network is*, and Σ_g is its expectation. That holds at r = 0. Elsewhere r changes
the variance of what comes after, ∂f/∂r is correlated with later slopes, and no such term is right.

Sources: Bachlechner et al. 2021, *ReZero is all you need*; De, Smith 2020 (SkipInit); Touvron et al. 2021
(LayerScale). The term is what Jacot, Gabriel, Hongler 2018 give for one more parameter a channel.
"""

from dataclasses import dataclass, replace
from typing import TypeGuard

from torch import Tensor

from ntkgap.kernels.infinite.drawn import Drawn, drawn_by_view
from ntkgap.kernels.infinite.pairs import Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, Random, State
from ntkgap.kernels.infinite.rules.normalization import learned
from ntkgap.kernels.infinite.rules.offsets import rows_of
from ntkgap.kernels.infinite.rules.weights import use_once


@dataclass(frozen=True)
class Scaled(Operation):
    """A trained factor.

    Attributes:
        factor: its present value s.
        shared: whether positions share it.
        positions: how many position axes there are.
    """

    factor: float
    shared: bool
    positions: int

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """s²Σ, and s²Θ + Σ, the latter's new part at equal positions where these do not share the factor."""
        scaled = [moments.map(lambda k: k * self.factor**2) for moments in states[0]]
        if not at.with_ntk:
            return scaled
        own = pairs and not self.shared
        return [learned(s, m.nngp, own, self.positions) for s, m in zip(scaled, states[0], strict=True)]


def is_trained(factor: object) -> TypeGuard[Tensor | Drawn]:
    """Whether a factor is made of trained parameters."""
    return isinstance(factor, Drawn) or (isinstance(factor, Tensor) and factor.requires_grad)


def trained_scale(call: Call, factor: Tensor | Drawn, source: Random) -> Compiled:
    """A signal times a trained parameter.

    Raises:
        ModelError: if it is not followed: a function of parameters, entries that differ, one number that is not 0.
    """
    drawn = factor if isinstance(factor, Drawn) else drawn_by_view(factor, call.names)
    if drawn.parameter is None or drawn.entries is None:
        raise call.refusal(
            "multiplies the signal by a function of parameters; only parameters themselves are followed, use "
            "infinite_width_monte_carlo for others"
        )
    name = use_once(call, drawn.parameter)
    value, layout = drawn.value, source.layout
    one = drawn.entries.numel() == 1
    if not bool((value == value.flatten()[0]).all()):
        raise call.refusal(
            f"multiplies the signal by {name!r}, whose entries differ; only factors that start equal are "
            "followed. Pass a model that is not trained, or use infinite_width_monte_carlo"
        )
    start = float(value.flatten()[0])
    if one and start:
        raise call.refusal(
            f"multiplies the signal by the trained number {name!r} = {start:.4g}: one number for all channels "
            "changes the variance of whatever comes after, and no recursion is known for that. Freeze it "
            "(requires_grad=False), start it at 0, give every channel a factor of its own, or use "
            "infinite_width_monte_carlo"
        )
    shared = True
    if not one:
        rows = rows_of(call, drawn.entries, source)
        shared = bool((rows == rows[:1]).all())
        if len(rows[0].unique()) < rows.shape[1] or not (shared or len(rows.unique()) == rows.numel()):
            raise call.refusal(
                f"multiplies the signal by {name!r} of shape {tuple(drawn.parameter.shape)}, which some channels "
                "or some positions share; give it an entry for every channel"
            )
    # Behind a factor that is not zero slopes of a nonlinearity are correlated with the channel it is trained on.
    fields = tuple(replace(f, scales="mixed" if start else "") for f in source.signal.fields)
    remark = (
        f"{name!r} is one trained number for all channels: its part of the tangent kernel stays random at any "
        "width, and what is returned is its expectation (see docs/infinite_width.md)"
    )
    return Compiled(
        Scaled(start, shared, len(layout.positions)),
        [source],
        replace(source.signal, fields=fields),
        remark if one else "",
    )
