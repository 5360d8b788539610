"""Factories: how they are loaded, told apart, sent, seeded and refused; errors are one line with a remedy."""

import functools
import logging
import os
import random
import subprocess
import sys
import threading
from textwrap import dedent

import numpy as np
import pytest
import torch
from torch import Generator, nn

import ntkgap as ng
from ntkgap.studies import factories
from ntkgap.studies.code_hash import code_hash
from ntkgap.studies.factories import factory_of, make, receive, takes_width
from ntkgap.studies.problem import check_outputs

BUILD = """
from torch import nn

def build(width, in_features, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, {width}), nn.ReLU(), nn.Linear({width}, n_outputs))
"""
DATA = ng.Dataset(torch.randn(8, 5, generator=Generator().manual_seed(0)), torch.eye(2).repeat(4, 1), 2)


def mlp(width, in_features, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, n_outputs))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files into an empty folder that is the present one; what is on the path is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(**files):
        for name, text in files.items():
            file = tmp_path / f"{name.replace('__', '/', 1)}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(dedent(text))

    return write


def made(given, seed=0, width=3, **options):
    return make(factory_of(given), DATA, width, options, Generator().manual_seed(seed))


def weights(network):
    return torch.cat([p.detach().reshape(-1).double() for p in network.parameters()])


# Loading


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gone.py:build", "there is no file .*gone.py"),
        ("good.py:nothing", "good.py has no function 'nothing'; it has build"),
        ("empty.py:build", "empty.py has no function 'build'; it defines no function"),
        ("syntax.py:build", r"syntax.py cannot be run: '\(' was never closed in line 2"),
        (
            "imports.py:build",
            r"imports.py cannot be run: ModuleNotFoundError: No module named 'nowhere' \(line 2\)",
        ),
        ("exits.py:build", r"exits.py cannot be run: SystemExit: 2 \(line 1\)"),
        ("nulls.py:build", "nulls.py cannot be run: source code string cannot contain null bytes$"),
        ("good.py", "'good.py' names no function; write 'my_file.py:name'"),
        ("nowhere:build", "cannot import 'nowhere': .*; of a file give the path"),
        ("", "'' names no function"),
        (3, "model= takes a factory, .* or a network; got int"),
    ],
)
def test_what_cannot_be_loaded(text, words, write):
    write(
        good=BUILD.format(width="width"), empty="", syntax="\ndef build(", imports="\nimport nowhere", nulls="\0"
    )
    write(exits="import sys; sys.exit(2)", nulls="\0")
    with pytest.raises(ng.NtkgapError, match=words) as found:
        factory_of(text)
    assert len(str(found.value).splitlines()) == 1


def test_a_list_of_what_a_module_has_is_short():
    with pytest.raises(ng.NtkgapError, match="os has no function 'path'; it has ") as found:
        factory_of("os:path")
    assert len(str(found.value)) < 500
    assert " _" not in str(found.value)


def test_files_beside_do_not_hide_the_standard_library_nor_each_other(write):
    code = "import helper, queue, random\nassert queue.Queue and random.random\n" + BUILD
    trap = "raise SystemExit('ran')"
    write(a__m=code.format(width="helper.K"), a__helper="K = 4", a__queue=trap, a__random=trap)
    write(b__m=code.format(width="helper.K"), b__helper="K = 5")
    assert made("a/m.py:build")[1].out_features == 4
    assert made("b/m.py:build")[1].out_features == 5
    write(a__helper="K = 6")
    assert made("a/m.py:build")[1].out_features == 6


def test_a_network_in_a_file_is_the_same_in_every_process(write):
    write(m="import torch\nfrom torch import nn\nnetwork = nn.Linear(5, 2)\nunused = torch.randn(3)")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    factory = factory_of("m.py:network")
    assert torch.get_rng_state().equal(before)
    assert not takes_width(factory)
    bias = factory.call().bias
    torch.randn(3)
    del sys.modules[next(name for name in sys.modules if name.startswith("ntkgap_file_m_"))]
    again = factory_of("m.py:network")
    assert again.fingerprint == factory.fingerprint
    assert again.call().bias.equal(bias)


# Fingerprints


def test_the_fingerprint_of_a_file_is_that_of_all_its_sources(write):
    write(
        m="import lib.parts\n" + BUILD.format(width="width"), lib__parts="from .deep import K", lib__deep="K = 1"
    )
    write(lib____init__="")
    first = factory_of("m.py:build").fingerprint
    write(lib__unused="K = 1")
    assert factory_of("m.py:build").fingerprint == first
    write(lib__deep="K = 2")  # reached by a relative import alone
    assert factory_of("m.py:build").fingerprint != first


