import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import ntkgap as ng
from ntkgap.data import DATASETS
from ntkgap.data.digits import bundled
from ntkgap.data.sampling import class_balanced_order
from ntkgap.errors import DataError


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_keeps_the_contract(name, all_files, monkeypatch):
    monkeypatch.setenv("NTKGAP_DATA", str(all_files))
    train, test = ng.load_data(name, n_train=20, n_test=30, seed=3)
    for part, n in ((train, 20), (test, 30)):
        assert len(part) == len(part.x) == len(part.y) == n
        assert part.x.dtype == part.y.dtype == torch.float32
        assert part.y.ndim == 2
    again, _ = ng.load_data(name, n_train=20, n_test=30, seed=3)
    other, _ = ng.load_data(name, n_train=20, n_test=30, seed=4)
    assert torch.equal(train.x, again.x)
    assert torch.equal(train.y, again.y)
    assert not torch.equal(train.x, other.x)


def test_digits_are_those_of_scikit_learn():
    for ours, theirs in zip(bundled(), load_digits(return_X_y=True), strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def test_digits_are_class_balanced_and_disjoint():
    train, test = ng.load_data("digits", n_train=95, n_test=203, seed=1, scaling="none")
    for part in (train, test):
        counts = part.y.sum(dim=0)
        assert counts.max() - counts.min() <= 1
    rows = torch.cat([train.x, test.x]).numpy()
    # A handful of the bundled images are duplicates; whole overlaps would show as far fewer rows.
    assert len(np.unique(rows, axis=0)) >= len(rows) - 2
    assert train.n_classes == 10


def test_standardizing_uses_the_training_set_alone():
    train, test = ng.load_data("digits", n_train=300, n_test=300, seed=0, scaling="standardize")
    moving = train.x.std(dim=0) > 0
    assert torch.allclose(train.x.mean(dim=0), torch.zeros(64), atol=1e-5)
    assert torch.allclose(train.x[:, moving].std(dim=0, correction=0), torch.ones(int(moving.sum())), atol=1e-4)
    assert not torch.allclose(test.x.mean(dim=0), torch.zeros(64), atol=1e-3)


def test_unit_norm_and_plus_minus():
    train, _ = ng.load_data("digits", 50, 50, scaling="unit_norm", targets="plus_minus")
    assert torch.allclose(train.x.norm(dim=1), torch.ones(50))
    assert set(train.y.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal((train.y > 0).sum(dim=1), torch.ones(50, dtype=torch.long))


def test_sphere_has_unit_norm_and_standard_targets():
    _, test = ng.load_data("sphere", 10, 4000, dim=7)
    assert torch.allclose(test.x.norm(dim=1), torch.ones(4000))
    assert abs(test.y.mean()) < 4 / 4000**0.5
    assert abs(test.y.var() - 1) < 4 * (2 / 4000) ** 0.5
    # Uniform: every coordinate has mean 0 and variance 1/dim.
    assert torch.allclose(test.x.var(dim=0), torch.full((7,), 1 / 7), rtol=0.15)


def test_teacher_targets_are_a_function_of_the_inputs():
    train, _ = ng.load_data("sphere", 400, 10, dim=3, targets="teacher")
    distances = torch.cdist(train.x, train.x) + 10 * torch.eye(400)
    nearest = distances.argmin(dim=1)
    near = distances.min(dim=1).values < 0.05
    assert near.sum() > 20
    difference = (train.y - train.y[nearest])[near].abs().mean()
    assert difference < 0.3 * train.y.std()


def test_class_balanced_order_is_a_permutation_even_when_a_class_runs_out():
    labels = np.array([0] * 5 + [1] * 2 + [2] * 9)
    order = class_balanced_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(16))
    assert sorted(labels[order[:3]]) == [0, 1, 2]
    assert sorted(labels[order[:6]]) == [0, 0, 1, 1, 2, 2]


def test_npz_file_with_labels(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.normal(size=(60, 2, 3)), y=np.repeat([3, 5, 9], 20))
    train, test = ng.load_data(str(tmp_path / "mine.npz"), 12, 9)
    assert train.x.shape == (12, 2, 3)
    assert train.y.sum(dim=0).tolist() == [4, 4, 4]
    assert test.y.sum(dim=0).tolist() == [3, 3, 3]
    assert train.n_classes == 3


def test_npz_labels_may_be_texts_or_a_column(tmp_path):
    path = tmp_path / "mine.npz"
    x = np.random.default_rng(0).normal(size=(30, 2))
    for y in (np.array(["cat", "dog", "cow"] * 10), np.tile([[4], [7], [9]], (10, 1))):
        np.savez(path, x=x, y=y)
        train, _ = ng.load_data(str(path), 9, 9)
        assert train.n_classes == 3
        assert train.y.sum(dim=0).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((4, 2)), np.float64(1), "y is a single number"),
        (np.zeros((4, 2), dtype=complex), np.zeros(4), "complex128, which are no real numbers"),
        (np.full((4, 2), "a"), np.zeros(4), "no real numbers"),
        (np.zeros((4, 2)), np.zeros((4, 2), dtype=int), "must be .n. or .n, 1. for class labels"),
        (np.zeros((4, 2)), np.zeros((4, 2, 2)), "y has shape"),
        (np.zeros((80, 2)), np.arange(80), "80 different labels for 80 examples"),
        (np.ones((4, 2)), np.zeros(4), "all 4 inputs x are the same; give inputs that differ"),
    ],
)
def test_arrays_that_make_no_sense_are_named(tmp_path, x, y, words):
    np.savez(tmp_path / "bad.npz", x=x, y=y)
    with pytest.raises(DataError, match=words):
        ng.load_data(str(tmp_path / "bad.npz"), 2, 1)


