"""A user's own networks: what makes them, how that is named and told apart, and how it travels to workers.

Nothing here runs code that a store or a preset names. A factory is known to a process only once the user has given
it there (``factory_of``), or the process that the user runs has sent it (``receive``).
"""

import base64
import contextlib
import copy
import importlib
import inspect
import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Generator, nn
from torch.nn.parameter import is_lazy

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.studies.code_hash import code_hash, is_installed
from ntkgap.sweep.user_files import describe_error, fingerprint, load_file

Parcel = dict[str, str]
"""What makes a factory known to another process: ``{"source": "/folder/file.py:build"}`` or ``{"pickle": …}``."""


@dataclass(frozen=True)
class Factory:
    """What makes a user's networks.

    Attributes:
        name: what the user calls it, like ``"my_model.py:build"``.
        fingerprint: hash of its source and of what that imports from beside it, or of its code and what that uses.
        call: the factory.
        parcel: how it travels.
    """

    name: str
    fingerprint: str
    call: Callable[..., Any]
    parcel: Parcel


_KNOWN: dict[str, Factory] = {}

# Networks of ntkgap itself: a preset may name them, for they are no stranger's code.
OURS = tuple(f"ntkgap:{name}" for name in ("ConvNet", "MLP", "Transformer", "VGG", "WideResNet"))


def factory_of(given: object) -> Factory:
    """Find, load and fingerprint a factory; it is known to this process from then on.

    Args:
        given: ``"my_model.py:build"``, ``"package.module:build"``, a callable, or a network as it is.

    Raises:
        StudyError: if there is no such thing, or it cannot be loaded; the message names the file and the line.
    """
    if isinstance(given, str):
        found = _from_text(given)
    elif isinstance(given, nn.Module):
        found = _from_network(given)
    elif callable(given):
        found = _from_callable(given)
    else:
        raise StudyError(
            "model= takes a factory, 'my_model.py:build', 'package.module:build' or the function itself, or a "
            f"network; got {type(given).__name__}"
        )
    _KNOWN[found.fingerprint] = found
    return found


def known_factory(name: str, fingerprint: str | None) -> Factory:
    """A factory that the user has given to this process, or one of our own.

    Raises:
        StudyError: if there is none with this fingerprint.
    """
    if fingerprint is None and name in OURS:
        return factory_of(name)
    if fingerprint in _KNOWN:
        return _KNOWN[fingerprint]
    if fingerprint is not None and name in {factory.name for factory in _KNOWN.values()}:
        raise StudyError(f"the source of {name!r} has changed since this was planned; plan it with the new one")
    raise StudyError(
        f"{name!r} is not loaded: neither a preset nor a store runs code that it names. Give it again: --model "
        f"{name} (--train for training) on the command line, model= (train=) in Python"
    )


def parcels(names: Mapping[str | None, str]) -> dict[str, Parcel]:
    """What makes factories known to another process, by fingerprint.

    Args:
        names: what each is called, by its fingerprint.

    Raises:
        StudyError: if the user has not given one of them to this process.
    """
    found = [known_factory(name, key) for key, name in names.items()]
    return {factory.fingerprint: factory.parcel for factory in found}


def receive(sent: Mapping[str, Parcel]) -> None:
    """Make factories known that the process which the user runs has sent.

    Raises:
        StudyError: if a source has changed since.
    """
    for key, parcel in sent.items():
        if key in _KNOWN:
            continue
        if "source" in parcel:
            found = _from_text(parcel["source"])
            if found.fingerprint != key:
                raise StudyError(f"{parcel['source']} has changed since the run began; run the command again")
        else:
            call = cloudpickle.loads(base64.b64decode(parcel["pickle"]))
            found = Factory(parcel["name"], key, call, parcel)
        _KNOWN[key] = found


def _from_text(text: str) -> Factory:
    where, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        raise StudyError(f"{text!r} names no function; write 'my_file.py:name' or 'package.module:name'")
    with _undisturbed(seed=0):  # what is drawn as the file is loaded is the same in every process
        if where.endswith(".py"):
            path = Path(where).expanduser().absolute()
            module, key, shown = load_file(path), fingerprint(path), f"{path.name}:{name}"
            source = f"{path}:{name}"
        else:
            module, key, shown, source = _module(where), _fingerprint_of_module(where), text, text
    found = getattr(module, name, None)
    if isinstance(found, nn.Module):
        check_network(shown, found)
        return Factory(shown, f"{key}-{name}", _Copies(found), {"source": source})
    if not callable(found):
        own = [n for n, v in vars(module).items() if callable(v) and _is_of(v, module) and n[0] != "_"]
        what = f"it has {', '.join(own[:20])}" if own else "it defines no function"
        raise StudyError(f"{where} has no function {name!r}; {what}")
    return Factory(shown, f"{key}-{name}", found, {"source": source})


def _is_of(thing: object, module: types.ModuleType) -> bool:
    return getattr(thing, "__module__", "") == module.__name__


