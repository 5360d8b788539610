"""Gradients of single outputs at single examples, for networks with stacked parameters."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vmap

from ntkgap.models.substitution import call_with
from ntkgap.practice.continual.method import Tensors
from ntkgap.practice.training.stacked import StackedNetworks

# Examples whose gradients are held at once.
CHUNK = 32


def gradients_at(
    networks: StackedNetworks, trained: Tensors, x: Tensor, of: Callable[[Tensor], Tensor]
) -> Tensors:
    """∂ of(f(x_i)) / ∂θ for every network and example, [M, n, ...] a parameter.

    Args:
        networks: M of them.
        trained: their parameters.
        x: inputs of each, [M, n, ...].
        of: a number made of a network's outputs [C] at one example.
    """

    def number(parameters: Tensors, rest: Tensors, one: Tensor) -> Tensor:
        outputs = call_with(networks.skeleton, {**parameters, **rest}, (one[None],))
        return of(outputs.reshape(-1))

    over_examples = vmap(grad(number), in_dims=(None, None, 0), chunk_size=CHUNK)
    rest = networks.rest
    found = [
        over_examples({k: p[i].detach() for k, p in trained.items()}, {k: p[i] for k, p in rest.items()}, x[i])
        for i in range(len(networks))
    ]
    return {name: torch.stack([gradients[name] for gradients in found]) for name in trained}
