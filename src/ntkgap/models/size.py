"""How large a network is, in the numbers that finite-width corrections depend on."""

import math
from dataclasses import dataclass

from torch import nn

from ntkgap.errors import ModelError
from ntkgap.models.output_scale import Antisymmetric, Scaled


@dataclass(frozen=True)
class ModelSize:
    """Size and shape of a network; see ``describe``.

    Attributes:
        parameters: number of trainable parameters P.
        widths: units (channels) m_l of the hidden layers along the main path, first to last.
    """

    parameters: int
    widths: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Number L of hidden layers."""
        return len(self.widths)

    @property
    def width_to_depth(self) -> float:
        """Smallest width over depth; infinite without hidden layers."""
        return min(self.widths) / self.depth if self.widths else math.inf

    @property
    def beta(self) -> float:
        """β = Σ_l 1/m_l, on which the fluctuations of the kernel depend.

        Over initializations of fully connected ReLU networks E[K²]/E[K]² is exp(5β) on the kernel's
        diagonal, up to constant factors (Hanin & Nica 2020): depth undoes width. For other architectures β,
        with channels for units, compares networks but does not say how large the fluctuations are.
        """
        return sum(1 / width for width in self.widths)


def describe(model: nn.Module) -> ModelSize:
    """Parameters, depth and widths of a network.

    The reference networks know their main path. Of any other network every ``nn.Linear`` and convolution
    counts as a layer, in the order in which they were added, the last as the readout.

    Args:
        model: any network.

    Raises:
        ModelError: if the model has no trainable parameters.

    Example:
        >>> size = ng.models.describe(ng.MLP(64, 10, width=128, depth=3))
        >>> size.parameters, size.depth
        (42240, 3)
    """
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if parameters == 0:
        raise ModelError("the model has no trainable parameters, so it has no width that could matter")
    return ModelSize(parameters, _widths(model))


def _widths(model: nn.Module) -> tuple[int, ...]:
    if isinstance(model, Scaled):
        return _widths(model.module)
    if isinstance(model, Antisymmetric):  # two networks side by side, each of which has the widths
        return _widths(model.plus)
    if hasattr(model, "hidden_widths"):
        return model.hidden_widths  # type: ignore[return-value]  # torch types attributes of modules as modules
    widths = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            widths.append(module.out_features)
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            widths.append(module.out_channels)
    return tuple(widths[:-1])