def _module(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise StudyError(
            f"cannot import {name!r}: {describe_error(error)}; of a file give the path, 'my_model.py:build'"
        ) from error


def _fingerprint_of_module(name: str) -> str:
    """Of the module's file and those of its outermost package that it imports; an installed one's version."""
    module = sys.modules[name]
    if is_installed(module) or not str(module.__file__).endswith(".py"):
        try:
            version = metadata.version(name.partition(".")[0])
            return f"{name}-{version.partition('+')[0]}"  # builds for CPUs and GPUs are one version
        except metadata.PackageNotFoundError:
            return name
    origin = Path(module.__file__ or "")
    return fingerprint(origin, root=origin.parents[name.count(".") + (origin.name == "__init__.py")])


def _from_network(network: nn.Module) -> Factory:
    name = type(network).__name__
    check_network(name, network)
    call = _Copies(network)
    return Factory(name, code_hash(call), call, _pickled(call, name, type(network).__module__))


class _Copies:
    """Hands out copies of a network that the user has built."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self) -> nn.Module:
        return copy.deepcopy(self.network)


def _from_callable(call: Callable[..., Any]) -> Factory:
    name = getattr(call, "__qualname__", type(call).__name__).replace("<locals>.", "")
    name = "model" if name.endswith("<lambda>") else name
    return Factory(name, code_hash(call), call, _pickled(call, name, getattr(call, "__module__", None)))


def _pickled(call: object, name: str, module: str | None) -> Parcel:
    """By value, with whatever it refers to in modules that are not installed: workers may not find those."""
    own = sys.modules.get(module or "")
    by_value = own is not None and own.__name__ != "__main__" and not is_installed(own)
    if by_value:
        cloudpickle.register_pickle_by_value(own)
    try:
        content = cloudpickle.dumps(call)
    except Exception as error:
        raise StudyError(
            f"the network {name!r} cannot be sent to worker processes: {describe_error(error)}; write it into a "
            "file and give 'my_model.py:build'"
        ) from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(own)
    return {"name": name, "pickle": base64.b64encode(content).decode()}


def takes_width(factory: Factory) -> bool:
    """Whether a factory makes networks of any width; else it makes a single one."""
    return "width" in _parameters(factory)


def make(
    factory: Factory, data: Dataset, width: int, options: Mapping[str, Any], generator: Generator
) -> nn.Module:
    """A network for inputs and targets like those of ``data``, the same for the same state of the generator.

    Args:
        factory: what makes it. By the names of its arguments it is given ``width``, ``generator``, ``in_shape``
            (of one example), ``in_features`` (entries of one), ``in_channels``, ``n_outputs`` or ``out_features``.
        data: a training set.
        width: of hidden layers.
        options: further arguments; they go before what is offered.
        generator: source of randomness. The states of PyTorch's, NumPy's and Python's own generators are set from
            it for the call, and given back afterwards.

    Raises:
        StudyError: if the factory takes other arguments, fails, or returns no network that can be trained.
    """
    offered = {
        "width": width,
        "generator": generator,
        "in_shape": tuple(data.x.shape[1:]),
        "in_features": data.n_features,
        "in_channels": data.x.shape[1],
        "n_outputs": data.n_outputs,
        "out_features": data.n_outputs,
    }
    arguments = _arguments(factory, offered, options)
    with _undisturbed(int(torch.randint(2**32, (), generator=generator))):
        try:
            network = factory.call(**arguments)
        except (Exception, SystemExit) as error:
            code = getattr(factory.call, "__code__", None)
            where = Path(code.co_filename) if code else None
            at = f" at width {width}" if "width" in arguments else ""
            said = describe_error(error, where)
            remedy = "; build the network on the CPU" if "cuda" in said.lower() else ""
            raise StudyError(f"{factory.name} failed{at}: {said}{remedy}") from error
    if not isinstance(network, nn.Module):
        raise StudyError(f"{factory.name} must return an nn.Module, got {type(network).__name__}")
    check_network(factory.name, network)
    return network


def check_network(name: str, network: nn.Module) -> None:
    """Refuse a user's network that no study can train, whatever its inputs.

    Raises:
        StudyError: saying what to return instead.
    """
    if isinstance(network, torch.jit.ScriptModule):
        raise StudyError(f"{name} is compiled to TorchScript, which hides its weights; give the original module")
    for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if is_lazy(tensor):
            raise StudyError(
                f"{key} of {name} has no shape before the first call; call the network once on zeros of in_shape "
                "(an argument that a factory may ask for) before it is returned"
            )
        if tensor.device.type != "cpu":
            raise StudyError(f"{name} puts {key} on {tensor.device}; build the network on the CPU")
    if not any(p.requires_grad for p in network.parameters()):
        raise StudyError(f"{name} has no parameter that is trained (requires_grad); leave one free at least")


def _parameters(factory: Factory) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory.call).parameters
    except (TypeError, ValueError):
        return {}


def _arguments(factory: Factory, offered: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What a factory is called with, by its signature.

    Raises:
        StudyError: if it asks for what nobody gives, or does not take an option.
    """
    takes = _parameters(factory)
    if taken := [name for name in ("width", "generator") if name in options]:
        raise StudyError(f"options of {factory.name} cannot hold {' or '.join(taken)}; the study sets that")
    anything = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    if unknown := [name for name in options if name not in takes and not anything]:
        raise StudyError(
            f"{factory.name} takes no option {', '.join(unknown)}; it takes {', '.join(takes) or 'none'}"
        )
    given = {name: value for name, value in offered.items() if name in takes} | dict(options)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [
        p.name
        for p in takes.values()
        if p.default is p.empty and p.name not in given and (p.kind in named or p.kind is p.POSITIONAL_ONLY)
    ]
    if missing:
        raise StudyError(
            f"{factory.name} asks for {', '.join(missing)}; a factory is given {', '.join(offered)} by these "
            "names, and anything else as options"
        )
    return given


@contextlib.contextmanager
def _undisturbed(seed: int) -> Iterator[None]:
    """Set all random states for a user's code, and put them back, with what it may set for all of torch."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a user's code draws from it
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            torch.set_default_dtype(dtype)
            if torch.get_default_device() != device:
                torch.set_default_device(device)
