import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data.streams.split import class_groups
from ntkgap.errors import DataError
from tests.data.file_writers import MNIST_NAMES, idx_bytes, write_mnist


def test_groups_of_classes():
    digits = list(range(10))
    assert class_groups(digits, None, 2, 0) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert class_groups(digits, 3, 3, 1) == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert class_groups(digits, None, 4, 2) == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert class_groups([5, 1, 7], None, 2, 1) == [[5, 1], [1, 7]]


@pytest.mark.parametrize(
    ("heads", "n_outputs", "columns"),
    [
        ("single", 6, [(0, 1, 2, 3, 4, 5)] * 3),
        ("shared", 2, [(0, 1)] * 3),
        ("per_task", 6, [(0, 1), (2, 3), (4, 5)]),
    ],
)
def test_heads(heads, n_outputs, columns):
    stream = ng.load_stream("split", n_train=21, n_test=60, classes=[3, 1, 4, 0, 5, 9], heads=heads)
    assert stream.n_outputs == n_outputs
    assert [task.columns for task in stream.tasks] == columns
    assert stream.separate_heads == (heads == "per_task")
    counts = [task.train.y.sum(dim=0).tolist() for task in stream.tasks]
    if heads == "single":
        assert counts == [[11, 10, 0, 0, 0, 0], [0, 0, 11, 10, 0, 0], [0, 0, 0, 0, 11, 10]]
    else:
        assert counts == [[11, 10]] * 3


@pytest.mark.parametrize("heads", ["single", "shared", "per_task"])
def test_images_are_of_the_task_s_classes_and_columns_say_which(heads):
    """Label every image afresh, from the digits themselves."""
    options = {"n_train": 30, "n_test": 50, "classes_per_task": 3, "overlap": 1, "classes": [3, 1, 4, 0, 5]}
    stream = ng.load_stream("split", scaling="none", heads=heads, **options)
    whole = ng.load_data("digits", 1000, 797, scaling="none")
    label = {x.numpy().tobytes(): int(y.argmax()) for part in whole for x, y in zip(part.x, part.y, strict=True)}
    groups = [[3, 1, 4], [4, 0, 5]]
    for group, task in zip(groups, stream.tasks, strict=True):
        assert task.name == f"classes {', '.join(map(str, group))}"
        named = options["classes"] if heads == "single" else group
        for part, counts in ((task.train, 10), (task.test, 10)):
            truth = [label[x.numpy().tobytes()] for x in part.x]
            assert truth == [named[i] for i in part.y.argmax(dim=1)]
            assert [truth.count(c) for c in group] == [counts] * 3
            assert part.n_classes == len(named)


def test_shared_classes_have_other_training_and_the_same_test_images():
    stream = ng.load_stream("split", n_train=40, n_test=60, classes_per_task=3, overlap=2, scaling="none")
    trained = torch.cat([task.train.x for task in stream.tasks])
    # A handful of the bundled images are identical twins.
    assert len(np.unique(trained.numpy(), axis=0)) >= len(trained) - 2
    first, second = (
        {x.numpy().tobytes() for x, y in zip(task.test.x, task.test.y, strict=True) if y.argmax() == 2}
        for task in stream.tasks[:2]
    )
    assert first == second
    assert len(first) == 6


def test_prefixes_are_balanced():
    for task in ng.load_stream("split", n_train=31, heads="shared", classes_per_task=3).tasks:
        counts = task.train.y.cumsum(dim=0)
        assert (counts.amax(dim=1) - counts.amin(dim=1)).max() <= 1


def test_two_classes_may_be_signs():
    own, shared = (ng.load_stream("split", heads=heads, targets="sign") for heads in ("per_task", "shared"))
    assert [task.columns for task in own.tasks] == [(0,), (1,), (2,), (3,), (4,)]
    assert shared.n_outputs == 1
    assert set(own.tasks[0].train.y.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes_per_task": 1}, "classes_per_task must be an integer of at least 2"),
        ({"overlap": -1}, "overlap must be an integer of at least 0"),
        ({"overlap": 1.0}, "overlap must be"),
        ({"overlap": 2}, "overlap=2 of 2 classes leaves no new class.*at most 1"),
        ({"tasks": 1}, "tasks must be an integer of at least 2"),
        ({"tasks": 6}, "10 classes reach for 5 tasks of 2 with overlap 0, but a stream takes 6"),
        ({"classes_per_task": 6}, "10 classes reach for 1 tasks of 6.* takes 2"),
        ({"classes": [1]}, "1 classes reach for 0 tasks"),
        ({"classes": [0, 1, 1, 2]}, "classes must be different integers from 0 to 9"),
        ({"classes": [0, 1, 2, 10]}, "classes must be"),
        ({"classes": "0123"}, "classes must be"),
        ({"classes": [0, 1, 2, True]}, "classes must be"),
        ({"heads": "many"}, "unknown heads 'many'; choose 'single', 'shared' or 'per_task'"),
        ({"n_train": 1}, "n_train=1 images leave class 1 out"),
        ({"n_test": 9}, "n_test=9 images leave class 9 out"),
        ({"n_train": 1000}, "5 tasks of 1000 training images each, .* take 500 and 30 of a class: .* has 1797"),
        ({"n_train": 2 * 146, "n_test": 300}, "takes 30 test images of class 8, but 'digits' has only"),
        ({"targets": "sign"}, "tells two classes apart, but there are 10"),
        ({"data": "toy"}, "'toy' are not images"),
    ],
)
def test_what_cannot_be_had_is_named(options, words):
    with pytest.raises(DataError, match=words):
        ng.load_stream("split", **options)


def test_classes_that_files_miss_are_named(tmp_path):
    write_mnist(tmp_path / "mnist", suffix="")
    labels = (np.arange(80) % 4).astype(np.uint8)
    (tmp_path / "mnist" / MNIST_NAMES[1]).write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match="no train images of class 4, 5, 6, 7, 8, 9"):
        ng.load_stream("split", "mnist", 4, 20, root=tmp_path)
    assert len(ng.load_stream("split", "mnist", 4, 20, root=tmp_path, classes=[3, 2, 1, 0])) == 2
    labels[3:60:4] = 2  # few are left of class 3
    (tmp_path / "mnist" / MNIST_NAMES[1]).write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match="takes 8 training images of class 3, but 'mnist' has only 5 to give"):
        ng.load_stream("split", "mnist", 16, 20, root=tmp_path, classes=[0, 1, 2, 3])
