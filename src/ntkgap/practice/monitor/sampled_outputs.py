"""The kernel on a probe: all of it where it is small, else along random combinations of the outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.models.calls import call_arguments, output_tensor

#: Rows of K, n·C, up to which it is had in full; and about how many there are where outputs are sampled.
FULL_ROWS, SAMPLED_ROWS = 256, 64


class Combined(nn.Module):
    """The outputs along given combinations, which differ from example to example: [n, C] to [n, s]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, combinations: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """⟨v_ia, f(x_i)⟩ for combinations v, [n, s, C]."""
        outputs = output_tensor(self.network, self.network(*args, **kwargs))
        return torch.einsum("nc,nsc->ns", outputs.reshape(len(combinations), -1), combinations)


@dataclass(frozen=True)
class SampledOutputs:
    r"""Which rows of K are looked at.

    With s random signs v_ia ∈ {−1, 1}^C for each example i, independent of each other,

    .. math:: E\,(v_{ia}^\top A_{ij} v_{jb})(v_{ia}^\top B_{ij} v_{jb}) = \langle A_{ij}, B_{ij}\rangle_F

    wherever (i, a) ≠ (j, b). The mean over such a, b for each i, j therefore estimates ⟨A, B⟩_F without bias, and
    the trace is estimated from v_iaᵀ A_ii v_ia. Source: Hutchinson 1989 for the trace.

    Attributes:
        combinations: v, [n, s, C], and the targets behind them if there are such; None for all outputs.
        samples: s.
        targets: whether the targets are the last of the combinations.
    """

    combinations: Tensor | None = None
    samples: int = 0
    targets: bool = False

    @classmethod
    def drawn(cls, outputs: Tensor, targets: Tensor | None, samples: int | None, seed: int) -> "SampledOutputs":
        """All outputs where n·C ≤ 256, else about 64 / n random combinations, at least two.

        Args:
            outputs: f, [n, C].
            targets: [n, C], along which the kernel is looked at besides.
            samples: s; by default as above.
            seed: of the combinations.
        """
        n, classes = outputs.shape
        wanted = samples if samples is not None else max(2, SAMPLED_ROWS // n)
        if (samples is None and n * classes <= FULL_ROWS) or wanted >= classes:
            return cls()
        generator = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, (n, wanted, classes), generator=generator) * 2 - 1
        combinations = signs.to(outputs)
        if targets is not None:
            combinations = torch.cat([combinations, targets.to(outputs)[:, None]], 1)
        return cls(combinations, wanted, targets is not None)

    def asked(self, network: nn.Module, x: Any) -> tuple[nn.Module, Any]:
        """A network and inputs whose whole kernel is the one along the combinations, [n, n, s, s]."""
        if self.combinations is None:
            return network, x
        args, kwargs = call_arguments(network, x)
        return Combined(network), {"combinations": self.combinations, **kwargs} if kwargs else (
            self.combinations,
            *args,
        )

    def weighted(self, kernel: Tensor) -> Tensor:
        """Entries scaled so that their plain Frobenius products are estimates of those of the whole kernels."""
        if self.combinations is None:
            return kernel
        s, n = self.samples, len(kernel)
        scaled = kernel[:, :, :s, :s] / s
        i = torch.arange(n, device=kernel.device)
        scaled[i, i] *= (s / (s - 1)) ** 0.5 * (1 - torch.eye(s, dtype=kernel.dtype, device=kernel.device))
        return scaled

    def trace(self, kernel: Tensor) -> float:
        """Tr K, or its estimate."""
        s = self.samples or kernel.shape[2]
        diagonal = torch.einsum("iiaa->", kernel[:, :, :s, :s].double())
        return float(diagonal) / (self.samples or 1)

    def along_targets(self, kernel: Tensor, targets: Tensor) -> float:
        """yᵀ K y, without sampling error."""
        if self.combinations is not None:
            return float(kernel[:, :, -1, -1].double().sum())
        y = targets.to(kernel)
        return float(torch.einsum("ia,ijab,jb->", y, kernel, y))


def standard_error(products: list[Tensor], value: Callable[[list[Tensor]], Tensor]) -> float:
    """Standard error of a function of Σ_ij p_ij by leaving out one example at a time (the jackknife).

    It covers what chance put into the probe together with what it put into the sampled outputs.

    Args:
        products: sums of products for every pair of examples, [n, n] each, symmetric.
        value: of the sums.
    """
    left = [p.sum() - 2 * p.sum(1) + p.diagonal() for p in products]
    values = value(left)
    n = len(values)
    return float(((n - 1) / n * (values - values.mean()).square().sum()).sqrt())
