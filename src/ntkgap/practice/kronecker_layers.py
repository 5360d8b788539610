"""The layers that Kronecker factors exist for: what they are given, and where their gradients can be had."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F

from ntkgap.errors import ModelError
from ntkgap.models import ScaledConv2d, ScaledLinear

Layer = nn.Linear | nn.Conv2d


def trained_layers(model: nn.Module) -> dict[str, Layer]:
    """The layers that have parameters to train, by name.

    Raises:
        ModelError: naming the layers that have no Kronecker factors, share a parameter, or are frozen in part.
    """
    layers: dict[str, Layer] = {}
    refused: dict[str, str] = {}
    owners: dict[nn.Parameter, str] = {}
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        name = name or type(module).__name__
        if not any(p.requires_grad for p in own.values()):
            continue
        if not isinstance(module, nn.Linear | nn.Conv2d) or not own.keys() <= {"weight", "bias"}:
            refused[name] = f"a {type(module).__name__}"
        elif isinstance(module, nn.Conv2d) and module.groups != 1:
            refused[name] = f"a convolution in {module.groups} groups"
        elif not all(p.requires_grad for p in own.values()):
            refused[name] = "frozen in part"
        elif shared := [owners[p] for p in own.values() if p in owners]:
            refused[name] = f"which shares a parameter with {shared[0]}"
        else:
            layers[name] = module
        owners |= dict.fromkeys(own.values(), name)
    if refused:
        raise ModelError(
            "there are no Kronecker factors for "
            + ", ".join(f"{name} ({why})" for name, why in refused.items())
            + "; only nn.Linear and nn.Conv2d layers of their own are covered: freeze the others, or use "
            "natural_gradient_descent"
        )
    if not layers:
        raise ModelError("the model has no parameters, so there is nothing to train")
    return layers


def layer_inputs(layer: Layer, x: Tensor) -> Tensor:
    """What the layer multiplies (weight, bias) by, one row an example and position: [n·S, d]."""
    weight_scale = bias_scale = 1.0
    if isinstance(layer, ScaledLinear | ScaledConv2d):
        weight_scale, bias_scale = layer.initialization.weight_scale, layer.initialization.bias_scale
    if isinstance(layer, nn.Conv2d):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        rows = F.unfold(padded, layer.kernel_size, layer.dilation, stride=layer.stride).mT.flatten(0, 1)
    else:
        rows = x.reshape(-1, x.shape[-1])
    rows = rows * weight_scale
    return rows if layer.bias is None else torch.cat([rows, rows.new_full((len(rows), 1), bias_scale)], dim=1)


def positions(layer: Layer, g: Tensor) -> Tensor:
    """What belongs to a layer's output, one row an example and position: [n·S, o]."""
    channels_last = g.movedim(1, -1) if isinstance(layer, nn.Conv2d) and g.ndim == 4 else g
    return channels_last.reshape(-1, channels_last.shape[-1])


def layer_parameters(layer: Layer) -> list[Tensor]:
    """The weight, and the bias if there is one."""
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]


def split(layer: Layer, joint: Tensor) -> list[Tensor]:
    """(weight, bias) side by side, [o, d], as the layer's parameters have them."""
    if layer.bias is None:
        return [joint.view_as(layer.weight)]
    return [joint[:, :-1].reshape(layer.weight.shape), joint[:, -1]]


@contextmanager
def recorded_calls(layers: dict[str, Layer]) -> Iterator[dict[str, list[tuple[Tensor, GradientEdge]]]]:
    """What every layer is given, and where gradients by what it returned can be had."""
    calls: dict[str, list[tuple[Tensor, GradientEdge]]] = {name: [] for name in layers}
    hooks = []
    for name, layer in layers.items():

        def hook(_: nn.Module, args: tuple, kwargs: dict, output: Tensor, name: str = name) -> None:
            x = args[0] if args else kwargs["input"]
            # An edge stays where it is when a later layer changes the tensor in place.
            calls[name].append((x.detach(), get_gradient_edge(output)))

        hooks.append(layer.register_forward_hook(hook, with_kwargs=True))
    try:
        yield calls
    finally:
        for handle in hooks:
            handle.remove()
