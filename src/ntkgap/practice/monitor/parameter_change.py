"""How far the parameters have moved."""

import math
from collections.abc import Mapping

from torch import nn

from ntkgap.practice.monitor.networks import by_layer, step_taken, trained


def parameter_change(start: nn.Module, now: nn.Module) -> float:
    r"""Relative change of the trained parameters: :math:`\lVert\theta_t-\theta_0\rVert/\lVert\theta_0\rVert`.

    In the kernel regime it falls with the width, like 1/√m in NTK parametrization (Lee et al. 2019, theorem G.4).
    """
    return _ratio(sum(by_layer(step_taken(start, now)).values()), sum(by_layer(trained(start)).values()))


def parameter_change_by_layer(start: nn.Module, now: nn.Module) -> dict[str, float]:
    """The same for the parameters of each layer, by the name of the module that owns them; NaN from zero."""
    moved, size = by_layer(step_taken(start, now)), by_layer(trained(start))
    return ratios(moved, size)


def ratios(moved: Mapping[str, float], size: Mapping[str, float]) -> dict[str, float]:
    """√(moved/size) of each layer."""
    return {layer: _ratio(moved[layer], size[layer]) for layer in size}


def _ratio(moved: float, size: float) -> float:
    if not moved:
        return 0.0
    return math.sqrt(moved / size) if size else math.nan
