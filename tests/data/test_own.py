"""A user's own examples, in whatever holds them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import ntkgap as ng
from ntkgap.data import dataset_of
from ntkgap.errors import DataError
from tests.tolerances import SINGLE


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture
def labels():
    return np.arange(40) % 4


def equal(one, two):
    return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(one, two, strict=True))


def test_all_ways_to_give_the_same_examples_are_the_same(x, labels, tmp_path):
    expected = ng.load_data((x, labels), 8, 8)
    assert [len(part) for part in expected] == [8, 8]
    assert expected[0].y.sum(0).tolist() == [2.0] * 4
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(kind=labels)
    np.savez(tmp_path / "mine.npz", x=x, y=labels)
    np.savez(tmp_path / "other.npz", images=x, labels=labels, more=1)
    frame.to_csv(tmp_path / "mine.csv", index=False)
    tensors = torch.as_tensor(x), torch.as_tensor(labels)
    ways = [
        {"x": x, "y": labels},
        (x.tolist(), labels.tolist()),
        tensors,
        [frame[["a", "b", "c"]], frame.kind],
        TensorDataset(*tensors),
        DataLoader(TensorDataset(*tensors), batch_size=7),
        str(tmp_path / "mine.npz"),
        tmp_path / "mine.npz",
        f"{tmp_path / 'other.npz'}:images,labels",
    ]
    for way in ways:
        assert equal(ng.load_data(way, 8, 8), expected)
    for table in (frame, str(tmp_path / "mine.csv")):
        assert equal(ng.load_data(table, 8, 8, target="kind"), expected)


@pytest.mark.parametrize("dtype", [">f8", np.longdouble, np.float16, ">i4", np.uint8, bool])
def test_numbers_of_any_type(x, labels, dtype):
    given = (10 * x).astype(dtype)
    if dtype is bool:
        given[0] = ~given[1]
    train, _ = ng.load_data((given, labels), 8, 8, scaling="none")
    assert train.x.dtype == torch.float32
    assert np.isin(train.x.numpy(), given.astype(np.float64).astype(np.float32)).all()


def test_targets_are_scaled_as_asked(x):
    y = 1e6 + 30 * x[:, 0]
    train, test = ng.load_data((x, y), 20, 20)
    assert abs(float(train.y.mean())) < 1e-6
    assert float(train.y.std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert not torch.equal(train.y.mean(), test.y.mean())
    assert float(ng.load_data((x, y), 20, 20, targets="none")[0].y.mean()) == pytest.approx(1e6, rel=1e-3)
    with pytest.raises(DataError, match="'nonsense' for regression"):
        ng.load_data((x, y), 20, 20, targets="nonsense")
    with pytest.raises(DataError, match="'nonsense' for classes"):
        ng.load_data((x, np.arange(40) % 2), 20, 20, targets="nonsense")


def test_times_are_standardized_before_they_are_rounded(labels):
    times = 1.7e9 + np.linspace(0, 60, 40)[:, None]
    train, _ = ng.load_data((times, labels), 20, 20)
    assert len(train.x.unique()) == 20
    assert float(train.x.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_images_are_scaled_by_channel(labels):
    images = np.random.default_rng(0).normal(size=(40, 3, 5, 5)) * np.array([1, 5, 9])[:, None, None]
    train, _ = ng.load_data((images, labels), 20, 20)
    torch.testing.assert_close(train.x.std((0, 2, 3), correction=0), torch.ones(3))
    assert not torch.allclose(train.x.std(0, correction=0), torch.ones(3, 5, 5), atol=1e-3)


FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["u", "v", "w"], "c": [1.0, np.nan, 2.0], "y": [0.5, 1.5, 2.5]})


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (FRAME, {}, "columns a, b, c, y; say which one"),
        (FRAME, {"target": "z"}, "columns a, b, c, y; say which one"),
        (FRAME, {"target": "y"}, "b hold no numbers.*get_dummies"),
        (FRAME.drop(columns="b"), {"target": "y"}, r"'c' lacks 1 of 3 values \(the first in row 1\)"),
        ((np.zeros((4, 2)), [1, 2, 3, 4], 5), {}, "pairs.*3 things"),
        ((np.eye(4), np.arange(4.0)), {"target": "y"}, "no columns"),
        ((np.eye(4), np.ones(4, int)), {}, "all 4 labels are the same"),
        ((np.zeros((0, 2)), np.zeros(0)), {}, "no example"),
        ((np.ones((8, 9, 9, 3)), np.arange(8) % 2), {}, r"channels last.*transpose\(0, 3, 1, 2\)"),
        (([[1, 2], [3]], [0, 1]), {}, "x is no array"),
        ({"x": np.eye(3)}, {}, "needs \\['y'\\]"),
        (DataLoader(TensorDataset(torch.eye(3), torch.eye(3), torch.eye(3))), {}, "pairs.*3 things"),
        (Endless(), {}, "no length"),
        (np.eye(4), {}, "given by a name, or as a pair"),
        ("mine.npz:x", {}, "names 1 array; name two"),
        ("missing.csv", {"target": "y"}, "no data file"),
    ],
)
def test_what_makes_no_sense_is_named(data, options, words):
    with pytest.raises(DataError, match=words):
        ng.load_data(data, 2, 1, **options)


def test_keys_that_a_file_lacks(tmp_path, x):
    np.savez(tmp_path / "mine.npz", images=x, labels=x)
    with pytest.raises(DataError, match="no array 'label'; it has images, labels"):
        ng.load_data(f"{tmp_path / 'mine.npz'}:images,label", 2, 1)
    with pytest.raises(DataError, match="or name two"):
        ng.load_data(str(tmp_path / "mine.npz"), 2, 1)


def test_a_dataset_takes_arrays_and_labels(x, labels):
    data = ng.Dataset(x, labels, n_classes=4)
    assert data.x.dtype == data.y.dtype == torch.float32
    assert data.y.argmax(1).tolist() == labels.tolist()
    for y, n_classes, words in (
        (labels, 3, "labels from 0 to 3"),
        (labels, None, "with n_classes="),
        ((labels[:, None] > 1).astype(float), 2, "one column of 0 and 1"),
        (np.eye(4)[labels][:, :2], 3, "2 columns, but there are 3 classes"),
        (labels.astype(str), 4, "no real numbers"),
        (labels.tolist(), 4, "tensor or a NumPy array"),
    ):
        with pytest.raises(DataError, match=words):
            ng.Dataset(x, y, n_classes=n_classes)
    signs = ng.Dataset(x, 2.0 * (labels[:, None] > 1) - 1, n_classes=2)
    assert signs.n_outputs == 1


def test_networks_are_trained_on_them(x):
    y = x[:, :1]
    losses = []
    pair = torch.as_tensor(x).float(), torch.as_tensor(y).float()
    for data in (ng.Dataset(x, y), (x, y), DataLoader(TensorDataset(*pair), 9)):
        torch.manual_seed(0)
        net = nn.Linear(3, 1)
        losses.append(ng.train(net, data, learning_rate=0.01, steps=3, test=data).losses)
    assert losses[0] == losses[1] == losses[2]
    with pytest.raises(DataError, match="a pair"):
        ng.train(net, 3, learning_rate=0.01, steps=3)
    assert dataset_of((x, ["u", "v"] * 20)).n_classes == 2


def test_units_give_back_what_standardized_targets_were(x):
    y = 100 + 7 * np.arange(len(x), dtype=float)[:, None] * [1.0, 2.0]
    train, test = ng.load_data((x, y), n_train=20, n_test=10)
    raw, raw_test = ng.load_data((x, y), n_train=20, n_test=10, targets="none")
    assert raw.units is None
    restored = test.y * train.units + raw.y.mean(dim=0)
    torch.testing.assert_close(restored, raw_test.y, rtol=SINGLE, atol=SINGLE)
    assert test.to(torch.float64).units.dtype == torch.float64
