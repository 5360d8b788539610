"""Hashes of code: the same in every process, and others where anything changes that is used."""

import functools
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Generator, nn

from ntkgap.studies.code_hash import code_hash
from ntkgap.studies.factories import factory_of, make, takes_width
from tests.studies.made import DATA, mlp

HASHED = """
import abc, collections, dataclasses, enum, functools, logging, math, re, sys, typing
import numpy as np, pandas as pd, torch
from torch import nn
import torch.nn.functional as F
from ntkgap.studies.code_hash import code_hash
logger = logging.getLogger("mine")
others = [logging.getLogger(f"other {i}") for i in range(int(sys.argv[1]))]
class Slots:
    __slots__ = ("a", "b")
    def __init__(self): self.a, self.b = 1, {3, 4, "x"}
class Color(enum.Enum):
    RED = 1
@dataclasses.dataclass(slots=True, frozen=True)
class Config:
    color: Color = Color.RED
    act: typing.Callable = F.relu
    sub: "Slots" = None
    names: list = dataclasses.field(default_factory=list)
class Base(abc.ABC):
    @abc.abstractmethod
    def f(self): ...
class Net(Base, nn.Module):
    def __init__(self):
        super().__init__()
        self.l, self.act, self.log, self.config = nn.Linear(2, 2), torch.tanh, logger, Config(sub=Slots())
        nn.init.ones_(self.l.weight), nn.init.zeros_(self.l.bias)
        self.register_buffer("c", torch.ones(2, dtype=torch.complex64))
        self.l.register_forward_hook(lambda module, x, y: y)
    def f(self): return super().f()
held = [Slots(), Config(), frozenset("abc"), re.compile("a+"), collections.deque([1]), torch.eye(2).to_sparse(),
        np.array(["a", None], object), pd.DataFrame({"a": [1, 2], "b": ["u", "v"]}), torch.empty(2, device="meta"),
        torch.ones(2, dtype=torch.bfloat16), torch.Generator().manual_seed(3), torch.float32, slice(1, 2),
        range(3)]
def build(width): return Net(), logger, Config(), held, width in {"a", "b", "c"}, math.sin, np.sin, F.relu
print(*(code_hash(thing) for thing in (build, Net, Net(), functools.lru_cache(build), *held)))
"""


def test_hashes_are_the_same_in_every_process():
    started = [
        subprocess.Popen(
            [sys.executable, "-c", HASHED, seed],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    found = [process.communicate()[0].split() for process in started]
    assert found[0] == found[1]
    assert len(set(found[0])) == len(found[0]) == 18


def changed(thing, name, value, monkeypatch):
    before = code_hash(thing)
    monkeypatch.setitem(globals(), name, value)
    after = code_hash(thing)
    monkeypatch.undo()
    assert code_hash(thing) == before
    return before != after


CONSTANT, ARRAY, TENSOR = 3, np.ones(3), torch.ones(3, dtype=torch.int64)

logger = logging.getLogger("tests")


def helper(x):
    return x + CONSTANT


class Uses:
    def f(self):
        return helper(1)

    @functools.cached_property
    def g(self):
        return ARRAY


def uses(width):
    def inner():
        return Uses(), TENSOR, logger

    return inner


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONSTANT", 4),
        ("CONSTANT", 3.0),
        ("ARRAY", np.array([1.0, 1.0, 2.0])),
        ("TENSOR", torch.tensor([1, 1, 2])),
        ("TENSOR", torch.ones(3)),
        ("helper", lambda x: x - CONSTANT),
        ("logger", logging.getLogger("others")),
    ],
)
def test_anything_that_a_function_uses_changes_its_hash(name, value, monkeypatch):
    assert changed(uses, name, value, monkeypatch)


def test_what_a_function_does_not_use_does_not_change_its_hash(monkeypatch):
    assert not changed(uses, "HASHED", "", monkeypatch)


def test_closures_methods_and_partials_are_told_apart():
    class Builder:
        def __init__(self, factor):
            self.factor = factor

        def build(self, width, in_features, n_outputs):
            return mlp(self.factor * width, in_features, n_outputs)

        __call__ = build

    def closure(array):
        return lambda width, in_features, n_outputs: mlp(width + len(array), in_features, n_outputs)

    kinds = [
        lambda k: Builder(k).build,
        Builder,
        lambda k: closure(np.arange(k)),
        lambda k: functools.partial(mlp, k),
    ]
    found = [factory_of(kind(k)) for kind in kinds for k in (1, 2)]
    assert len({factory.fingerprint for factory in found}) == len(found)
    assert [factory_of(kind(k)).fingerprint for kind in kinds for k in (1, 2)] == [f.fingerprint for f in found]
    assert [takes_width(factory) for factory in found] == [True] * 6 + [False] * 2
    sizes = [make(f, DATA, 3, {}, Generator())[1].out_features for f in found[:6]]
    assert sizes == [3, 6, 3, 6, 4, 5]


def test_the_activation_that_a_built_network_holds_is_part_of_it():
    class Net(nn.Module):
        def __init__(self, act):
            super().__init__()
            self.layer, self.act = nn.Linear(5, 2), act

        def forward(self, x):
            return self.act(self.layer(x))

    network = Net(torch.tanh)
    first = factory_of(network).fingerprint
    network.act = torch.relu
    second = factory_of(network).fingerprint
    with torch.no_grad():
        network.layer.bias[0] += 1e-6
    assert len({first, second, factory_of(network).fingerprint}) == 3
