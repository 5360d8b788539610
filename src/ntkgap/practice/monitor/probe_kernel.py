"""The kernel on a probe at θ_0, θ_1, …, layer by layer."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import NtkgapError
from ntkgap.kernels import RepeatedKernel
from ntkgap.models.substitution import replicate
from ntkgap.practice.monitor.sampled_outputs import SampledOutputs

#: Bytes for what a kernel needs beyond the network.
MEMORY = 10**9
#: Size of the move, relative to each parameter's own size, to a point where the structure of gradients is proved.
NUDGE = 0.1


@dataclass
class ProbeKernel:
    """K on one probe, along the outputs that are looked at.

    Attributes:
        sampled: which outputs.
        x: the probe.
        repeated: knows the structure of the network's gradients.
        trusted: whether it is believed, or proved every time.
    """

    sampled: SampledOutputs
    x: Any
    repeated: RepeatedKernel = field(default_factory=lambda: RepeatedKernel(MEMORY))
    trusted: bool = True

    def at_start(self, start: nn.Module) -> dict[str, Tensor]:
        """K_0 by the name of the layer, [n, n, s, s], proved there and at a point beside it.

        Where a parameter is zero, gradients of others may vanish (the first factor of a low-rank correction), and
        nothing can be proved of them.
        """
        try:
            self._named(self.repeated.prove, nudged(start), True)
        except NtkgapError:  # the network is not defined there
            self.trusted = False
        return self._named(self.repeated.prove, start, True)

    def at(self, now: nn.Module, layerwise: bool = True) -> dict[str, Tensor]:
        """K_t by the name of the layer; with one name "" where layers are not kept apart."""
        return self._named(self.repeated if self.trusted else self.repeated.prove, now, layerwise)

    def _named(self, kernel: Any, network: nn.Module, layerwise: bool) -> dict[str, Tensor]:
        asked, inputs = self.sampled.asked(network, self.x)
        found: dict[str, Tensor] = kernel(asked, inputs, layerwise)
        if asked is network:
            return found
        return {name.removeprefix("network").removeprefix("."): k for name, k in found.items()}


def nudged(network: nn.Module) -> nn.Module:
    """The network at parameters a little beside its own, none of them zero."""
    generator = torch.Generator().manual_seed(0)
    values: dict[str, Tensor] = {}
    for name, p in network.named_parameters():
        if p.requires_grad:
            size = float(p.detach().square().mean().sqrt()) or 1.0
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float32).to(p)
            values[name] = (p.detach() + NUDGE * size * noise).requires_grad_()
    return replicate(network, values)
