"""A copy of a network as it is now, which later changes of the network do not reach."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ntkgap.errors import ModelError
from ntkgap.models.substitution import replicate, unwrapped


def snapshot(model: nn.Module) -> nn.Module:
    """A copy with parameters and buffers of its own, in the same modes, free of ``torch.compile``.

    Tied parameters stay tied and frozen ones frozen; tables give dense gradients.

    Raises:
        ModelError: if the network cannot be copied, or has no values yet.
    """
    _refuse(model)
    values: dict[str, Tensor] = {
        name: nn.Parameter(p.detach().clone(), p.requires_grad) for name, p in model.named_parameters()
    }
    values |= {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    copy = replicate(model, values, copied=True)
    for module in list(copy.modules()):
        for name, child in module.named_children():
            module._modules[name] = unwrapped(child)
        module._compiled_call_impl = None
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False
    return copy


def _refuse(model: nn.Module) -> None:
    name = type(model).__name__
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{path or name} is compiled to TorchScript, where parameters cannot be replaced; pass the "
                "original network"
            )
    tables: tuple[Mapping[str, Tensor], ...] = (dict(model.named_parameters()), dict(model.named_buffers()))
    for path, tensor in (entry for table in tables for entry in table.items()):
        if is_lazy(tensor):
            raise ModelError(f"{path!r} of {name} has no shape yet; call the network once on data first")
        if tensor.is_meta:
            raise ModelError(f"{path!r} of {name} is on the meta device, which holds no values; load the weights")
