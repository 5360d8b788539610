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

    _generator: torch.Generator

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Give the generator to what draws."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            devices = [a.device for a in args if isinstance(a, Tensor)] + [
                torch.device(kwargs.get("device") or "cpu")
            ]
            if devices[0].type not in ("cpu", "meta") and func is torch.ops.aten.native_dropout.default:
                return self._dropped(*args)
            drawing = _with_generator(func)
            if drawing is not None and devices[0].type != "meta":
                return self._drawn(drawing, devices[0], args, kwargs)
        return func(*args, **kwargs)

    def _drawn(
        self, drawing: Callable[..., Any], device: torch.device, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What is filled in place is filled, on whatever device."""
        kwargs = kwargs | {"generator": self._generator}
        if device.type == "cpu":
            return drawing(*args, **kwargs)
        inner = [a.cpu() if isinstance(a, Tensor) else a for a in args]
        found = drawing(*inner, **kwargs | ({"device": torch.device("cpu")} if kwargs.get("device") else {}))
        return args[0].copy_(found) if inner and found is inner[0] else found.to(device)

    def _dropped(self, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
        """Dropout as the CPU has it; other devices have a function of their own, which takes no generator."""
        if train is False:
            return x.clone(), torch.ones_like(x, dtype=torch.bool)
        kept = torch.empty(x.shape, dtype=x.dtype).bernoulli_(1 - p, generator=self._generator).to(x.device)
        return x * kept.div(1 - p), kept.bool()


class Seeded(_Drawing, TorchDispatchMode):
    """Inside, what torch draws without a generator comes from one of its own.

    The numbers are those that ``torch.manual_seed`` would give on the CPU; but that seeds, and rewinds, the
    generators from which all threads draw. They are drawn on the CPU and moved: a seed gives the same everywhere.

    Args:
        seed: of the generator.
    """

    def __new__(cls, seed: int) -> "Seeded":
        """Where torch's compiler is loaded, one that it keeps out of."""
        return super().__new__(_NotCompiled if "torch._dynamo" in sys.modules else cls)

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)


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
