"""Which units of ReLU-like layers are on the other side of zero than at the start."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ntkgap.kernels.neutral import neutral
from ntkgap.models.calls import call_arguments, output_tensor
from ntkgap.models.substitution import replicate

#: Functions with a bend or a change of slope at zero.
BENT = frozenset({
    F.relu, F.relu_, F.relu6, F.leaky_relu, F.leaky_relu_, F.elu, F.elu_, F.selu, F.selu_, F.celu, F.celu_, F.gelu,
    F.silu, F.mish, F.hardswish, F.prelu, F.rrelu, F.rrelu_, F.softplus, F.threshold,
    torch.relu, torch.relu_, torch.selu, torch.celu, torch.prelu, torch.rrelu, torch.threshold, torch.abs,
    Tensor.relu, Tensor.relu_, Tensor.abs,
})  # fmt: skip

_ONES = np.array([bin(byte).count("1") for byte in range(256)])

Signs = dict[str, tuple[np.ndarray, int]]


@neutral()
def outputs_and_signs(network: nn.Module, x: Any) -> tuple[Tensor, Signs]:
    """f(x; θ) in the shape that the network returns, and the signs of what its ReLU-like functions are given.

    Args:
        network: in evaluation mode; hooks are on a replica of it, functions are seen wherever they are called.
        x: the probe.

    Returns:
        The outputs; by the name of the module that calls (and a number from its second call on) the signs, one bit
        a unit and example, and how many there are.
    """
    held = dict(network.named_parameters()) | dict(network.named_buffers())
    # Without gradients of the parameters no graph is kept, while networks may differentiate by their inputs.
    replica = replicate(network, {name: t.detach() for name, t in held.items()})
    recorder = _Recorder()
    for name, module in replica.named_modules():
        # A replica may share its tables of hooks with the original.
        vars(module).update({key: held.copy() for key, held in vars(module).items() if "_hooks" in key})
        module.register_forward_pre_hook(recorder.entering(name))
        module.register_forward_hook(recorder.leaving, always_call=True)
    args, kwargs = call_arguments(network, x)
    with torch.enable_grad(), recorder:
        outputs = output_tensor(replica, replica(*args, **kwargs))
    return outputs.detach(), recorder.signs


def signs_changed(one: Signs, two: Signs) -> float:
    """Fraction of pairs of a unit and an example whose sign is another; NaN if there are no such units.

    In the kernel regime it vanishes with the width: the kernel of a ReLU network moves as units switch.
    """
    changed, count = 0, 0
    for found, total in signs_changed_counts(one, two).values():
        changed, count = changed + found, count + total
    return changed / count if count else math.nan


def signs_changed_by_layer(one: Signs, two: Signs) -> dict[str, float]:
    """The same for each place in the network."""
    return {layer: found / total for layer, (found, total) in signs_changed_counts(one, two).items() if total}


def signs_changed_counts(one: Signs, two: Signs) -> dict[str, tuple[int, int]]:
    """How many signs differ and how many there are, at places that both have alike."""
    return {
        layer: (int(_ONES[bits ^ two[layer][0]].sum()), count)
        for layer, (bits, count) in one.items()
        if layer in two and two[layer][1] == count
    }


class _Recorder(TorchFunctionMode):
    """Notes signs, with the module that is being called."""

    def __init__(self) -> None:
        super().__init__()
        self.signs: Signs = {}
        self._path: list[str] = []

    def entering(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any) -> None:
            self._path.append(name)

        return hook

    def leaving(self, *_: Any) -> None:
        self._path.pop()

    def __torch_function__(self, func: Callable, _types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func in BENT and args and isinstance(args[0], Tensor) and args[0].is_floating_point():
            self._note(args[0])
        return func(*args, **(kwargs or {}))

    def _note(self, h: Tensor) -> None:
        name = self._path[-1] if self._path else ""
        calls = sum(1 for seen in self.signs if seen == name or seen.startswith(f"{name}#"))
        positive = (h.detach() > 0).cpu().numpy().ravel()
        self.signs[f"{name}#{calls + 1}" if calls else name] = np.packbits(positive), positive.size
