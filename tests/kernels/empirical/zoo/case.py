"""What a case of the zoo is, and short ways to write networks and inputs down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_map

Inputs = Tensor | tuple | dict


@dataclass(frozen=True)
class Case:
    """A tiny network and inputs for it.

    Attributes:
        name: what it is.
        build: makes the network.
        inputs: makes inputs for n examples: a tensor, a tuple of positional arguments, or keyword arguments.
            Tensors whose first axis is n belong to the examples, all others are shared by them.
        double: largest error in float64, relative to the largest entry.
        single: the same in float32.
        noise: what is added to all parameters, since biases of 0 and scales of 1 would hide mistakes.
        idle: parameters by which all derivatives are 0.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int, Generator], Inputs]
    double: float = 1e-9
    single: float = 1e-4
    noise: float = 0.2
    idle: tuple[str, ...] = ()

    def model(self) -> nn.Module:
        """The network in float32, the same every time."""
        torch.manual_seed(0)
        model = self.build()
        for p in model.parameters():
            if p.is_floating_point():
                p.data.add_(self.noise * torch.randn_like(p))
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.add_(torch.rand_like(buffer))
            elif name.endswith("running_mean"):
                buffer.add_(torch.randn_like(buffer))
        return model

    def examples(self, n: int, seed: int) -> Inputs:
        """Inputs for n examples, in float32; what is shared is the same for every seed."""
        return self.inputs(n, torch.Generator().manual_seed(seed))


def double(inputs: Inputs) -> Inputs:
    """The same inputs in float64 where they are floats, in memory of their own."""
    return tree_map(_doubled, inputs)


def _doubled(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return copy.double().requires_grad_(tensor.requires_grad) if tensor.is_floating_point() else copy


class Constant:
    """A buffer of a :class:`Net`."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


class Net(nn.Module):
    """A network made of named parts and of a function of (itself, inputs).

    A tuple is the shape of a random parameter, a tensor the value of one, a :class:`Constant` a buffer; anything
    else is kept as it is.
    """

    def __init__(self, function: Callable[..., Any], /, **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, Constant):
                self.register_buffer(name, part.value)
            elif isinstance(part, tuple):
                setattr(self, name, nn.Parameter(torch.randn(part) / 2))
            elif isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                setattr(self, name, nn.Parameter(part))
            else:
                setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def net(function: Callable[..., Any], /, **parts: Callable[[], Any]) -> Callable[[], nn.Module]:
    """A way to make a :class:`Net`: parts are made anew each time, unless they are shapes."""
    return lambda: Net(
        function,
        **{k: p() if callable(p) and not isinstance(p, nn.Module) else p for k, p in parts.items()},
    )


def linear(into: int, out: int, bias: bool = True) -> Callable[[], nn.Module]:
    """A way to make a dense layer."""
    return lambda: nn.Linear(into, out, bias=bias)


def stack(*layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A way to make these layers one after the other."""
    return lambda: nn.Sequential(*(layer() for layer in layers))


def floats(*shape: int) -> Callable[[int, Generator], Tensor]:
    """Normal inputs, [n, *shape]."""
    return lambda n, g: torch.randn(n, *shape, generator=g)


def tokens(vocabulary: int, *shape: int) -> Callable[[int, Generator], Tensor]:
    """Integers below ``vocabulary``, [n, *shape]."""
    return lambda n, g: torch.randint(vocabulary, (n, *shape), generator=g)


def shared(value: Tensor) -> Callable[[int, Generator], Tensor]:
    """A tensor that all examples share."""
    return lambda n, g: value.clone()


def lengths(longest: int) -> Callable[[int, Generator], Tensor]:
    """A mask of ones then zeros for every example, [n, longest], with at least two ones."""

    def make(n: int, g: Generator) -> Tensor:
        return (torch.arange(longest) < torch.randint(2, longest + 1, (n, 1), generator=g)).long()

    return make


def several(*inputs: Callable, **named: Callable) -> Callable[[int, Generator], Inputs]:
    """Positional arguments or keyword arguments, one from each of these."""
    if named:
        return lambda n, g: {name: make(n, g) for name, make in named.items()}
    return lambda n, g: tuple(make(n, g) for make in inputs)
