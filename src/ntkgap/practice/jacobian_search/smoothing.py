"""Networks with their kinks rounded off, for directions of ascent only."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

RELU = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
LEAKY_RELU = {F.leaky_relu, F.leaky_relu_}
ABS = {torch.abs, torch.abs_, torch.absolute, Tensor.abs, Tensor.abs_, Tensor.absolute, Tensor.__abs__}


class RoundedKinks(TorchFunctionMode):
    """While active, max(0, z), leaky ReLUs and |z| are built from the soft ramp τ log(1 + e^{z/τ}).

    Args:
        width: τ, in root mean squares of the z at hand; 0 leaves the functions as they are and only counts.

    Attributes:
        seen: how many functions with a kink were called.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width, self.seen = width, 0

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the functions with a kink, call the others."""
        kwargs = kwargs or {}
        if func not in RELU | LEAKY_RELU | ABS:
            return func(*args, **kwargs)
        self.seen += 1
        z = args[0] if args else kwargs["input"]
        size = float(z.detach().square().mean().sqrt()) * self.width
        if not size > 0:
            return func(*args, **kwargs)
        if func in RELU:
            return _ramp(z, size)
        if func in ABS:
            return _ramp(z, size) + _ramp(-z, size)
        slope = kwargs.get("negative_slope", args[1] if len(args) > 1 else 0.01)
        return slope * z + (1 - slope) * _ramp(z, size)


def _ramp(z: Tensor, size: float) -> Tensor:
    return size * F.softplus(z / size)