def test_the_fingerprint_of_a_package_is_that_of_all_its_sources(write, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    code = "from fingerprinted.layers import K\n" + BUILD.format(width="width")
    write(fingerprinted____init__="", fingerprinted__net=code, fingerprinted__layers="K = 1")
    first = factory_of("fingerprinted.net:build").fingerprint
    write(fingerprinted__layers="K = 2")
    assert factory_of("fingerprinted.net:build").fingerprint != first


def test_what_is_installed_counts_by_its_version():
    assert factory_of("torch.nn:Linear").fingerprint == f"torch.nn-{torch.__version__.split('+')[0]}-Linear"


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


# Parcels


def test_a_function_travels_to_a_worker_process(tmp_path):
    array = np.arange(2)

    def build(width, in_features, n_outputs):
        return mlp(width + len(array), in_features, n_outputs)

    sizes = {"n_train": 6, "n_test": 6, "widths": [3], "seeds": 1}
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], model=build, **sizes)
    runs = ng.run(study, tmp_path / "store", workers=1, progress=False)
    assert runs.failures() == []
    here = study.compute_cell(study.cells()[0])["scalars"]
    there = runs.to_pandas().iloc[0]
    names = ["kernel_change", "lambda_min"]
    assert [there[name] for name in names] == pytest.approx([here[name] for name in names], rel=1e-3)


def test_a_parcel_is_opened_only_if_its_source_is_the_same(write, monkeypatch):
    write(m=BUILD.format(width="width"))
    factory = factory_of("m.py:build")
    sent = factories.parcels({factory.fingerprint: factory.name})
    monkeypatch.setattr(factories, "_KNOWN", {})
    receive(sent)
    assert factories.known_factory("m.py:build", factory.fingerprint).call(2, 3, 1)[1].out_features == 2
    monkeypatch.setattr(factories, "_KNOWN", {})
    write(m=BUILD.format(width="7"))
    with pytest.raises(ng.NtkgapError, match=r"m.py:build has changed since the run began; run the command again"):
        receive(sent)


def test_what_cannot_be_sent():
    lock = threading.Lock()

    def build(width):
        with lock:
            return nn.Linear(5, 2)

    with pytest.raises(
        ng.NtkgapError, match=r"'.*build' cannot be sent to worker processes: .*write it into a file"
    ):
        factory_of(build)


# Making


def draws_from_torch(width, in_features, n_outputs):
    return mlp(width, in_features, n_outputs)


def draws_from_numpy(width, in_features, n_outputs):
    network = mlp(width, in_features, n_outputs)
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor(np.random.normal(size=network[1].weight.shape)))  # noqa: NPY002
    return network


def draws_from_python(width, in_features, n_outputs):
    network = mlp(width, in_features, n_outputs)
    nn.init.constant_(network[1].weight, random.random())
    return network


def draws_from_the_generator(width, in_features, n_outputs, generator):
    network = mlp(width, in_features, n_outputs)
    nn.init.normal_(network[1].weight, generator=generator)
    return network


@pytest.mark.parametrize(
    "factory", [draws_from_torch, draws_from_numpy, draws_from_python, draws_from_the_generator]
)
def test_starts_are_those_of_the_seed(factory):
    first = weights(made(factory))
    random.random(), np.random.normal(), torch.randn(1)  # noqa: NPY002
    assert weights(made(factory)).equal(first)
    assert not weights(made(factory, seed=1)).equal(first)


def test_a_factory_leaves_no_trace():
    def build(width, in_features, n_outputs):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        network = mlp(width, in_features, n_outputs)
        torch.set_default_device("meta")
        return network

    torch.manual_seed(7)

    def state():
        drawn = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
        return *drawn, torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()

    before = state()
    assert next(made(build).parameters()).dtype == torch.float64
    assert state() == before


def own_source(width, in_features, n_outputs):
    network = mlp(width, in_features, n_outputs)
    nn.init.constant_(network[1].weight, np.random.default_rng().normal())
    return network


SHARED = nn.Linear(5, 4)
cached = functools.lru_cache(mlp)


class Returns(nn.Module):
    """Anything that a forward may return."""

    def __init__(self, what):
        super().__init__()
        self.layer, self.what = nn.Linear(5, 2), what

    def forward(self, x):
        return self.what(self.layer(x))


