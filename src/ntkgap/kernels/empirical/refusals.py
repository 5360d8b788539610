"""Layers that have no per-example Jacobian in the mode they are in, by name, with the remedy."""

from torch import nn

from ntkgap.errors import ModelError


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


def _fault(module: nn.Module) -> tuple[str, str] | None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        remedy = "call model.eval() to use the running statistics, or replace it with nn.GroupNorm"
        if module.training:
            return "normalises over the batch in train mode: every output depends on every example", remedy
        if module.running_mean is None:
            return "keeps no running statistics and always normalises over the batch", remedy.split(", or ")[1]
        return None
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
