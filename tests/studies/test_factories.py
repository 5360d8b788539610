"""Factories: how they are loaded, told apart, sent and seeded."""

import random
import sys
import threading
from textwrap import dedent

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.studies import factories
from ntkgap.studies.factories import factory_of, receive, takes_width
from tests.studies.made import BUILD, made, mlp


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


def weights(network):
    return torch.cat([p.detach().reshape(-1).double() for p in network.parameters()])


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


def test_a_built_network_is_never_trained_itself():
    network = nn.Linear(5, 2)
    first, second = made(network), made(network)
    with torch.no_grad():
        first.weight.zero_()
    assert second.weight.equal(network.weight)
    assert not network.weight.equal(first.weight)
