"""How far the kernel on the probe has moved, in size and direction, and in which layers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.kernels import kernel_distance, relative_change
from ntkgap.practice.monitor.sampled_outputs import SampledOutputs, standard_error


@dataclass(frozen=True)
class KernelMovement:
    """K_t beside K_0.

    Attributes:
        change: ‖K_t − K_0‖_F / ‖K_0‖_F (Fort et al. 2020).
        distance: 1 − ⟨K_t, K_0⟩ / (‖K_t‖ ‖K_0‖), which ignores the scale (the same).
        change_error: standard error of the change over the examples of the probe and the sampled outputs.
        distance_error: that of the distance.
    """

    change: float
    distance: float
    change_error: float
    distance_error: float


def kernel_movement(kernel: Tensor, reference: Tensor, sampled: SampledOutputs | None = None) -> KernelMovement:
    """Compare two kernels on one probe.

    Args:
        kernel: K_t, [n, n, C, C], or along the sampled outputs.
        reference: K_0, likewise.
        sampled: which outputs; all of them by default.

    Returns:
        The movement; NaN if a kernel vanishes. Errors are NaN where there are fewer than three examples.
    """
    sampled = sampled or SampledOutputs()
    now, start = sampled.weighted(kernel.double()), sampled.weighted(reference.double())
    if not now.any() or not start.any():
        return KernelMovement(math.nan, math.nan, math.nan, math.nan)
    change_error = distance_error = math.nan
    if len(now) > 2:
        moved, size, old, both = (_by_pair(a, b) for a, b in _pairs(now, start))
        change_error = standard_error([moved, old], lambda s: (s[0] / s[1]).sqrt())
        distance_error = standard_error([both, size, old], lambda s: 1 - s[0] / (s[1] * s[2]).sqrt())
    return KernelMovement(relative_change(now, start), kernel_distance(now, start), change_error, distance_error)


def shares_by_layer(
    kernels: Mapping[str, Tensor], references: Mapping[str, Tensor], sampled: SampledOutputs | None = None
) -> dict[str, float]:
    r"""Share of each layer in the movement: ⟨K_t^l − K_0^l, K_t − K_0⟩ / ‖K_t − K_0‖², which add up to one.

    A share is negative where a layer moves against the rest.
    """
    sampled = sampled or SampledOutputs()
    moved = {layer: sampled.weighted((k - references[layer]).double()) for layer, k in kernels.items()}
    total = torch.stack(list(moved.values())).sum(0)
    square = float(total.square().sum())
    return {layer: float((m * total).sum()) / square if square else math.nan for layer, m in moved.items()}


def _pairs(now: Tensor, start: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(now - start, now - start), (now, now), (start, start), (now, start)]


def _by_pair(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3))
