"""Bars in a notebook are one output that is replaced."""

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from ntkgap import notebook
from ntkgap.kernels.progress import tracked
from ntkgap.sweep.progress import InNotebook, make_reporter


class Shown:
    """What ``display`` gives: the output, by which it is replaced."""

    def __init__(self):
        self.outputs = []

    def update(self, data, raw):
        assert raw
        self.outputs[-1].append(data)


@pytest.fixture
def shown(monkeypatch):
    """IPython as a kernel has it, as far as bars use it."""
    found = Shown()

    def display(data, raw, display_id):
        assert raw
        assert display_id
        found.outputs.append([data])
        return found

    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(notebook, "SECONDS_BETWEEN", 0.0)
    return found


def test_a_sweep_has_one_bar(shown):
    reporter = make_reporter(2, True)
    assert isinstance(reporter, InNotebook)
    reporter.console = Console(file=io.StringIO())
    with reporter:
        reporter.advance("MLP <b>, width 8", "done")
        reporter.expect(1, "seeds 6 to 11")
        reporter.advance("other", "failed", "no data")
    (bar,) = shown.outputs
    texts = [each["text/plain"].partition(",")[0] for each in bar]
    assert texts == ["measuring: 0/2", "measuring: 1/2", "measuring: 1/3", "measuring: 2/3", "measuring: 2/3"]
    assert 'value="1" max="2"' in bar[1]["text/html"]
    assert "MLP &lt;b&gt;, width 8" in bar[1]["text/html"]
    assert reporter.console.file.getvalue() == "other: failed no data\n"


def test_a_kernel_has_one_bar(shown):
    assert list(tracked([1, 2, 3], "blocks", True)) == [1, 2, 3]
    (bar,) = shown.outputs
    assert bar[-1]["text/plain"].startswith("blocks: 3/3")
    assert list(tracked(iter("ab"), "blocks", True)) == ["a", "b"]
    assert "<progress ></progress> blocks: 2" in shown.outputs[1][-1]["text/html"]


def test_bars_are_not_replaced_all_the_time(shown, monkeypatch):
    monkeypatch.setattr(notebook, "SECONDS_BETWEEN", 1e3)
    assert len(list(tracked(range(1000), "blocks", True))) == 1000
    assert len(shown.outputs[0]) == 2


def test_elsewhere_there_is_none(shown, monkeypatch):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)  # IPython in a terminal, or a script
    assert not notebook.in_notebook()
    assert not isinstance(make_reporter(2, True), InNotebook)
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.in_notebook()
