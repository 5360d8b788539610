"""Every public name has an example in its docstring, and the examples run as they stand.

Examples may use ``torch``, ``nn`` and ``ng`` without importing them.
"""

import doctest
import inspect

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap import names

pytestmark = pytest.mark.usefixtures("in_process_once")
FLAT = [name for name in ng.__all__ if name not in {"__version__", *names.TOPICS}]
PUBLIC = {name: getattr(ng, name) for name in FLAT}
PUBLIC |= {name: getattr(getattr(ng, topic), name) for name, topic in names.MOVED.items()}
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# Their examples would need a store of another program's, or stand in another name's docstring.
WITHOUT_EXAMPLE = {"DiagnosisStudy", "compare_checkpoints", "run"}


def docstring(name):
    return inspect.getdoc(inspect.unwrap(PUBLIC[name])) or ""


def with_examples():
    """Methods of public classes, also of topics, whose docstring has an example."""
    classes = {name: thing for topic in names.TOPICS for name, thing in vars(getattr(ng, topic)).items()} | PUBLIC
    methods = {
        f"{name}.{key}": method
        for name, thing in classes.items()
        if inspect.isclass(thing) and thing.__module__.startswith("ntkgap.")
        for key, method in vars(thing).items()
        if inspect.isfunction(method)
    }
    return {name: method for name, method in methods.items() if ">>>" in (method.__doc__ or "")}


def run_example(name, text, **known):
    torch.manual_seed(0)
    known = {"torch": torch, "nn": nn, "ng": ng, **known}
    example = doctest.DocTestParser().get_doctest(text, known, name, None, None)
    assert any(not part.options.get(doctest.SKIP) for part in example.examples), f"{name} has no example that runs"
    told = []
    failed, _ = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(example, out=told.append)
    assert not failed, "".join(told)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - WITHOUT_EXAMPLE))
def test_the_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_example(name, docstring(name), **{name: PUBLIC[name]})


def test_examples_of_methods_run():
    assert "LaplacePrediction.draw" in with_examples()
    for name, method in with_examples().items():
        run_example(name, inspect.getdoc(method))


def test_names_without_an_example_have_none():
    assert not [name for name in WITHOUT_EXAMPLE if ">>>" in docstring(name)]
