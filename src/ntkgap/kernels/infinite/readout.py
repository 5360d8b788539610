"""The covariance of an output from one network, averaged over the weights of a dense last layer."""

from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.infinite.initializations import torch_default
from ntkgap.models.calls import output_tensor
from ntkgap.models.layers import ScaledLinear

_DENSE = (nn.Linear.forward, ScaledLinear.forward)


def covariance_of(model: nn.Module, x1: Any, x2: Any) -> Tensor:
    r"""An unbiased estimate of Σ from one network, [n1, n2] in float64.

    Behind a dense layer of features h it is their covariance over that layer's weights,

    .. math:: \hat\Sigma(x, x') = s^2 v\, h(x)^\top h(x') + s_b^2 v_b,

    whose noise falls with the width; without such a layer it is the mean over outputs of f(x)f(x'), whose noise
    does not.

    Args:
        model: maps [n, ...] to [n, C].
        x1: n1 inputs, as ``empirical_ntk`` takes them.
        x2: n2 inputs; x1 if None.
    """
    (a, gain, shift), *others = [_features(model, x) for x in (x1, x2) if x is not None]
    b = others[0][0] if others else a
    return gain * a @ b.mT + shift


def _features(model: nn.Module, x: Any) -> tuple[Tensor, float, float]:
    """Features in float64 [n, k], with gain and shift of what is made of their products."""
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda m, args, output: calls.append((m, args[0], output)))
        for module in model.modules()
        if type(module).forward in _DENSE
    ]
    parameter = next(model.parameters())
    try:
        args, kwargs = (
            Inputs.of(x)
            .map(lambda t, _: t.to(parameter.device, parameter.dtype if t.is_floating_point() else t.dtype))
            .arguments(model)
        )
        with torch.enable_grad():  # some networks differentiate by their inputs
            outputs = output_tensor(model, model(*args, **kwargs))
    finally:
        for hook in hooks:
            hook.remove()
    last = [call for call in calls if call[2] is outputs]
    if len(last) == 1 and last[0][1].ndim == 2 and _is_used_once(model, last[0][0], calls):
        layer, features, _ = last[0]
        # Only what does not depend on how the sample turned out: choosing by its variance would bias the mean.
        start = getattr(layer, "initialization", None) or torch_default(layer.weight, layer.bias)
        if start is not None:
            gain = (start.weight_scale * start.weight_std) ** 2
            return features.detach().double(), gain, (start.bias_scale * start.bias_std) ** 2
    flat = outputs.detach().double().flatten(1)
    return flat, 1 / flat.shape[1], 0.0


def _is_used_once(model: nn.Module, layer: nn.Linear, calls: list[tuple[nn.Linear, Tensor, Tensor]]) -> bool:
    """Whether features cannot depend on the layer's weights."""
    holders = [m for m in model.modules() for p in m.parameters(recurse=False) if p is layer.weight]
    return len(holders) == 1 and sum(call[0] is layer for call in calls) == 1
