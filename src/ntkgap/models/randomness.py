"""Random numbers of a seed for one thread: the process's own generators are neither read nor changed."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class _Drawing:
    """What ``Seeded`` does, in a class that is no mode.

    Torch keeps its compiler out of what modes themselves define, and loads it to do so: two seconds in every
    process that trains, for nothing where nothing is compiled.
    """

    _seed: int
    _generators: dict[torch.device, torch.Generator]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Give the generator to what draws."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            devices = [a.device for a in args if isinstance(a, Tensor)] + [
                torch.device(kwargs.get("device") or "cpu")
            ]
            drawing = _with_generator(func)
            if drawing is not None and devices[0].type != "meta":
                return drawing(*args, **kwargs | {"generator": self._generator(devices[0])})
        return func(*args, **kwargs)

    def _generator(self, device: torch.device) -> torch.Generator:
        generator = torch.Generator(device)  # it knows which one "cuda" is
        return self._generators.setdefault(generator.device, generator.manual_seed(self._seed))


class Seeded(_Drawing, TorchDispatchMode):
    """Inside, what torch draws without a generator comes from one of its own.

    The numbers are those that ``torch.manual_seed`` would give; but that seeds, and rewinds, the generators from
    which all threads draw.

    Args:
        seed: of the generators, one for each device.
    """

    def __new__(cls, seed: int) -> "Seeded":
        """Where torch's compiler is loaded, one that it keeps out of."""
        return super().__new__(_NotCompiled if "torch._dynamo" in sys.modules else cls)

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed, self._generators = seed, {}


class _NotCompiled(Seeded):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return super().__torch_dispatch__(func, types, args, kwargs)


def _with_generator(func: Any) -> Callable[..., Any] | None:
    """The function, or its overload that takes a generator besides."""
    wanted = {argument.name for argument in func._schema.arguments} | {"generator"}
    overloads = (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads())
    return next((f for f in (func, *overloads) if {a.name for a in f._schema.arguments} == wanted), None)
