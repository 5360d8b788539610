"""Numbers of one kernel: how well it fits the targets, and over how many directions it is spread."""

import math

import torch
from torch import Tensor

from ntkgap.practice.monitor.sampled_outputs import SampledOutputs


def alignment(kernel: Tensor, targets: Tensor, sampled: SampledOutputs | None = None) -> float:
    r"""Alignment with the targets, :math:`y^\top K y / (\lVert K \rVert_F \lVert y \rVert^2)`.

    It grows where features are learned (Baratin et al. 2021; Atanasov, Bordelon, Pehlevan 2021).

    Args:
        kernel: K on the probe.
        targets: y, [n, C].
        sampled: which outputs; yᵀKy is exact all the same.
    """
    sampled = sampled or SampledOutputs()
    size = float(torch.linalg.vector_norm(sampled.weighted(kernel.double())) * targets.double().square().sum())
    return sampled.along_targets(kernel.double(), targets) / size if size else math.nan


def effective_rank(kernel: Tensor, sampled: SampledOutputs | None = None) -> float:
    r"""Number of directions that a kernel is spread over, :math:`(\mathrm{tr}\,K)^2 / \lVert K \rVert_F^2`.

    Between 1 and n·C; the participation ratio of the eigenvalues, which can be estimated from sampled outputs.
    """
    sampled = sampled or SampledOutputs()
    square = float(sampled.weighted(kernel.double()).square().sum())
    return sampled.trace(kernel) ** 2 / square if square else math.nan
