"""Streams of a user's own images, tables and sequences: what each kind does to them, and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import ntkgap as ng
from ntkgap.errors import DataError
from tests.tolerances import SINGLE

N = 120
SMALL = {"n_train": 12, "n_test": 15, "seed": 1}
PETS = np.array(["cat", "dog", "eel"])[np.arange(N) % 3]


@pytest.fixture
def table():
    """Columns of very different place and size, the last of them times that float32 cannot tell apart."""
    x = np.random.default_rng(0).normal(size=(N, 4))
    return x * [1.0, 1e-3, 1e6, 10.0] + [0.0, 5.0, -1e6, 1.7e9]


@pytest.fixture
def pictures():
    """Two channels, the second much brighter."""
    return np.random.default_rng(0).random((N, 2, 6, 6)) * np.array([1.0, 50.0])[:, None, None]


def rows_of(x, part):
    """Where the inputs of a task, given unscaled and unchanged, stand among a user's own."""
    place = {np.asarray(row, dtype=np.float32).tobytes(): i for i, row in enumerate(x)}
    return [place[row.numpy().tobytes()] for row in part.x]


def equal(one, two):
    parts = [
        (a, b)
        for s, t in zip(one.tasks, two.tasks, strict=True)
        for a, b in ((s.train, t.train), (s.test, t.test))
    ]
    return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in parts)


def test_all_ways_to_give_the_same_examples_give_the_same_stream(tmp_path):
    x, kind = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32), np.arange(N) % 3
    frame = pd.DataFrame(x.astype(float), columns=["a", "b", "c"]).assign(kind=kind)
    np.savez(tmp_path / "mine.npz", x=x, y=kind)
    np.savez(tmp_path / "other.npz", images=x, labels=kind)
    frame.to_csv(tmp_path / "mine.csv", index=False)
    tensors = TensorDataset(torch.as_tensor(x), torch.as_tensor(kind))
    ways = [
        (x.tolist(), kind.tolist()),
        {"x": x, "y": kind},
        tensors,
        DataLoader(tensors, batch_size=7),
        ng.Dataset(x, kind, n_classes=3),
        str(tmp_path / "mine.npz"),
        tmp_path / "mine.npz",
        f"{tmp_path / 'other.npz'}:images,labels",
    ]
    for stream, options in (("permuted", {"tasks": 3}), ("split", {"overlap": 1})):
        expected = ng.continual.load_stream(stream, (x, kind), **SMALL, **options)
        for way in ways:
            assert equal(ng.continual.load_stream(stream, way, **SMALL, **options), expected)
        for given in (frame, str(tmp_path / "mine.csv")):
            assert equal(ng.continual.load_stream(stream, given, **SMALL, **options, target="kind"), expected)
        assert not equal(ng.continual.load_stream(stream, (x, kind), **(SMALL | {"seed": 2}), **options), expected)
    assert (
        ng.continual.load_stream("split", str(tmp_path / "mine.npz"), **SMALL, overlap=1).name == "split mine.npz"
    )


