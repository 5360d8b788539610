"""Inputs of integers: tokens that a model looks up, or numbers that merely have that type."""

import torch
from torch import Tensor, nn

from ntkgap.models.substitution import replicate


def takes_integers(model: nn.Module, x: object) -> bool:
    """Whether a model is to be given integers as they are.

    It is if it has embeddings, or runs on them; images of bytes on a convolution do not and are converted.

    Args:
        model: the network.
        x: inputs [n, ...].
    """
    if not isinstance(x, Tensor) or x.is_floating_point() or x.is_complex() or x.ndim < 2 or x.numel() == 0:
        return False
    if any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in model.modules()):
        return True
    parameter = next(model.parameters(), None)
    try:
        with torch.no_grad():
            replicate(model)(x[:1] if parameter is None else x[:1].to(parameter.device))
    except Exception:  # whatever a model says to integers that it cannot use
        return False
    return True
