"""Names of ``ntkgap`` itself: what there is, and what is said about names that there are not."""

import importlib
import inspect
import subprocess
import sys

import pytest

import ntkgap as ng
from ntkgap import names

# Names that code outside of this repository calls.
CONTRACT = {
    *("load_data", "MLP", "NTKLinear", "NTKConv2d", "empirical_ntk", "NTKOperator", "infinite_width", "linearize"),
    *("OptimizationStudy", "UncertaintyStudy", "ContinualStudy", "run", "report", "diagnose", "Monitor"),
    *("compare_checkpoints", "compare_runs", "DaskEngine"),
}


@pytest.mark.filterwarnings("error")
def test_dir_holds_the_flat_names_and_the_topics_alone():
    assert dir(ng) == sorted(ng.__all__)
    assert all(getattr(ng, name) is not None for name in dir(ng))
    flat = set(ng.__all__) - set(names.TOPICS)
    assert set(names.TOPICS) == {name for name in dir(ng) if inspect.ismodule(getattr(ng, name))}
    assert len(flat) <= 40
    assert flat >= CONTRACT


def test_topics_hold_what_they_say():
    for topic in names.TOPICS:
        module = importlib.import_module(f"ntkgap.{topic}")
        assert len(module.__all__) == len(set(module.__all__))
        assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", names.MOVED)
def test_names_that_went_into_a_topic_work_and_warn(name):
    topic = names.MOVED[name]
    assert name not in dir(ng)
    assert name in getattr(ng, topic).__all__
    with pytest.warns(DeprecationWarning, match=rf"ntkgap\.{name} is now ntkgap\.{topic}\.{name};") as said:
        assert getattr(ng, name) is getattr(getattr(ng, topic), name)
    assert said[0].filename == __file__


@pytest.mark.parametrize("package", names.MOVED_OUT_OF)
def test_names_that_left_a_package_work_and_warn(package):
    module = importlib.import_module(f"ntkgap.{package}")
    for name, (to, new) in names.MOVED_OUT_OF[package].items():
        assert name not in module.__all__
        with pytest.warns(DeprecationWarning, match=rf"is now ntkgap\.{to}\.{new};"):
            assert getattr(module, name) is getattr(importlib.import_module(f"ntkgap.{to}"), new)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'") as found:
        _ = module.nothing
    assert (found.value.name, found.value.obj) == ("nothing", module)  # tracebacks then say which name is near


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        ("empirical_ntks", "did you mean ng.empirical_ntk"),
        ("mlp", "did you mean ng.MLP"),
        ("Linearize", "did you mean ng.linearize"),
        ("NeuralUCB", "; use ng.bandits.NeuralUCB"),
        ("ZhouExploration", "; use ng.theory.ZhouExploration"),
        ("neural_ucb", "did you mean ng.bandits.NeuralUCB"),
        ("qqqqqqqq", "; dir(ntkgap) lists the public names"),
    ],
)
def test_unknown_names_say_what_is_near(wrong, answer):
    with pytest.raises(AttributeError) as found:
        getattr(ng, wrong)
    assert answer in str(found.value)
    assert "\n" not in str(found.value)


def test_removed_names_say_where_they_went(monkeypatch):
    monkeypatch.setitem(names.REMOVED, "old_thing", "use ng.run")
    with pytest.raises(AttributeError, match=r"it was removed; use ng\.run"):
        _ = ng.old_thing


def test_renamed_names_work_and_warn(monkeypatch):
    monkeypatch.setitem(names.RENAMED, "tangent_kernel", "empirical_ntk")
    with pytest.warns(DeprecationWarning, match=r"is now ntkgap\.empirical_ntk"):
        assert ng.tangent_kernel is ng.empirical_ntk


def test_names_of_packages_stay_importable_and_probing_loads_nothing():
    code = "import sys, ntkgap; assert not hasattr(ntkgap, '__wrapped__'); from ntkgap import texts"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert ng.practice.bandits.__name__ == "ntkgap.practice.bandits"
