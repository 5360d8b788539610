import re

import pytest
from rich.console import Console
from torch import nn

import ntkgap as ng
from ntkgap.reporting import preview
from ntkgap.studies import cost
from tests.studies.test_variations import measure


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


@pytest.fixture
def tried(monkeypatch):
    """Cells last a hundredth of their width in seconds, and none is computed; gives those that were tried."""
    cells = []

    def try_cells(study, chosen, limit):
        cells.extend(chosen)
        return [(cell, cell["width"] / 100) for cell in chosen if cell["width"] < 500]

    monkeypatch.setattr(cost, "try_cells", try_cells)
    return cells


def printed(study, path, **how):
    console = Console(record=True, width=200)
    preview.print_preview(study, path, console, **how)
    return console.export_text()


@pytest.mark.parametrize(
    ("memory", "words"),
    [(1e8, "more than the 100 MB this machine has"), (6e8, "take fewer --workers"), (1e15, None)],
)
def test_a_sweep_that_needs_more_memory_than_there_is_says_so(memory, words, monkeypatch, tmp_path, tried):
    monkeypatch.setattr(preview, "physical_memory", lambda: memory)
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[16], seeds=[0, 1])
    text = printed(study, tmp_path, workers=2)
    assert "2 of 2 cells to compute" in text
    assert (words in text) if words else ("This machine has" not in text and "more than" not in text)


def test_variations_have_rows_of_their_own(tmp_path, tried):
    configuration = ng.OptimizationStudy.preset(
        "smoke", problems=["MLP"], widths=[16, 32], seeds=[0]
    ).configuration()
    configuration["problems"][0]["variations"] = {"width": 16, "axes": {"data.n_train": [10, 60]}}
    text = printed(ng.OptimizationStudy.build(configuration), tmp_path)
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == [
        "MLP (2 hidden layers), digits",
        "",
        "training examples n = 60",
    ]
    assert [row.split("│")[4].strip() for row in rows] == ["0.2 s"] * 3
    megabytes = [float(row.split("│")[-2].removesuffix(" MB ")) for row in rows]
    assert megabytes[2] > megabytes[0] + 10


def test_time_is_told_by_a_few_cells(tmp_path, tried):
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[100, 200, 300], seeds=2)
    text = printed(study, tmp_path, workers=1)
    assert [(cell["width"], cell["seed"]) for cell in tried] == [(100, 0), (200, 1)]
    assert "the most expensive cell takes" in text
    assert re.search(r"│ +100 │ +2 │ +1\.0 s │.*\n.*│ +200 │ +2 │ +2\.0 s │", text)


def test_time_is_told_by_cells_that_are_done_if_there_are_some(tmp_path, tried):
    measure(ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[4], seeds=1), tmp_path)
    text = printed(ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[4, 8], seeds=1), tmp_path)
    assert "1 of 2 cells to compute" in text
    assert "About " in text
    assert not tried


def test_nothing_to_do_takes_no_time(tmp_path, tried):
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[4], seeds=1)
    measure(study, tmp_path)
    assert printed(study, tmp_path).strip().startswith("optimization: 0 of 1 cells to compute")
    assert not tried


def test_a_time_that_is_not_known_is_said(tmp_path, tried):
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[512], seeds=1)
    text = printed(study, tmp_path)
    assert "Of 'shallow ReLU, sphere' no cell was computed in 8 s, so that no time is known." in text
    assert re.search(r"│ +512 │ +1 │ +\? │ +\d+ MB │", text)


def test_a_network_that_cannot_be_built_at_a_width_has_no_size(tmp_path, tried):
    def build(width, in_features, n_outputs):
        if width == 3:
            raise ValueError("3 is odd")
        return nn.Sequential(nn.Flatten(), nn.Linear(in_features, n_outputs))

    study = ng.OptimizationStudy.preset("smoke", problems=["MLP"], model=build, widths=[2, 3, 4], seeds=1)
    text = printed(study, tmp_path)
    assert re.search(r"│ +3 │ +1 │ +[\d.]+ m?s │ +\? │", text)
    assert re.search(r"The largest cell needs about 45\d MB", text)
