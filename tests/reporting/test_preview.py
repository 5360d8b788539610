import pytest
from rich.console import Console

import ntkgap as ng
from ntkgap.reporting import preview


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0123, "12 ms"),
        (3.21, "3.2 s"),
        (75, "75 s"),
        (150, "2.5 min"),
        (3600, "60 min"),
        (1e5, "28 h"),
        (1e6, "12 days"),
    ],
)
def test_durations_for_people(seconds, words):
    assert preview.duration(seconds) == words


def test_sizes_for_people():
    assert preview.size(4.5e8) == "450 MB"
    assert preview.size(3.14e9) == "3.1 GB"


@pytest.mark.parametrize(
    ("memory", "words"),
    [(1e8, "more than the 100 MB this machine has"), (6e8, "take fewer --workers"), (1e15, None)],
)
def test_a_sweep_that_needs_more_memory_than_there_is_says_so(memory, words, monkeypatch, tmp_path):
    monkeypatch.setattr(preview, "physical_memory", lambda: memory)
    console = Console(record=True, width=200)
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[16], seeds=[0, 1])
    preview.print_preview(study, tmp_path, console, workers=2)
    text = console.export_text()
    assert "2 of 2 cells to compute" in text
    assert (words in text) if words else ("This machine has" not in text and "more than" not in text)
