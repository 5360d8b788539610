"""Call a network with other tensors in place of its own, without touching it: a replica holds them."""

import contextlib
import copy as shallow
import types
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

# What holds no module and no tensor: taken over as it is.
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, type, types.BuiltinFunctionType})
_TABLES = frozenset({dict, OrderedDict, list, set})
# What functions refer to is only followed where it is of these kinds: a list in which a hook collects is shared.
_FOLLOWED = (Tensor, nn.Module, types.MethodType, types.FunctionType, partial)
# Hooks on gradients would change what is differentiated, and tell the user of passes that are not theirs.
_BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")
# Modules defined there hold tensors and modules in their tables alone.
_KNOWN = ("torch.nn.modules.", "ntkgap.models.")
_HOOKS = (*_BACKWARD_HOOKS, "_forward_hooks", "_forward_pre_hooks")
# Of a replica for itself: a hook that is set on it must not land on the original.
_OWN_TABLES = (
    *_HOOKS,
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
    "_non_persistent_buffers_set",
)


def replicate(module: Module, tensors: Mapping[str, Tensor] | None = None, copied: bool = False) -> Module:
    """A network of the same modules that holds other tensors, to be called in place of the original.

    The original is read and never changed, so that other threads may use it meanwhile, and whatever a call of the
    replica does (or raises) leaves no trace on it. The tensors stay in the replica for good: what is evaluated
    late, as activation checkpointing does in the backward pass, sees them too.

    Followed are modules, containers, bound methods, partial functions, data classes, and what functions refer to
    from where they were written (``model.forward = lambda x: model.last(x)``); one value goes to all places that
    hold the same tensor (tied weights, the private lists of recurrent layers). Anything else that a
    module refers to (data, a trainer) is shared with the original and not copied. Forward hooks run, on the
    replica; backward hooks are left out.

    Args:
        module: any network.
        tensors: name -> tensor, the names as in ``named_parameters`` and ``named_buffers``; whatever is not among
            them is shared with the original, modes and plain attributes are those of now.
        copied: whether tensors that are neither parameters nor buffers are copied, rather than shared as well.
    """
    given = tensors or {}
    with contextlib.suppress(_Unknown):
        return _shallow(module, given)
    values: dict[int, Any] = {}
    for submodule in module.modules():
        for table in (submodule._parameters, submodule._buffers):
            values |= {id(tensor): tensor for tensor in table.values() if tensor is not None}
    for names in (module.named_parameters(), module.named_buffers()):
        values |= {id(own): given[name] for name, own in names if name in given}
    return _Replicator(values, copied).of(module)


def call_with(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
) -> Any:
    """What a network returns with other tensors in place of its own; see :func:`replicate`.

    Args:
        module: any network; it is not touched.
        tensors: name -> tensor, the names as in ``named_parameters`` and ``named_buffers``.
        args: positional arguments of the call.
        kwargs: its keyword arguments.
    """
    return replicate(module, tensors)(*args, **(kwargs or {}))


class _Unknown(Exception):
    """A module that may hold anything anywhere."""


