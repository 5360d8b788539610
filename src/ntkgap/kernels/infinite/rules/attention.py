"""Self-attention whose logits are not random at infinite width."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.kernels.infinite.pairs import Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, State, rule
from ntkgap.kernels.infinite.rules.weights import (
    Coefficients,
    average,
    coefficients_of,
    gaussian_output,
    shares_of,
)
from ntkgap.kernels.infinite.signals import Layout
from ntkgap.models.attention import SelfAttention


@dataclass(frozen=True)
class Attention(Operation):
    r"""Attention with K = Q and logits QQᵀ/d, which tend to the kernel of the queries (Hron et al. 2020).

    .. math:: A(x) = \mathrm{softmax}(\sigma_q^2 \Sigma(x, x) + \sigma_{qb}^2), \qquad
              \Sigma \leftarrow A(x)\, \Sigma_V(x, x')\, A(x')^\top

    over tokens, between the maps to values and to outputs; the same for Θ. What the queries' own weights add to Θ
    falls like 1/d.
    """

    name: str
    query: Coefficients
    value: Coefficients
    output: Coefficients
    shares: tuple[float, ...]
    scales = "averaged"

    def wants_position_pairs(self, wanted: bool) -> bool:
        """Every token meets every other."""
        return True

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Values, mixed by the weights of either input, then outputs."""
        mean = average(states[0], self.shares)
        key = (self.name, 0)
        if at.recording:
            at.noted[key] = torch.softmax(mean.nngp * self.query.gain + self.query.shift, 1)
            first = second = at.noted[key]
        else:
            first = at.left.variances[key][..., at.rows]
            second = at.right.variances[key][..., at.cols]
        mixed = self.value.apply(mean, at.with_ntk).map(lambda k: self._mix(k, first, second, at.matched))
        return [self.output.apply(mixed, at.with_ntk)]

    @staticmethod
    def _mix(k: Tensor, first: Tensor, second: Tensor, matched: bool) -> Tensor:
        """A(x) K A(x')ᵀ for every pair."""
        if matched:
            return torch.einsum("abr,bdr,edr->aer", first, k, second)
        return torch.einsum("abr,bdrc,edc->aerc", first, k, second)


@rule(SelfAttention)
def attention(call: Call) -> Compiled:
    """The module SelfAttention with ``scaling="linear"``."""
    module, source = call.target, call.input
    if module.scaling != "linear":
        raise call.refusal(
            "applies softmax to logits QKᵀ/√d, which stay random at infinite width; use scaling='linear', whose "
            "limit has a closed form, or infinite_width_monte_carlo"
        )
    layout = source.layout
    if layout.flat or len(layout.positions) != 1 or layout.channel_axis != 2:
        raise call.refusal(f"takes tokens [n, T, width], not {('n', *source.value.shape[1:])}")
    query, value, output = (coefficients_of(call, m) for m in (module.query, module.value, module.output))
    operation = Attention(call.name, query, value, output, shares_of(source.signal))
    return Compiled(operation, [source], gaussian_output(call, Layout(layout.positions, 2), module.width))
