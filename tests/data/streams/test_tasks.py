"""Streams of one file or data set a task."""

import numpy as np
import pandas as pd
import pytest
import torch

import ntkgap as ng
from ntkgap.data import data_files, fingerprint
from ntkgap.errors import DataError
from tests.tolerances import SINGLE

SIZES = {"n_train": 10, "n_test": 12, "seed": 3}


def table(seed, n=40, d=3):
    return np.random.default_rng(seed).normal(loc=5 * seed, scale=seed + 1, size=(n, d))


def labels(*names, n=40):
    return np.array(names)[np.arange(n) % len(names)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two files of classes that share one, and two of regressions."""
    np.savez(tmp_path / "a.npz", x=table(0), y=labels("cat", "dog"), heat=table(5)[:, 0])
    np.savez(tmp_path / "b.npz", x=table(1), y=labels("dog", "ant", "eel"), heat=100 + table(6)[:, 0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tasks_are_the_draws_of_load_data_under_common_columns(folder):
    stream = ng.continual.load_stream("tasks", ["a.npz", "b.npz"], **SIZES, scaling="none")
    assert [task.name for task in stream.tasks] == ["a.npz", "b.npz"]
    assert [task.columns for task in stream.tasks] == [(0, 1, 2, 3)] * 2
    own = {"a.npz": ["cat", "dog"], "b.npz": ["ant", "dog", "eel"]}
    for task in stream.tasks:
        for part, expected in zip(
            (task.train, task.test), ng.load_data(task.name, **SIZES, scaling="none"), strict=True
        ):
            assert torch.equal(part.x, expected.x)
            named = [own[task.name][c] for c in expected.y.argmax(dim=1)]
            assert [["ant", "cat", "dog", "eel"][c] for c in part.y.argmax(dim=1)] == named
    heads = ng.continual.load_stream("tasks", ["a.npz", "b.npz"], **SIZES, heads="per_task")
    assert [task.columns for task in heads.tasks] == [(0, 1), (2, 3, 4)]
    assert torch.equal(heads.tasks[1].train.y, ng.load_data("b.npz", **SIZES)[0].y)


def test_inputs_are_scaled_by_the_first_task_in_double_precision():
    """Which rows are drawn does not depend on what is in them: those that float32 can hold tell."""
    near = [(table(seed), labels(0, 1)) for seed in (0, 1)]
    stream = ng.continual.load_stream("tasks", [(1.7e9 + x, y) for x, y in near], **SIZES)
    drawn = [ng.load_data(data, **SIZES, scaling="none") for data in near]
    learned = drawn[0][0].x.double()
    mean, std = learned.mean(dim=0), learned.std(dim=0, correction=0)
    for task, parts in zip(stream.tasks, drawn, strict=True):
        for part, raw in zip((task.train, task.test), parts, strict=True):
            torch.testing.assert_close(part.x.double(), (raw.x - mean) / std, rtol=SINGLE, atol=SINGLE)


def test_all_ways_to_give_tasks_are_the_same(folder, tmp_path):
    expected = ng.continual.load_stream("tasks", ["a.npz", "b.npz"], **SIZES)
    frames = [
        pd.DataFrame(table(s)).assign(y=y)
        for s, y in ((0, labels("cat", "dog")), (1, labels("dog", "ant", "eel")))
    ]
    ways = [
        ("a.npz,b.npz", {}),
        ("a.npz, b.npz", {}),
        ("a.npz:x,y,b.npz:x,y", {}),
        ("a.npz:x,y,b.npz", {}),
        ((tmp_path / "a.npz", {"x": table(1), "y": labels("dog", "ant", "eel")}), {}),
        ([frames[0], frames[1]], {"target": "y"}),
    ]
    for data, options in ways:
        stream = ng.continual.load_stream("tasks", data, **SIZES, **options)
        for s, t in zip(stream.tasks, expected.tasks, strict=True):
            assert torch.equal(s.train.x, t.train.x)
            assert torch.equal(s.test.y, t.test.y)


def test_regressions_have_one_unit_for_a_common_head_and_each_its_own_for_heads_of_their_own(folder):
    files = ["a.npz:x,heat", "b.npz:x,heat"]
    single, heads = (
        ng.continual.load_stream("tasks", files, **SIZES, heads=heads) for heads in ("single", "per_task")
    )
    raw = ng.continual.load_stream("tasks", files, **SIZES, targets="none")
    assert not single.classification
    assert (single.n_outputs, heads.n_outputs) == (1, 2)
    first, second = (task.train.y.double() for task in raw.tasks)
    by_first = (second - first.mean()) / first.std(correction=0)
    by_own = (second - second.mean()) / second.std(correction=0)
    torch.testing.assert_close(single.tasks[1].train.y.double(), by_first, rtol=SINGLE, atol=SINGLE)
    torch.testing.assert_close(heads.tasks[1].train.y.double(), by_own, rtol=SINGLE, atol=SINGLE)
    assert torch.equal(single.tasks[0].train.y, heads.tasks[0].train.y)


def test_images_and_several_targets():
    x = np.random.default_rng(0).random((2, 40, 1, 4, 4))
    y = np.random.default_rng(1).random((2, 40, 2))
    stream = ng.continual.load_stream("tasks", list(zip(x, y, strict=True)), **SIZES, shrink=2, flatten=True)
    assert stream.tasks[1].train.x.shape == (10, 4)
    assert stream.n_outputs == 2
    assert [task.name for task in stream.tasks] == ["task 1", "task 2"]


def test_files_are_found_for_fingerprints(folder):
    files = data_files("a.npz,b.npz")
    assert files == [folder / "a.npz", folder / "b.npz"]
    assert data_files("a.npz:x,y,b.npz:x,heat") == files
    assert data_files("a.npz:x,y") == files[:1]
    assert data_files("with,comma.npz") == [folder / "with,comma.npz"]
    before = fingerprint(files)
    np.savez(folder / "b.npz", x=table(2), y=labels("dog", "ant", "eel"))
    assert fingerprint(files) != before
    with pytest.raises(DataError, match=r"'b' does not end in \.npz"):
        data_files("a.npz,b")


GOOD = (table(0), labels(0, 1))


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (None, {}, "list of files or data sets, one a task and at least two.*got 0 of them"),
        ("a.npz", {}, "at least two.*got 1 of them"),
        ("digits", {}, "got 1 of them"),
        (pd.DataFrame(table(0)), {}, "got DataFrame"),
        (GOOD, {}, "task 1 is ndarray; give each task a file"),
        (["a.npz", "digits"], {}, "task 2 is 'digits'; give each task a file"),
        (["a.npz", "a.npz"], {}, "a.npz is given for two tasks"),
        (["a.npz", "none.npz"], {}, "task 2: no data file at .*none.npz"),
        (["a.npz", "wide.npz"], {}, r"a.npz has inputs of shape \(3,\), wide.npz of shape \(4,\)"),
        (["a.npz", "a.npz:x,heat"], {}, "a.npz has class labels that are text, a.npz:x,heat has floating-point"),
        (
            ["a.npz", GOOD],
            {},
            "a.npz has class labels that are text, task 2 has class labels that are whole numbers",
        ),
        (
            ["a.npz", "b.npz"],
            {"n_train": 30},
            "a.npz: n_train=30 and n_test=12 ask for 42 .* has 40; ask for fewer",
        ),
        (["a.npz", "b.npz"], {"heads": "shared"}, "heads must be 'single' or 'per_task', got 'shared'"),
        (["a.npz", "b.npz"], {"n_train": 2}, "b.npz: class .* in the test set, but there is no training example"),
        (["a.npz:x,heat", "b.npz:x,x"], {}, "b.npz:x,x has 3 targets an example, a.npz:x,heat has 1.*per_task"),
        (["a.npz", "b.npz"], {"target": "y"}, "task 1: target= names a column of a table"),
        (["a.npz", "b.npz"], {"shrink": 2}, "leave shrink out"),
        (["a.npz", "b.npz"], {"targets": "standardize"}, "unknown targets 'standardize' for classes"),
        (["a.npz:x,heat", "b.npz:x,heat"], {"targets": "sign"}, "unknown targets 'sign' for regression"),
    ],
)
def test_tasks_that_do_not_go_together_are_named(folder, data, options, words):
    np.savez(folder / "wide.npz", x=table(0, d=4), y=labels("cat", "dog"))
    with pytest.raises(DataError, match=words):
        ng.continual.load_stream("tasks", data, **(SIZES | options))
