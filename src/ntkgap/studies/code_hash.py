"""A hash of a function or object by what it does: its code and everything that refers to."""

import functools
import hashlib
import logging
import sys
import sysconfig
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn

from ntkgap.sweep.user_files import fingerprint

# What Python adds to a class by itself, and where and when it was defined: of no effect on what it does.
NOT_CODE = {
    "__dict__",
    "__weakref__",
    "__module__",
    "__doc__",
    "__qualname__",
    "__firstlineno__",
    "__static_attributes__",
    "__annotations_cache__",
    "_abc_impl",
    "__slotnames__",  # once it was copied or pickled
}
SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


def code_hash(thing: object) -> str:
    """Hash of a callable or object: the same in every process, and another if anything that it uses has changed.

    Functions count by their code, defaults and closure, and by what they name in their module, on and on; what is
    installed counts by its name.
    """
    walk = _Walk()
    walk.add(thing)
    return walk.digest.hexdigest()[:16]


def is_installed(module: types.ModuleType) -> bool:
    """Whether a module is part of Python or of an installed package, and not a user's own file."""
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ != "__main__"
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    name = module.__name__.partition(".")[0]
    return name == "ntkgap" or any(Path(file).is_relative_to(folder) for folder in folders)


class _Walk:
    """Adds up what a thing is made of, each part once."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._kept: list[object] = []  # so that no number of an object is used twice

    def text(self, *parts: object) -> None:
        for part in parts:
            raw = part if isinstance(part, bytes) else str(part).encode()
            self.digest.update(f"{len(raw)}:".encode() + raw)

    def add(self, thing: Any) -> None:
        if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
            self.text(type(thing).__name__, repr(thing))
            return
        if type(thing) is tuple:  # equal ones may be one object in this process, and two in the next
            self.text("tuple", len(thing))
            self._all(thing)
            return
        if id(thing) in self._seen:
            self.text("again", self._seen[id(thing)])
            return
        self._seen[id(thing)] = len(self._seen)
        self._kept.append(thing)
        self._add_new(thing)

    def _add_new(self, thing: Any) -> None:
        module = sys.modules.get(getattr(thing, "__module__", None) or "")
        if isinstance(thing, types.ModuleType):
            self.text("module", thing.__name__)
            if not is_installed(thing) and thing.__file__ is not None:
                inside = thing.__name__.count(".") + hasattr(thing, "__path__")
                self.text(fingerprint(Path(thing.__file__), root=Path(thing.__file__).parents[inside]))
        elif isinstance(thing, type | types.FunctionType) and module is not None and is_installed(module):
            self.text("installed", thing.__module__, thing.__qualname__)
            self._all([_content(cell) for cell in getattr(thing, "__closure__", None) or ()])
        elif isinstance(thing, types.FunctionType):
            self._function(thing)
        elif isinstance(thing, types.CodeType):
            self._code(thing)
        elif isinstance(thing, type):
            self.text("class", thing.__name__)
            own = {k: v for k, v in vars(thing).items() if k not in NOT_CODE and not isinstance(v, SLOTS)}
            self._all([*thing.__bases__, own])
        elif isinstance(thing, property):
            self._all([thing.fget, thing.fset, thing.fdel])
        elif isinstance(thing, staticmethod | classmethod):
            self._all([type(thing).__name__, thing.__func__])
        elif isinstance(thing, functools.partial):
            self._all([thing.func, thing.args, thing.keywords])
        elif isinstance(thing, types.MethodType):
            self._all([thing.__func__, thing.__self__])
        elif isinstance(thing, Tensor):
            self._tensor(thing)
        elif isinstance(thing, np.ndarray) and thing.dtype.hasobject:
            self._all(["array", thing.shape, thing.tolist()])
        elif isinstance(thing, np.ndarray):
            self.text("array", thing.dtype, thing.shape, thing.tobytes())
        elif isinstance(thing, torch.Generator):
            self._tensor(thing.get_state())
        elif isinstance(thing, logging.Logger):  # its tree is that of the process
            self.text("logger", thing.name)
        elif isinstance(thing, Mapping):
            self.text("mapping", len(thing))
            for key in sorted(thing, key=repr):
                self._all([key, thing[key]])
        elif isinstance(thing, list | tuple):
            self.text(type(thing).__name__, len(thing))
            self._all(thing)
        elif isinstance(thing, set | frozenset):
            self._all(sorted(thing, key=repr))
        elif isinstance(thing, nn.Module):
            self._all([type(thing), vars(thing)])
        elif hasattr(thing, "__dict__") or hasattr(type(thing), "__slots__"):
            self._all([type(thing), _state(thing)])
        else:
            self._other(thing)

    def _all(self, things: Any) -> None:
        for thing in things:
            self.add(thing)

    def _function(self, function: types.FunctionType) -> None:
        self.text("function", function.__name__)
        self.add(function.__code__)
        cells = [_content(cell) for cell in function.__closure__ or ()]
        self._all([function.__defaults__, function.__kwdefaults__, cells])
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                self.text(name)
                self.add(function.__globals__[name])

    def _code(self, code: types.CodeType) -> None:
        self.text("code", code.co_code, code.co_names, code.co_varnames, code.co_argcount, code.co_kwonlyargcount)
        self._all(code.co_consts)

    def _tensor(self, tensor: Tensor) -> None:
        self.text("tensor", tensor.dtype, tuple(tensor.shape), tensor.requires_grad)
        if tensor.device.type != "meta":
            dense = tensor.detach().cpu().to_dense().resolve_conj().resolve_neg().contiguous()
            self.text(dense.reshape(-1).view(torch.uint8).numpy().tobytes())

    def _other(self, thing: object) -> None:
        try:
            self.text(type(thing).__name__, cloudpickle.dumps(thing))
        except Exception:  # what cannot be sent has no content that could change
            self.text(type(thing).__name__)


def _state(thing: object) -> dict[str, object]:
    """What an object holds, in its dictionary and its slots."""
    slots = [name for kind in type(thing).__mro__ for name in _slots(kind)]
    held = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
    return {**held, **getattr(thing, "__dict__", {})}


def _slots(kind: type) -> tuple[str, ...]:
    found = vars(kind).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)


def _names(code: types.CodeType) -> set[str]:
    """Names that code, and functions within it, look up."""
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