def test_images_of_ones_own_turn_and_are_scaled_by_channel(pictures):
    options = SMALL | {"tasks": 4, "angle": 90}
    raw = ng.continual.load_stream("rotated", (pictures, PETS), **options, scaling="none")
    first = raw.tasks[0]
    for t, task in enumerate(raw.tasks):
        for channel in range(2):
            expected = np.rot90(first.test.x[:, channel].numpy(), t, (1, 2))
            np.testing.assert_allclose(task.test.x[:, channel], expected, rtol=SINGLE, atol=SINGLE)
        rows = rows_of(pictures, first.test) if t == 0 else None
        assert rows is None or [PETS[i] for i in rows] == [sorted(set(PETS))[c] for c in task.test.y.argmax(1)]
        assert task.columns == (0, 1, 2)
    scaled = ng.continual.load_stream("rotated", (pictures, PETS), **options)
    learned = pictures[rows_of(pictures, first.train)]
    mean, std = (f(learned, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    for before, after in zip(raw.tasks, scaled.tasks, strict=True):
        np.testing.assert_allclose(after.test.x, (before.test.x.numpy() - mean) / std, rtol=SINGLE, atol=SINGLE)
    small = ng.continual.load_stream("rotated", (pictures, PETS), **SMALL, shrink=3, flatten=True)
    assert small.tasks[0].train.x.shape == (12, 8)


def test_pixels_of_ones_own_images_move_with_all_their_channels(pictures):
    pictures[:, 1] = 50 * pictures[:, 0]
    stream = ng.continual.load_stream("permuted", (pictures, PETS), **SMALL, tasks=2, scaling="none")
    one, two = (task.test.x.flatten(2) for task in stream.tasks)
    assert not torch.equal(one, two)
    assert torch.equal(one.sort(dim=2).values, two.sort(dim=2).values)
    torch.testing.assert_close(two[:, 1], 50 * two[:, 0])


def test_columns_of_a_table_change_places_with_their_scale(table):
    raw = ng.continual.load_stream("permuted", (table, PETS), **SMALL, tasks=3, scaling="none")
    float32_is_enough = ng.continual.load_stream(
        "permuted", (table[:, :3], PETS), **SMALL, tasks=3, scaling="none"
    )
    rows = [
        rows_of(table[:, :3], part) for part in (float32_is_enough.tasks[0].train, float32_is_enough.tasks[0].test)
    ]
    learned = table[rows[0]]
    standard = (table[rows[1]] - learned.mean(axis=0)) / learned.std(axis=0)
    scaled = ng.continual.load_stream("permuted", (table, PETS), **SMALL, tasks=3)
    np.testing.assert_allclose(scaled.tasks[0].test.x, standard, rtol=SINGLE, atol=SINGLE)
    orders = set()
    for before, after in zip(raw.tasks, scaled.tasks, strict=True):
        # The times, the largest numbers, tell where a column has gone.
        place = [int(np.abs(after.test.x.numpy()[0] - v).argmin()) for v in standard[0]]
        assert int(before.test.x[0].argmax()) == place[3]
        np.testing.assert_allclose(after.test.x[:, place], standard, rtol=SINGLE, atol=SINGLE)
        orders.add(tuple(place))
    assert len(orders) > 1


def test_sequences_change_the_places_of_their_entries():
    x = np.random.default_rng(0).normal(size=(N, 5, 3))
    stream = ng.continual.load_stream("permuted", (x, PETS), **SMALL, tasks=2, scaling="none")
    one, two = (task.test.x for task in stream.tasks)
    assert two.shape == (15, 5, 3)
    assert torch.equal(one.flatten(1).sort(dim=1).values, two.flatten(1).sort(dim=1).values)
    assert not torch.equal(one.sort(dim=1).values, two.sort(dim=1).values)  # features move too, not steps alone
    assert ng.continual.load_stream("permuted", (x, PETS), **SMALL, tasks=2, flatten=True).tasks[
        1
    ].train.x.shape == (12, 15)


def test_regressions_of_ones_own_are_standardized_by_the_first_task(table):
    y = np.stack([1e6 + 30 * table[:, 0], table[:, 1]], axis=1)
    raw = ng.continual.load_stream(
        "permuted", (table[:, :3], y), **SMALL, tasks=2, fraction=0, scaling="none", targets="none"
    )
    scaled = ng.continual.load_stream("permuted", (table[:, :3], y), **SMALL, tasks=2, fraction=0)
    learned = y[rows_of(table[:, :3], raw.tasks[0].train)]
    for before, after in zip(raw.tasks, scaled.tasks, strict=True):
        truth = y[rows_of(table[:, :3], before.train)]
        np.testing.assert_allclose(before.train.y, truth, rtol=1e-6)
        expected = (truth - learned.mean(axis=0)) / learned.std(axis=0)
        np.testing.assert_allclose(after.train.y, expected, rtol=SINGLE, atol=SINGLE)
    assert not scaled.classification
    assert scaled.n_outputs == 2
    with pytest.raises(DataError, match="'one_hot' for regression"):
        ng.continual.load_stream("permuted", (table, y), **SMALL, targets="one_hot")


@pytest.mark.parametrize("heads", ["single", "shared", "per_task"])
def test_three_classes_with_two_a_task_and_one_shared(heads):
    x = np.random.default_rng(0).normal(size=(N, 3))
    options = SMALL | {"overlap": 1, "heads": heads, "scaling": "none"}
    stream = ng.continual.load_stream("split", (x, PETS), **options)
    assert [task.name for task in stream.tasks] == ["classes cat, dog", "classes dog, eel"]
    assert [task.columns for task in stream.tasks] == {
        "single": [(0, 1, 2)] * 2, "shared": [(0, 1)] * 2, "per_task": [(0, 1), (2, 3)]
    }[heads]  # fmt: skip
    learned = []
    tested = []
    for group, task in zip([["cat", "dog"], ["dog", "eel"]], stream.tasks, strict=True):
        named = ["cat", "dog", "eel"] if heads == "single" else group
        for part, rows in ((task.train, learned), (task.test, tested)):
            found = rows_of(x, part)
            assert [PETS[i] for i in found] == [named[c] for c in part.y.argmax(dim=1)]
            assert sorted(np.unique(PETS[found], return_counts=True)[1]) == [len(part) // 2, -(-len(part) // 2)]
            rows += found
    assert len(set(learned)) == len(learned) == 24
    assert not set(learned) & set(tested)


def test_classes_of_ones_own_come_in_the_order_that_is_asked_for():
    x, labels = np.random.default_rng(0).normal(size=(N, 3)), np.arange(N) % 5 + 7
    for classes in ([10, 7, 11, 8], list(np.array([10, 7, 11, 8]))):
        stream = ng.continual.load_stream("split", (x, labels), **SMALL, classes=classes, heads="per_task")
        assert [task.name for task in stream.tasks] == ["classes 10, 7", "classes 11, 8"]
    for classes in ([0, 1, 7, 8], [7, 7, 8, 9], [7.0, 8.0, 9.0, 10.0], "7890", ["7", "8", "9", "10"]):
        with pytest.raises(DataError, match=r"different labels of the data, 7, 8, 9, 10, 11; got"):
            ng.continual.load_stream("split", (x, labels), **SMALL, classes=classes)
    with pytest.raises(DataError, match="different labels of the data, 'cat', 'dog', 'eel'; got"):
        ng.continual.load_stream("split", (x, PETS), **SMALL, classes=["cat", "emu"])
    with pytest.raises(DataError, match="3 classes reach for 1 tasks"):
        ng.continual.load_stream("split", (x, PETS), **SMALL)


def test_two_classes_may_be_told_apart_by_signs():
    x, labels = np.random.default_rng(0).normal(size=(N, 3)), np.arange(N) % 4
    stream = ng.continual.load_stream(
        "split", (x, labels), **SMALL, heads="per_task", targets="sign", scaling="none"
    )
    assert [task.columns for task in stream.tasks] == [(0,), (1,)]
    second = stream.tasks[1].train
    assert [int(labels[i]) for i in rows_of(x, second)] == [3 if y > 0 else 2 for y in second.y[:, 0]]
    both = ng.continual.load_stream("permuted", (x, labels > 1), **SMALL, targets="sign")
    assert both.template().y.shape == (12, 1)
    data = ng.Dataset(x, np.where(labels > 1, 1.0, -1.0)[:, None], n_classes=2)
    assert torch.equal(
        ng.continual.load_stream("permuted", data, **SMALL, targets="sign").tasks[0].train.y, both.tasks[0].train.y
    )


@pytest.mark.parametrize(
    ("kind", "options", "least"),
    [("permuted", {"tasks": 5}, 3), ("rotated", {"tasks": 3}, 3), ("split", {"overlap": 1}, 2)],
)
def test_what_is_asked_for_instead_of_too_much_is_the_most_there_is(kind, options, least):
    data = np.random.default_rng(0).random((N, 1, 4, 4)), PETS
    words = rf"(has {N}|of class cat, but .* has 40 of it); ask for n_train of at most (\d+)"
    with pytest.raises(DataError, match=words) as refused:
        ng.continual.load_stream(kind, data, n_train=90, n_test=20, **options)
    most = int(re.search(words, str(refused.value))[2])
    assert most > least
    assert len(ng.continual.load_stream(kind, data, n_train=most, n_test=20, **options).tasks[-1].train) == most
    with pytest.raises(DataError, match="ask for n_train of at most"):
        ng.continual.load_stream(kind, data, n_train=most + 2, n_test=20, **options)
    with pytest.raises(DataError, match=r"ask for fewer"):
        ng.continual.load_stream(kind, data, n_train=9, n_test=119, **options)


def test_a_rare_class_is_in_every_task_or_named():
    x, labels = np.random.default_rng(0).normal(size=(N, 3)), np.array(["often"] * (N - 4) + ["rare"] * 4)
    stream = ng.continual.load_stream("permuted", (x, labels), **SMALL, tasks=4)
    assert [int(task.train.y[:, 1].sum()) for task in stream.tasks] == [1] * 4
    with pytest.raises(DataError, match=r"no training example of class rare.*only 4 were drawn for 5 tasks"):
        ng.continual.load_stream("permuted", (x, labels), **SMALL, tasks=5)
    with pytest.raises(DataError, match=r"n_train=1 examples a task are too few for 2 classes"):
        ng.continual.load_stream("permuted", (x, labels), n_train=1, n_test=15)


TABLE = np.random.default_rng(0).normal(size=(N, 3))


@pytest.mark.parametrize(
    ("kind", "data", "options", "words"),
    [
        ("rotated", (TABLE, PETS), {}, r"no images \[n, C, H, W\] to rotate.*choose the kind 'permuted'"),
        ("rotated", (np.ones((N, 6, 6)) * TABLE[:, :1, None], PETS), {}, r"\[n, H, W\] as x\[:, None\]"),
        ("rotated", (np.ones((N, 6, 6, 3)) * TABLE[:, :1, None, None], PETS), {}, r"channels last.*transpose"),
        (
            "split",
            (TABLE, TABLE[:, 0]),
            {},
            "of a regression, but tasks are split by classes; store labels as whole",
        ),
        ("permuted", (TABLE, PETS), {"shrink": 2}, r"pixels of images.*shape \(60, 3\); leave shrink out"),
        ("permuted", (TABLE, PETS), {"root": "data"}, "root= is the folder of named data"),
        ("permuted", (TABLE, PETS), {"target": "y"}, "these data have no columns"),
        ("permuted", "digits", {"target": "y"}, "digits has no columns"),
        ("permuted", pd.DataFrame(TABLE), {"target": "y"}, "columns 0, 1, 2; say which one"),
        ("permuted", "missing.npz", {}, "no data file at .*missing.npz"),
        ("split", "one.npz,two.npz", {}, r"names 2 files.*load_stream\('tasks'"),
        ("teachers", (TABLE, PETS), {}, "on the 'sphere'; got tuple"),
        ("split", 3, {}, "or of one's own examples.*got int"),
        ("permuted", (np.where(TABLE > 2, np.nan, TABLE), PETS), {}, r"data \(x, y\): x has NaN or infinite"),
        ("permuted", (TABLE, PETS), {"targets": "sign"}, "3"),
    ],
)
def test_what_makes_no_stream_is_named(kind, data, options, words):
    with pytest.raises(DataError, match=words):
        ng.continual.load_stream(kind, data, **SMALL, **options)
