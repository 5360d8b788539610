"""The kernel on a probe at θ_0, θ_1, …, layer by layer."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import NtkgapError
from ntkgap.kernels import RepeatedKernel
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.models.substitution import replicate
from ntkgap.practice.monitor.linearization_gap import evaluation_of
from ntkgap.practice.monitor.sampled_outputs import SampledOutputs

#: Bytes for what a kernel needs beyond the network.
MEMORY = 10**9
#: Size of the move, relative to each parameter's own size, to a point where the structure of gradients is checked.
NUDGE = 0.1
#: Examples on which it is checked.
FEW = 4


@dataclass
class ProbeKernel:
    """K on one probe, along the outputs that are looked at.

    Attributes:
        sampled: which outputs.
        x: the probe.
        repeated: knows the structure of the network's gradients.
        trusted: whether it is checked once, or every time.
    """

    sampled: SampledOutputs
    x: Any
    repeated: RepeatedKernel = field(default_factory=lambda: RepeatedKernel(MEMORY))
    trusted: bool = True

    def check(self, start: nn.Module) -> None:
        """Check the structure of gradients on a few examples at θ_0, and at a point beside it.

        Where a parameter is zero, gradients of others may vanish (the first factor of a low-rank correction), and
        nothing can be checked on them.

        Raises:
            ModelError, KernelError: if there is no kernel at θ_0.
        """
        few = self._few()
        try:
            few._named(self.repeated.compute_checked, nudged(start), False)
        except NtkgapError:  # the network is not defined there
            self.trusted = False
        if self.trusted:
            few._named(self.repeated.compute_checked, start, False)

    def confirmed(self, start: nn.Module, kernels: dict[str, Tensor]) -> dict[str, Tensor]:
        """K_0 on all examples if vᵀKv = ‖Jᵀv‖² for random v; else it is computed again, with all checks."""
        if not self.trusted:
            return kernels
        asked, inputs = self.sampled.asked(start, self.x)
        evaluation = replace(evaluation_of(asked, inputs), writes=True)
        leaves = [p.detach().requires_grad_() for p in evaluation.start]
        with torch.enable_grad():
            outputs = evaluation.outputs(*leaves)
        v = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(outputs)
        square = 0.0
        if outputs.requires_grad:
            grads = torch.autograd.grad(outputs, leaves, v, allow_unused=True)
            square = sum(float(g.double().square().sum()) for g in grads if g is not None)
        w = v.reshape(len(v), -1).double()
        found = sum(float(torch.einsum("ia,ijab,jb->", w, k.double(), w)) for k in kernels.values())
        size = sum(float(torch.einsum("iiaa->", k.double())) for k in kernels.values())
        allowed = {torch.float64: 1e-9}.get(v.dtype, 1e-3)
        if abs(found - square) <= allowed * (square + size):
            return kernels
        self.trusted = False
        return self.at(start)

    def _few(self) -> "ProbeKernel":
        """The same on the first few examples, which shares what is checked."""
        x, v = Inputs.of(self.x), self.sampled.combinations
        sampled = self.sampled if v is None else replace(self.sampled, combinations=v[:FEW])
        return replace(self, x=x[:FEW].plain, sampled=sampled)

    def at(self, now: nn.Module, layerwise: bool = True) -> dict[str, Tensor]:
        """K_t by the name of the layer; with one name "" where layers are not kept apart."""
        return self._named(self.repeated if self.trusted else self.repeated.compute_checked, now, layerwise)

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
