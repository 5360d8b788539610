"""The notebooks run from top to bottom, show what they did when they were saved, and say what is still so."""

import contextlib
import io
import json
import warnings
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path, kind):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def run(name):
    """The namespace and what was printed, after all cells."""
    path, space, printed = FOLDER / f"{name}.ipynb", {"__name__": "__notebook__"}, io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        for i, cell in enumerate(cells(path, "code")):
            exec(compile("".join(cell["source"]), f"{path.name}, code cell {i}", "exec"), space)
    return space, printed.getvalue()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_saved_notebook_has_its_outputs_and_a_picture(path):
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert path.stat().st_size < 150_000


@pytest.mark.usefixtures("in_process")
def test_an_mlp_from_lazy_to_rich():
    space, printed = run("lazy_to_rich")
    assert "α = 0.1. Feature learning" in printed
    assert "α = 30. Kernel regime" in printed
    table = space["table"]
    for name, exponent in (("parameter_change", 1), ("kernel_change", 2), ("linearization_gap", 2)):
        assert table[name][3.0] / table[name][30.0] == pytest.approx(10**exponent, rel=0.1)


@pytest.mark.usefixtures("in_process")
def test_ones_own_cnn_with_batch_norm():
    space, printed = run("own_cnn")
    assert space["diagnosis"].regime == "feature learning"
    assert "batch statistics, is no part of its kernel" in printed


def test_fine_tuning_in_three_ways():
    space, _ = run("fine_tuning")
    last = {name: monitor.to_pandas().iloc[-1] for name, monitor in space["monitors"].items()}
    assert last["head only"].linearization_gap < 1e-12
    assert last["head only"].kernel_change == 0
    for name in ("all parameters", "low rank"):
        assert last[name].linearization_gap > 0.1
        assert last[name].kernel_change > 0.1
