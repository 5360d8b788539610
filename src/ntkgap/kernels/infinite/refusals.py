"""What has no known infinite-width kernel, by name, with the reason."""

import inspect

import torch
from torch import nn

from ntkgap.errors import ModelError

_INSTEAD = "infinite_width_monte_carlo for an estimate"
_ESTIMATE = f"use {_INSTEAD}"

# Behind random weights; on the input itself most of these are plain functions of the data.
NO_LIMIT: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    (
        (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd, nn.FractionalMaxPool2d),
        f"takes maxima over positions, which have no closed form; use average pooling, or {_INSTEAD}",
    ),
    (
        (nn.modules.instancenorm._InstanceNorm,),
        "normalizes single channels, whose statistics stay random at any width; use GroupNorm with several "
        "channels a group",
    ),
    (
        (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.Transformer),
        "applies softmax to random scores, which has no closed form; use ntkgap's SelfAttention with "
        f"scaling='linear', or {_INSTEAD}",
    ),
    (
        (nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell),
        "uses its weights again at every step, in gates that are multiplied, which has no closed form; nn.RNN has "
        f"one, or use {_INSTEAD}",
    ),
    ((nn.RNNCell,), f"uses its weights again at every step of a loop; nn.RNN is followed, or use {_INSTEAD}"),
    (
        (nn.EmbeddingBag,),
        f"adds up rows of a table in bags; use nn.Embedding and a mean or sum over tokens, or {_INSTEAD}",
    ),
    ((nn.Bilinear,), f"multiplies its inputs by each other; {_ESTIMATE}"),
    (
        (nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Softmin, nn.GLU),
        f"mixes channels, which has no limit here; {_ESTIMATE}",
    ),
    ((nn.PReLU,), f"trains its slope, for which there is no rule yet; use nn.LeakyReLU, or {_INSTEAD}"),
)


# Functions that do what a module does, by their name.
_LIKE: dict[str, type[nn.Module]] = {
    **{f"max_pool{d}d": nn.MaxPool2d for d in (1, 2, 3)},
    **{f"adaptive_max_pool{d}d": nn.AdaptiveMaxPool2d for d in (1, 2, 3)},
    "instance_norm": nn.InstanceNorm2d,
    "bilinear": nn.Bilinear,
    "embedding_bag": nn.EmbeddingBag,
    **dict.fromkeys(("softmax", "log_softmax", "softmin"), nn.Softmax),
    "glu": nn.GLU,
}


def reason_for(target: object) -> str | None:
    """Why a module or a function has no limit, or None if nothing is known against it."""
    name = getattr(target, "__name__", "").removeprefix("_").removesuffix("_with_indices")
    kind = type(target) if isinstance(target, nn.Module) else _LIKE.get(name, type(None))
    return next((reason for kinds, reason in NO_LIMIT if issubclass(kind, kinds)), None)


def refuse_several_inputs(model: nn.Module) -> None:
    """Refuse networks that need more than one tensor.

    Raises:
        ModelError: naming the arguments.
    """
    needed = [
        name
        for name, argument in inspect.signature(model.forward).parameters.items()
        if argument.default is argument.empty and argument.kind is not argument.VAR_POSITIONAL
        if argument.kind is not argument.VAR_KEYWORD
    ]
    if len(needed) > 1:
        raise ModelError(
            f"the forward of {type(model).__name__} takes several inputs ({', '.join(needed)}); infinite-width "
            "kernels need one, [n, ...]. What is the same for all examples, as one graph, belongs into a buffer; "
            "otherwise use infinite_width_monte_carlo, whose inputs may be a tuple or a dictionary"
        )


def refuse_hopeless_layers(model: nn.Module) -> None:
    """Refuse modules without a limit before any input is seen, in sequential models, which use them all in order.

    Before the first weights most of them are plain functions of the data, and stay.

    Raises:
        ModelError: naming the first such module.
    """
    if not isinstance(model, nn.Sequential):
        return
    weights_seen = False
    for name, module in model.named_modules():
        reason = reason_for(module)
        if reason and (weights_seen or any(True for _ in module.parameters())):
            raise ModelError(f"{name!r} ({type(module).__name__}) {reason}")
        weights_seen |= any(True for _ in module.parameters(recurse=False))


def refuse_compiled_parts(model: nn.Module) -> None:
    """Refuse TorchScript, whose steps cannot be followed.

    Raises:
        ModelError: naming the part.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = f"the part {name!r} of the model" if name else "the model"
            raise ModelError(f"{where} is compiled to TorchScript, which cannot be followed; pass the original")