def _shallow(module: Module, given: Mapping[str, Tensor]) -> Module:
    """``replicate`` for known modules, of which only the tables have to be copied: a tenth of the time.

    To follow all attributes takes longer than to run a small network, and trainings replicate at every step.

    Raises:
        _Unknown: if a module is of another kind, has a forward of its own, or hooks.
    """
    made: dict[int, nn.Module] = {}
    values: dict[int, Tensor] = {}

    def value(name: str, tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else values.setdefault(id(tensor), given.get(name, tensor))

    def of(m: nn.Module, prefix: str) -> nn.Module:
        if id(m) in made:
            return made[id(m)]
        held = vars(m)
        ours = type(m).__module__.startswith(_KNOWN) and not isinstance(
            m, nn.RNNBase
        )  # which has lists of weights
        if not ours or "forward" in held or any(held[hooks] for hooks in _HOOKS):
            raise _Unknown
        made[id(m)] = copy = object.__new__(type(m))
        own = vars(copy)
        own.update(held)
        own["_compiled_call_impl"] = None
        for table in _OWN_TABLES:
            own[table] = held[table].copy()
        for table in ("_parameters", "_buffers"):
            own[table] = {key: value(prefix + key, tensor) for key, tensor in held[table].items()}
        own["_modules"] = {
            key: None if child is None else of(child, f"{prefix}{key}.") for key, child in held["_modules"].items()
        }
        return copy

    return cast(Module, of(module, ""))


class _Replicator:
    """Copies what leads to modules or tensors, once each; ``made`` maps the identity of a thing to its copy."""

    def __init__(self, values: dict[int, Any], copied: bool) -> None:
        self.made, self.copied = values, copied

    def of(self, thing: Any) -> Any:
        """The copy of a thing, or the thing itself where there is nothing to replace in it."""
        if type(thing) in _PLAIN:
            return thing
        if type(thing) in _TABLES and not thing:  # the ten tables of hooks that every module has
            return thing.copy()
        if id(thing) in self.made:
            return self.made[id(thing)]
        if isinstance(thing, nn.Module):
            return self._module(thing)
        if isinstance(thing, Tensor):
            if self.copied:
                self.made[id(thing)] = thing = thing.detach().clone()
            return thing
        if isinstance(thing, list | dict | set):
            return self._container(thing)
        if isinstance(thing, tuple):
            items = [self.of(item) for item in thing]
            if all(new is old for new, old in zip(items, thing, strict=True)):
                return thing
            return type(thing)(*items) if hasattr(thing, "_fields") else type(thing)(items)
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if isinstance(thing, types.MethodType):
            return types.MethodType(thing.__func__, self.of(thing.__self__))
        if isinstance(thing, partial):
            return partial(self.of(thing.func), *self.of(thing.args), **self.of(thing.keywords))
        if hasattr(type(thing), "__dataclass_fields__") and hasattr(thing, "__dict__"):
            return self._instance(thing)
        return thing

    def _module(self, module: nn.Module) -> nn.Module:
        inner = unwrapped(module)
        if inner is not module:  # compiled: it would run the original
            self.made[id(module)] = copy = self.of(inner)
            return copy
        copy = self._instance(module)
        vars(copy)["_compiled_call_impl"] = None
        for hooks in _BACKWARD_HOOKS:
            if vars(copy).get(hooks):
                vars(copy)[hooks] = type(vars(copy)[hooks])()
        return copy

    def _instance(self, thing: Any) -> Any:
        copy = object.__new__(type(thing))
        self.made[id(thing)] = copy  # before what it holds: modules may refer to each other
        of, plain = self.of, _PLAIN  # a module has about thirty attributes, most of them plain or empty
        vars(copy).update({k: v if type(v) in plain else of(v) for k, v in vars(thing).items()})
        for name in _slots(type(thing)):
            if hasattr(thing, name):
                object.__setattr__(copy, name, of(getattr(thing, name)))
        return copy

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        # Empty cells hold no value.
        cells = [cell for cell in function.__closure__ or () if cell != types.CellType()]
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        if not any(isinstance(held, _FOLLOWED) for held in (*(c.cell_contents for c in cells), *defaults)):
            return function
        copies = {id(cell): types.CellType() for cell in cells}
        closure = tuple(copies.get(id(cell), cell) for cell in function.__closure__ or ())
        copy = types.FunctionType(function.__code__, function.__globals__, function.__name__, None, closure)
        vars(copy).update(vars(function))
        self.made[id(function)] = copy  # before what it refers to, which may be itself
        copy.__defaults__ = function.__defaults__ and tuple(map(self._followed, function.__defaults__))
        kwdefaults = function.__kwdefaults__
        copy.__kwdefaults__ = kwdefaults and {key: self._followed(v) for key, v in kwdefaults.items()}
        for cell in cells:
            copies[id(cell)].cell_contents = self._followed(cell.cell_contents)
        return copy

    def _followed(self, held: Any) -> Any:
        return self.of(held) if isinstance(held, _FOLLOWED) else held

    def _container(self, thing: Any) -> Any:
        self.made[id(thing)] = copy = shallow.copy(thing)  # of the same type
        if hasattr(copy, "__dict__"):
            vars(copy).update({key: self.of(value) for key, value in vars(thing).items()})
        if isinstance(thing, dict):
            for key, value in thing.items():
                copy[key] = self.of(value)
            return copy
        items = [self.of(item) for item in thing]
        copy.clear()
        copy.extend(items) if isinstance(copy, list) else copy.update(items)
        return copy


def _slots(kind: type) -> list[str]:
    """Attributes that a class keeps outside of ``__dict__``."""
    found = [name for base in kind.__mro__ for name in _listed(vars(base).get("__slots__", ()))]
    return [name for name in found if name not in ("__dict__", "__weakref__")]


def _listed(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def places(module: nn.Module) -> dict[str, str]:
    """Where a module holds its tensors: one name of each place -> the name of the tensor that is there.

    A place is an entry in a submodule's table of parameters or buffers, whatever number of paths lead to it.
    Several places may hold one tensor, which goes by the name that ``named_parameters`` or ``named_buffers``
    gives it.
    """
    found: dict[str, str] = {}
    first: dict[Tensor, str] = {}
    for kind in ("_parameters", "_buffers"):
        seen: set[int] = set()
        for path, submodule in module.named_modules():
            table = getattr(submodule, kind)
            if id(table) in seen:  # a shallow copy of a module shares its tables
                continue
            seen.add(id(table))
            for key, tensor in table.items():
                if tensor is not None:
                    name = f"{path}.{key}" if path else key
                    found[name] = first.setdefault(tensor, name)
    return found


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside of ``torch.compile`` and ``nn.DataParallel``, which compute what it computes."""
    while type(model).__module__.startswith("torch.") and not isinstance(model, torch.jit.ScriptModule):
        children = dict(model.named_children())
        inner = children.get("_orig_mod", children.get("module"))
        if inner is None or len(children) > 1:
            break
        model = inner
    return model