def functional_dropout(y):
    return nn.functional.dropout(y)


def cannot(text):
    def build(width, in_features, n_outputs):
        raise AssertionError(text)

    return build


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (cannot("too narrow"), r"failed at width 3: AssertionError: too narrow \(line \d+\)$"),
        (cannot("Torch not compiled with CUDA enabled"), "CUDA enabled .*; build the network on the CPU"),
        (lambda width: sys.exit(3), r"failed at width 3: SystemExit: 3"),
        (lambda width: None, "must return an nn.Module, got NoneType"),
        (lambda width: [nn.Linear(5, 2)], "must return an nn.Module, got list"),
        (lambda width, units: None, "asks for units; a factory is given width, generator, in_shape"),
        (lambda width: nn.Linear(5, 2, device="meta"), "puts weight on meta; build the network on the CPU"),
        (
            lambda width: nn.LazyLinear(2),
            "weight of model has no shape before the first call; call the network once",
        ),
        (lambda width: torch.jit.trace(nn.Linear(5, 2), torch.ones(1, 5)), "compiled to TorchScript"),
        (lambda width: nn.Linear(5, 2).requires_grad_(False), "no parameter that is trained"),
        (lambda width: nn.Flatten(), "no parameter that is trained"),
        (
            lambda width: nn.Linear(6, 2),
            r"does not take inputs of shape \(2, 5\): .*; build it for in_shape=\(5,\)",
        ),
        (lambda width: nn.Linear(5, 3), r"returns \(2, 3\) for 2 examples, .* give it 2 outputs"),
        (lambda width: Returns(lambda y: y[..., None]), r"returns \(2, 2, 1\) .* must return \(2, 2\)"),
        (lambda width: Returns(lambda y: (y, y)), r"returns tuple; wrap it so that it returns \[n, C\]"),
        (lambda width: Returns(lambda y: {"logits": y}), r"returns dict; wrap it"),
        (lambda width: Returns(lambda y: y.detach().numpy()), r"returns ndarray; wrap it"),
        (lambda width: Returns(functional_dropout), "other numbers for the same inputs in evaluation mode"),
        (own_source, r"own_source gives 1.weight other values for the same seed"),
        (lambda width: nn.Sequential(SHARED, nn.Linear(4, 2)), "share 0.weight, .* copy.deepcopy"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_what_a_study_refuses_before_it_starts(build, words):
    x, y = DATA.x.repeat(5, 1) + torch.arange(40.0)[:, None], torch.arange(40) % 2
    before = torch.get_rng_state()
    with pytest.raises(ng.NtkgapError, match=words) as found:
        ng.OptimizationStudy.preset(
            "smoke", problems=["MLP"], model=build, data=(x, y), widths=[3], n_train=4, n_test=4
        )
    assert len(str(found.value).splitlines()) == 1
    assert torch.get_rng_state().equal(before)


def test_networks_that_return_no_numbers_are_not_random():
    check_outputs("mine", Returns(lambda y: y / 0 * 0), DATA)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 2}, "mlp takes no option depth; it takes width, in_features, n_outputs"),
        ({"width": 2}, "options of mlp cannot hold width; the study sets that"),
        ({"act": nn.ReLU}, "must be numbers, texts, lists or mappings, and act is <class"),
        ({"scale": float("nan")}, "and scale is nan"),
        ({"size": 10**12}, "options of mlp: no whole number can be beyond 1000000000"),
        (None, "options of a factory must be a mapping by argument, got NoneType"),
        ([1], "options of a factory must be a mapping by argument, got list"),
    ],
)
def test_options_that_are_none(options, words):
    with pytest.raises(ng.NtkgapError, match=words):
        ng.OptimizationStudy.preset("smoke", model={"factory": mlp, "options": options}, widths=[3]).check()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.LazyLinear(10)),
            "1.weight of Sequential has no shape before the first call",
        ),
        (nn.Linear(64, 10, device="meta"), "Linear puts weight on meta"),
    ],
)
def test_built_networks_that_cannot_be_used(network, words):
    with pytest.raises(ng.NtkgapError, match=words):
        factory_of(network)


def test_a_built_network_is_never_trained_itself():
    network = nn.Linear(5, 2)
    first, second = made(network), made(network)
    with torch.no_grad():
        first.weight.zero_()
    assert second.weight.equal(network.weight)
    assert not network.weight.equal(first.weight)
