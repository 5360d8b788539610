import pickle

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data import data_files
from ntkgap.errors import DataError
from tests.data.file_writers import (
    cifar_arrays,
    python2_batch,
    random_pixels,
    write_cifar_binary,
    write_cifar_npz,
    write_cifar_pickles,
)


@pytest.fixture
def arrays():
    return cifar_arrays()


def test_every_format_gives_the_same_images(tmp_path, arrays):
    write_cifar_npz(tmp_path / "npz/cifar10/cifar10.npz", arrays)
    write_cifar_binary(tmp_path / "binary/cifar-10-batches-bin", arrays)
    write_cifar_pickles(tmp_path / "pickles/cifar10/cifar-10-batches-py", arrays)
    found = [
        ng.load_data("cifar10", 80, 60, scaling="none", root=tmp_path / name)
        for name in ("npz", "binary", "pickles")
    ]
    for part, images, labels in zip(found[0], arrays[::2], arrays[1::2], strict=True):
        positions = {image.tobytes(): i for i, image in enumerate(images)}
        drawn = [positions[x.numpy().astype(np.uint8).tobytes()] for x in part.x]
        assert sorted(drawn) == list(range(len(images)))
        assert part.y.argmax(dim=1).tolist() == labels[drawn].tolist()
    for other in found[1:]:
        for part, same in zip(found[0], other, strict=True):
            assert torch.equal(part.x, same.x)
            assert torch.equal(part.y, same.y)


def test_the_complete_original_is_preferred(tmp_path, arrays):
    write_cifar_npz(tmp_path / "cifar10/cifar10_12k.npz", arrays)
    write_cifar_pickles(tmp_path / "cifar-10-batches-py", arrays)
    assert data_files("cifar10", tmp_path)[0].name == "data_batch_1"
    write_cifar_binary(tmp_path / "cifar-10-batches-bin", arrays)
    assert data_files("cifar10", tmp_path)[-1].name == "test_batch.bin"


def test_binary_batches_of_broken_length_are_named(tmp_path, arrays):
    write_cifar_binary(tmp_path / "cifar-10-batches-bin", arrays)
    path = tmp_path / "cifar-10-batches-bin/data_batch_3.bin"
    for content in (path.read_bytes()[:-1], b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"data_batch_3.bin is damaged.*no multiple of 3073"):
            ng.load_data("cifar10", 10, 10, root=tmp_path)


class Intruder:
    called = False

    def __reduce__(self):
        return intrude, ()


def intrude():
    Intruder.called = True


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({b"data": Intruder(), b"labels": [0]}), r"it asks for .*intrude"),
        (pickle.dumps({b"data": np.array(["a"], dtype=object), b"labels": [0]}, protocol=3), r"dtype 'O8'; only"),
        (pickle.dumps({b"data": np.zeros((1, 3072)), b"labels": [0]}), r"dtype 'f8'; only unsigned bytes"),
        (pickle.dumps({b"pixels": []}), r"it has no data and no labels"),
        (pickle.dumps([1, 2]), r"it holds a list, not a mapping"),
        (b"no pickle", r"it has the instruction b'n'"),
        (b"", r"it is truncated: 1 bytes are due, 0 are left"),
        (
            python2_batch(random_pixels(0, 4, 3072), range(4))[:-50],
            r"truncated: 12288 bytes are due, 12242 are left",
        ),
        (python2_batch(random_pixels(0, 4, 3071), range(4)), r"uint8 of shape \(4, 3071\); they must be"),
        (pickle.dumps({b"data": [], b"labels": []}), r"its data are a list; they must be"),
        (python2_batch(random_pixels(0, 4, 3072), range(3)), r"its labels must be 4 integers from 0 to 9"),
        (python2_batch(random_pixels(0, 4, 3072), range(7, 11)), r"its labels must be 4 integers from 0 to 9"),
    ],
    ids=[
        "intruder",
        "objects",
        "floats",
        "other keys",
        "no mapping",
        "text",
        "empty",
        "truncated",
        "narrow",
        "lists",
        "few labels",
        "label 10",
    ],
)
def test_pickles_that_are_no_batches_are_named_and_run_nothing(tmp_path, arrays, content, words):
    write_cifar_pickles(tmp_path / "cifar-10-batches-py", arrays)
    (tmp_path / "cifar-10-batches-py/data_batch_2").write_bytes(content)
    with pytest.raises(DataError, match=rf"data_batch_2 is damaged.*{words}"):
        ng.load_data("cifar10", 10, 10, root=tmp_path)
    assert not Intruder.called


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, r"needs \['y_test'\] too"),
        ({"x_train": random_pixels(0, 20, 3, 32, 32)}, r"x_train is uint8 of shape \(20, 3, 32, 32\)"),
        ({"x_test": np.zeros((20, 32, 32, 3))}, r"x_test is float64"),
        ({"y_train": np.zeros(20)}, r"y_train holds float64; it must hold integers"),
        ({"y_train": np.zeros(19, dtype=int)}, r"20 train images but 19 train labels"),
    ],
)
def test_npz_files_of_another_kind_are_named(tmp_path, changes, words):
    images, labels = random_pixels(0, 20, 32, 32, 3), np.arange(20) % 10
    content = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels, **changes}
    (tmp_path / "cifar10").mkdir()
    np.savez(tmp_path / "cifar10/cifar10.npz", **{k: v for k, v in content.items() if v is not None})
    with pytest.raises(DataError, match=words):
        ng.load_data("cifar10", 10, 10, root=tmp_path)


def test_a_truncated_npz_is_named(tmp_path, arrays):
    path = tmp_path / "cifar10/cifar10.npz"
    write_cifar_npz(path, arrays)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        DataError, match=r"cifar10.npz is damaged.*File is not a zip file; delete it and get it again"
    ):
        ng.load_data("cifar10", 10, 10, root=tmp_path)
