"""Kernels of all positions of all inputs as one dense matrix: the recursion written out, slow and plain."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Points:
    """Σ and Θ between n·N points: N positions of each of n inputs, [n·N, n·N]."""

    nngp: Tensor
    ntk: Tensor
    n: int

    @staticmethod
    def of(x: Tensor) -> "Points":
        """Inputs [n, N, d], whose inner products are divided by d."""
        flat = x.flatten(0, -2)
        products = flat @ flat.T / x.shape[-1]
        return Points(products, torch.zeros_like(products), len(x))

    def mapped(self, matrix: Tensor) -> "Points":
        """Positions of every input mapped by a matrix [out, in]."""
        whole = torch.kron(torch.eye(self.n, dtype=torch.float64), matrix.double().contiguous())
        return Points(whole @ self.nngp @ whole.T, whole @ self.ntk @ whole.T, self.n)

    def mean(self) -> "Points":
        """The mean over positions."""
        positions = len(self.nngp) // self.n
        return self.mapped(torch.full((1, positions), 1 / positions, dtype=torch.float64))

    def layer(
        self, gain: float, shift: float = 0.0, weights: float = math.nan, biases: float = math.nan
    ) -> "Points":
        """Weights of variance gain/fan-in and biases of variance shift, in NTK parametrization if no more is said.

        Args:
            gain: σ_w².
            shift: σ_b².
            weights: what Θ gains for a unit of Σ.
            biases: what it gains from biases.
        """
        weights, biases = (v if math.isnan(w) else w for v, w in ((gain, weights), (shift, biases)))
        return Points(gain * self.nngp + shift, weights * self.nngp + biases + gain * self.ntk, self.n)

    def filters(self, taps: list[Tensor], gain: float) -> "Points":
        """A convolution: one matrix [out, in] a tap, weights of variance gain/(channels·taps)."""
        parts = [self.mapped(tap).layer(gain / len(taps)) for tap in taps]
        return Points(sum(p.nngp for p in parts), sum(p.ntk for p in parts), self.n)

    def relu(self) -> "Points":
        """E[φφ'] and E[φ̇φ̇'] of ReLU by the angle between the two (Cho, Saul 2009)."""
        q = self.nngp.diagonal()
        size = (q[:, None] * q[None]).sqrt()
        angle = torch.arccos((self.nngp / size.clamp(min=1e-300)).clamp(-1, 1))
        angle.fill_diagonal_(0.0)
        nngp = size * (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)
        slope = (math.pi - angle) / (2 * math.pi)
        return Points(nngp, slope * self.ntk, self.n)

    def plus(self, other: "Points") -> "Points":
        """An independent signal added."""
        return Points(self.nngp + other.nngp, self.ntk + other.ntk, self.n)
