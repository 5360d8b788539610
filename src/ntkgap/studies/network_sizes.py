"""The sizes of a network at any width, without building it at that width.

Parameters and multiplications of a network whose layers all scale with one width are quadratic polynomials in it,
activations linear ones. Three narrow networks settle them, so that the widest takes no more memory than those.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ntkgap.kernels.empirical.point import Point
from ntkgap.kernels.empirical.recipe import Recipe, Shape, find_recipe

# Multiples of eight: group normalisation has fewer groups at other narrow widths.
PROBES = (8, 16, 24)


@dataclass(frozen=True)
class NetworkSizes:
    """What a network of one width takes.

    Attributes:
        parameters: all of them, frozen ones included.
        trainable: those that are trained, P.
        forward_flops: of the forward pass of one example; a multiply-add is two.
        recipe: how its Jacobian is had, with the sizes of every parameter's factors, of the graph of one example
            and of its gradients.
    """

    parameters: int
    trainable: int
    forward_flops: int
    recipe: Recipe

    @classmethod
    def of(cls, network: nn.Module, x: Tensor) -> "NetworkSizes":
        """Count.

        Args:
            network: the network.
            x: a few inputs, [n, ...], n ≥ 1, in the network's type.

        Raises:
            ModelError: if the network has no per-example Jacobian.
        """
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(x[:1])
        parameters = sum(p.numel() for p in network.parameters())
        trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
        return cls(parameters, trainable, counter.get_total_flops(), find_recipe(Point(network), x))


class SizesByWidth:
    """The sizes of one family of networks.

    Args:
        build: makes the network of a width.
        x: a few inputs, [n, ...], n ≥ 1, in the networks' type.

    Raises:
        ModelError: as ``NetworkSizes.of``, or whatever ``build`` raises.
    """

    def __init__(self, build: Callable[[int], nn.Module], x: Tensor) -> None:
        self._probes = [NetworkSizes.of(build(width), x) for width in PROBES]

    def at(self, width: int) -> NetworkSizes:
        """Sizes at a width."""
        first, recipes = self._probes[0], [probe.recipe for probe in self._probes]
        weights = _lagrange(width)

        def value(samples: list[int]) -> int:
            return int(sum(w * sample for w, sample in zip(weights, samples, strict=True)))

        recipe = replace(
            first.recipe,
            shapes={name: _shape([r.shapes[name] for r in recipes], value) for name in first.recipe.shapes},
            graph_bytes=value([r.graph_bytes for r in recipes]),
            gradient_bytes=value([r.gradient_bytes for r in recipes]),
        )
        parameters, trainable, flops = (
            value([getattr(probe, name) for probe in self._probes])
            for name in ("parameters", "trainable", "forward_flops")
        )
        return NetworkSizes(parameters, trainable, flops, recipe)


def _lagrange(width: int) -> list[Fraction]:
    """Weights with which the values at the probes give that of the quadratic polynomial at a width; exact."""
    weights = []
    for a in PROBES:
        weight = Fraction(1)
        for b in PROBES:
            weight *= Fraction(width - b, a - b) if b != a else 1
        weights.append(weight)
    return weights


def _shape(shapes: list[Shape], value: Callable[[list[int]], int]) -> Shape:
    _, *samples = (list(samples) for samples in zip(*map(astuple, shapes), strict=True))
    return Shape(shapes[0].kind, *map(value, samples))
