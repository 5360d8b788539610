import importlib.util
import sys
from pathlib import Path

import pytest
import torch

import ntkgap as ng
from tests.reference.infinite import relu_kernels
from tests.tolerances import EXACT

SCRIPT = Path(__file__).parents[2] / "examples" / "ensemble.py"


@pytest.fixture
def example(monkeypatch):
    spec = importlib.util.spec_from_file_location("example_ensemble", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_its_kernels_are_those_of_the_limit(example, generator):
    x1, x2 = (torch.randn(k, 2, dtype=torch.float64, generator=generator) for k in (4, 3))
    expected = relu_kernels(x1, x2, 1, example.WEIGHT_STD, example.BIAS_STD)
    found = ng.infinite_width(example.build(1, 0)).kernels(x1, x2)
    for kernel, reference in zip((found.ntk, found.nngp), expected, strict=True):
        torch.testing.assert_close(kernel, reference, rtol=EXACT, atol=EXACT)


def test_it_draws_its_figure(example, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(example, "WIDTHS", (4, 8, 16))
    example.main(6, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ensemble.png", "ensemble.svg"]
    assert capsys.readouterr().out.count("steps") == 3