def test_npz_file_with_regression_targets(tmp_path):
    x = np.arange(20.0).reshape(10, 2)
    np.savez(tmp_path / "mine.npz", x=x, y=x.sum(axis=1))
    train, _ = ng.load_data(str(tmp_path / "mine.npz"), 6, 4, scaling="none", targets="none")
    assert torch.allclose(train.y[:, 0], train.x.sum(dim=1))
    assert train.n_classes is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "unknown data 'nothing'"),
        (("digits", 0), "n_train must be"),
        (("digits", 1000, 1000), "has 1797"),
        (("digits", 10, 10, -1), "seed must be"),
        (("missing.npz",), "no data file"),
        ((Path("missing.npz"),), "no data file"),
        ((3,), "given by a name, or as a pair"),
    ],
)
def test_bad_requests_are_named(arguments, words):
    with pytest.raises(DataError, match=words):
        ng.load_data(*arguments)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("digits", {"targets": "zero_one"}, "unknown targets"),
        ("digits", {"scaling": "loud"}, "unknown scaling"),
        ("digits", {"dim": 3}, "no option dim"),
        ("sphere", {"dim": 1}, "dim must be"),
        ("sphere", {"targets": "loud"}, "unknown targets"),
        ("wheel", {"delta": 1.0}, "delta must be"),
        ("wheel", {"variant": "loud"}, "unknown variant"),
    ],
)
def test_bad_options_are_named(name, options, words):
    with pytest.raises(DataError, match=words):
        ng.load_data(name, 10, 10, **options)


def test_junk_in_the_place_of_npz_is_named(tmp_path):
    path = tmp_path / "junk.npz"
    with path.open("wb") as file:
        np.save(file, np.eye(3))
    with pytest.raises(DataError, match=r"cannot be read as \.npz \(it is a single array, as of \.npy"):
        ng.load_data(str(path), 2, 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "no array")
        archive.writestr("y.npy", "no array either")
    with pytest.raises(DataError, match="files that are no arrays: x, y"):
        ng.load_data(str(path), 2, 1)
    np.savez(path, x=np.eye(3), y=np.arange(3.0))
    whole = path.read_bytes()
    broken_header = whole.replace(b"descr", b"desks")
    for junk in (b"", b"PK\x03\x04", whole[:50], whole[:-30], broken_header, bytes(range(256))):
        path.write_bytes(junk)
        with pytest.raises(DataError, match=r"cannot be read as \.npz"):
            ng.load_data(str(path), 2, 1)
    whole = bytearray(whole)
    whole[6] |= 1  # an encrypted archive, says its first header
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"cannot be read as \.npz.*encrypted"):
        ng.load_data(str(path), 2, 1)


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "bad.npz"
    path.write_text("not a zip file")
    with pytest.raises(DataError, match="cannot be read"):
        ng.load_data(str(path))
    np.savez(path, x=np.zeros((4, 2)))
    with pytest.raises(DataError, match="needs \\['y'\\]"):
        ng.load_data(str(path))
    np.savez(path, x=np.zeros((4, 2)), y=np.zeros(3))
    with pytest.raises(DataError, match="4 examples but y has 3"):
        ng.load_data(str(path))
    x = np.ones((10, 2))
    x[7, 0] = np.nan
    np.savez(path, x=x, y=np.zeros(10))
    with pytest.raises(DataError, match=r"1 of 10 examples.*example 7"):
        ng.load_data(str(path), 5, 2)
    np.savez(path, x=np.eye(4, 2), y=np.zeros(4))
    with pytest.raises(DataError, match="all zero"):
        ng.load_data(str(path), 2, 2, scaling="unit_norm")


def test_a_compressed_file_with_a_flipped_byte_is_named_or_harmless(tmp_path):
    """Some bytes of a zip file, such as times, say nothing about its content; the others must not go unnoticed."""
    path = tmp_path / "bad.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(200, 9)), y=np.zeros(200))
    content = path.read_bytes()
    train, _ = ng.load_data(str(path), 10, 10)
    refused = 0
    positions = range(60, len(content), 97)
    for position in positions:
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        try:
            assert torch.equal(ng.load_data(str(path), 10, 10)[0].x, train.x)
        except DataError as error:
            refused += str(path) in str(error)
    assert refused > 0.9 * len(positions)


def test_a_dataset_checks_itself():
    with pytest.raises(DataError, match="floating-point"):
        ng.Dataset(torch.ones(3, 2, dtype=torch.long), torch.ones(3, 1))
    with pytest.raises(DataError, match=r"y has shape \(3,\)"):
        ng.Dataset(torch.ones(3, 2), torch.ones(3))
    with pytest.raises(DataError, match="3 examples but y has 4"):
        ng.Dataset(torch.ones(3, 2), torch.ones(4, 1))
    with pytest.raises(DataError, match="NaN or infinite"):
        ng.Dataset(torch.ones(3, 2), torch.tensor([[1.0], [2.0], [float("inf")]]))
