"""Names of ``ntkgap`` itself: what there is, and what is said about names that there are not."""

import subprocess
import sys

import pytest

import ntkgap as ng
from ntkgap import names


def test_dir_holds_the_public_names_alone():
    assert dir(ng) == sorted(ng.__all__)
    assert all(getattr(ng, name) is not None for name in dir(ng))


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        ("empirical_ntks", "did you mean ng.empirical_ntk"),
        ("mlp", "did you mean ng.MLP"),
        ("Linearize", "did you mean ng.linearize"),
        ("NeuralUCB", "; from ntkgap.practice.bandits import NeuralUCB"),
        ("ZhouExploration", "; from ntkgap.theory import ZhouExploration"),
        ("neural_ucb", "did you mean ntkgap.practice.bandits.NeuralUCB"),
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
