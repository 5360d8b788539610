"""Normalization before a nonlinearity, and statistics of batch normalization that stay as they are."""

import math

import torch
from torch import Tensor, nn

from ntkgap.models.nonlinearities import make_nonlinearity

NORMALIZATIONS = (None, "group", "batch")


def activation(channels: int, nonlinearity: str, normalization: str | None) -> nn.Sequential:
    """The nonlinearity, behind a normalization in groups of channels or over the batch if there is to be one.

    There are 8 groups where that divides the channels, else the largest power of two that does. The
    normalization has no parameters of its own, as in the infinite-width limit.
    """
    layers = [make_nonlinearity(nonlinearity)]
    if normalization == "group":
        layers.insert(0, nn.GroupNorm(math.gcd(channels, 8), channels, affine=False))
    elif normalization == "batch":
        layers.insert(0, nn.BatchNorm2d(channels, affine=False))
    return nn.Sequential(*layers)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization by its running statistics in train mode, too."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        """Evaluation mode, whatever is asked."""
        return super().train(False)


@torch.no_grad()
def set_statistics(network: nn.Module, x: Tensor) -> None:
    """Give batch normalization that has seen nothing yet the statistics of these inputs, in place.

    Running means of 0 and variances of 1, with which such layers begin, normalize nothing in evaluation mode.
    Layers that have seen batches keep what they have, and a single example has no statistics to give.

    Args:
        network: any; flags and random state stay.
        x: inputs, [n, ...].
    """
    fresh = [
        m
        for m in network.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None and _saw_nothing(m)
    ]
    if not fresh or len(x) < 2:
        return
    before = [(m, m.training) for m in network.modules()]
    momenta = [m.momentum for m in fresh]
    network.eval()
    try:
        for layer in fresh:
            layer.momentum = None  # the mean over all batches so far, here of one
            layer.training = True
        network(x)
    finally:
        for layer, momentum in zip(fresh, momenta, strict=True):
            layer.momentum = momentum
        for module, training in before:
            module.training = training


def freeze_statistics(network: nn.Module) -> None:
    """Put ``FrozenBatchNorm2d`` in the place of every ``nn.BatchNorm2d`` without parameters, in place."""
    for parent in [*network.modules()]:
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d and not child.affine:
                assert child.running_mean is not None
                frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps, affine=False)
                frozen.to(child.running_mean).load_state_dict(child.state_dict())
                setattr(parent, name, frozen.eval())


def _saw_nothing(layer: nn.modules.batchnorm._BatchNorm) -> bool:
    return layer.num_batches_tracked is None or not bool(layer.num_batches_tracked.any())
