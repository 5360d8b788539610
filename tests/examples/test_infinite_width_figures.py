"""The examples that measure at many widths, at tiny ones: they print their exponents and draw their figures."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import ntkgap as ng

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def load(monkeypatch):
    def load(name):
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_convergence_of_kernels(load, tmp_path, monkeypatch, capsys):
    example = load("kernel_convergence")
    case = (lambda width: ng.MLP(3, 2, width, 1), (3, 3), (16, 64, 256, 1024))
    monkeypatch.setattr(example, "CASES", {"tiny": case})
    example.main(12, tmp_path)
    low, high = re.search(r"\[(.*), (.*)\] over the widest", capsys.readouterr().out).groups()
    assert float(low) <= -0.5 <= float(high)
    assert {path.name for path in tmp_path.iterdir()} == {"kernel_convergence.png", "kernel_convergence.svg"}


def test_coordinate_check(load, tmp_path, capsys):
    load("coordinate_check").main((16, 128), 2, tmp_path)
    printed = capsys.readouterr().out
    change = {m[1]: float(m[2]) for m in re.finditer(r"(\w+) +5 +change: width\^\((\S+)", printed)}
    assert change["ntk"] < min(change["mup"], change["mean_field"]) - 0.2  # features stand still
    assert {path.name for path in tmp_path.iterdir()} == {"coordinate_check.png", "coordinate_check.svg"}
