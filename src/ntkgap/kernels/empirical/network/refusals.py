"""Layers without a per-example Jacobian in the mode they are in, or that hide their weights; with the remedy."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn.parameter import is_lazy

from ntkgap.errors import ModelError, NtkgapError


def refuse_coupling_layers(model: nn.Module) -> None:
    """Refuse layers that share statistics between examples or draw random numbers.

    Raises:
        ModelError: naming the first such module and what to do about it.
    """
    for name, module in model.named_modules():
        fault = _fault(module)
        if fault:
            problem, remedy = fault
            where = f"{name!r} ({type(module).__name__})" if name else type(module).__name__
            raise ModelError(f"{where} {problem}, so there is no per-example Jacobian; {remedy}")


@contextmanager
def explained(model: nn.Module) -> Iterator[None]:
    """Say what is wrong with a network where autograd cannot follow it.

    Raises:
        ModelError: if it changes tensors in place that its own derivative needs.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, NtkgapError) or "modified by an inplace operation" not in str(error):
            raise
        raise ModelError(
            f"{type(model).__name__} changes a tensor in place that its own derivative needs, so that autograd "
            "fails on it; write into a copy (h = h.clone())"
        ) from error


def refuse_foreign_modules(model: nn.Module) -> None:
    """Refuse modules whose parameters are not ordinary tensors that a replica could hold in their place.

    Raises:
        ModelError: naming the first such module and what to do about it.
    """
    for name, module in model.named_modules():
        where = f"{name!r} ({type(module).__name__})" if name else type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{where} is compiled to TorchScript, which hides its weights; pass the original module"
            )
        if "fsdp" in type(module).__module__ or type(module).__module__.startswith("torch.distributed"):
            raise ModelError(
                f"{where} keeps its parameters distributed over processes; pass the module inside, with the whole "
                "parameters (summon_full_params, or a state dict loaded into a plain model)"
            )
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None:
                continue
            what = f"{name}.{key}" if name else key
            if is_lazy(tensor):
                raise ModelError(f"{what!r} has no shape yet (a lazy layer); call the model once on some inputs")
            if tensor.device.type == "meta":
                raise ModelError(
                    f"{what!r} is on the device 'meta', without values (built so, or offloaded); load the model, "
                    "for instance model.to_empty(device='cpu') and load_state_dict"
                )
            if hasattr(tensor, "device_mesh"):
                raise ModelError(
                    f"{what!r} is a DTensor, spread over devices; pass a model with whole tensors (.full_tensor())"
                )


def refuse_reentrant_checkpoint(model: nn.Module) -> None:
    """Refuse to be called from inside of a checkpoint that hides its parameters from autograd.

    Raises:
        ModelError: if this is such a place.
    """
    frame = sys._getframe(1)
    while frame is not None:
        code, frame = frame.f_code, frame.f_back  # type: ignore[assignment]
        if code.co_name == "forward" and code.co_filename == torch.utils.checkpoint.__file__:
            raise ModelError(
                f"{type(model).__name__} calls torch.utils.checkpoint with use_reentrant=True, inside of which "
                "autograd does not see the parameters; use use_reentrant=False"
            )


def _fault(module: nn.Module) -> tuple[str, str] | None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        remedy = "call model.eval() to use the running statistics, or replace it with nn.GroupNorm"
        if module.training:
            return "normalizes over the batch in train mode: every output depends on every example", remedy
        if module.running_mean is None:
            return "keeps no running statistics and always normalizes over the batch", remedy.split(", or ")[1]
        return None
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.scale_grad_by_freq:
        return (
            "divides gradients by how often the batch reads a row (scale_grad_by_freq): they are no derivatives",
            "set scale_grad_by_freq=False",
        )
    if not module.training:
        return None
    if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
        return f"drops units at random in train mode (p={module.p:g})", "call model.eval(), or set p=0"
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase) and module.dropout > 0:
        return (
            f"drops at random in train mode (dropout={module.dropout:g})",
            "call model.eval(), or set dropout=0",
        )
    if isinstance(module, nn.RReLU):
        return "draws its slopes at random in train mode", "call model.eval()"
    return None
