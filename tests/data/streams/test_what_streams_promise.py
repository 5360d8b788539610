"""What users and methods rely on: balance of the first examples, and messages for what cannot be a stream."""

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError


@pytest.mark.parametrize("heads", ["single", "shared", "per_task"])
def test_the_first_examples_of_split_tasks_are_of_all_their_classes(heads):
    """Replay and orthogonal gradients store the first k examples of a task."""
    stream = ng.continual.load_stream("split", n_train=31, n_test=20, heads=heads, classes_per_task=3, overlap=1)
    for task in stream.tasks:
        for part in (task.train, task.test):
            own = part.y[:, part.y.sum(dim=0) > 0]
            counts = own.cumsum(dim=0)
            assert own.shape[1] == 3
            assert (counts.amax(dim=1) - counts.amin(dim=1)).max() <= 1


@pytest.mark.parametrize("heads", ["single", "shared"])
def test_split_images_keep_their_labels(heads):
    options = {"n_train": 31, "n_test": 20, "classes": [3, 1, 4, 0], "scaling": "none", "heads": heads}
    whole = ng.load_data("digits", 1000, 797, scaling="none")
    label = {x.numpy().tobytes(): int(y.argmax()) for part in whole for x, y in zip(part.x, part.y, strict=True)}
    for group, task in zip([[3, 1], [4, 0]], ng.continual.load_stream("split", **options).tasks, strict=True):
        named = options["classes"] if heads == "single" else group
        for part in (task.train, task.test):
            truth = [label[x.numpy().tobytes()] for x in part.x]
            assert truth == [named[i] for i in part.y.argmax(dim=1)]
            assert set(truth) == set(group)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (["rotated"], {}, "unknown stream"),
        ("rotated", {"data": ["digits"]}, "must give pairs"),
        ("split", {"classes": 5}, "classes must be different labels of the data, 0, 1"),
        ("split", {"classes": "0123"}, "classes must be different labels of the data, 0, 1"),
        ("split", {"classes": [[0], [1]]}, "classes must be different labels of the data, 0, 1"),
    ],
)
def test_what_is_of_the_wrong_kind_is_named(kind, options, words):
    with pytest.raises(DataError, match=words):
        ng.continual.load_stream(kind, **options)


def labeled(labels, n_classes=3):
    return ng.Dataset(torch.ones(len(labels), 2), torch.eye(n_classes)[torch.tensor(labels)], n_classes)


def signs(*values):
    return ng.Dataset(torch.ones(len(values), 2), torch.tensor(values)[:, None], 2)


GOOD = (labeled([0, 1, 2, 0]), labeled([2, 1]))
BOTH = signs(1.0, -1.0)


@pytest.mark.parametrize(
    ("datasets", "options", "words"),
    [
        ([GOOD, GOOD[0]], {}, "task 2 must be a pair of Datasets"),
        ([GOOD, (GOOD[0], None)], {}, "task 2 must be a pair of Datasets"),
        ([GOOD, (*GOOD, GOOD[0])], {}, "task 2 must be a pair of Datasets"),
        ([GOOD, GOOD], {"names": ["a", "a"]}, "told apart by their names"),
        ([GOOD, (labeled([0, 1], 2), labeled([0], 2))], {}, "has 2 targets .* has 3; .* or heads='per_task'"),
        ([(BOTH, BOTH), (signs(1.0, 1.0), BOTH)], {}, "task 2: class 0 is in the test set"),
    ],
)
def test_own_tasks_that_make_no_stream_are_named(datasets, options, words):
    with pytest.raises(DataError, match=words):
        ng.continual.stream_of(datasets, **options)


def test_own_tasks_may_differ_in_columns_and_be_tested_on_fewer_classes():
    stream = ng.continual.stream_of([GOOD, (labeled([0, 1], 2), labeled([0], 2))], heads="per_task")
    assert [task.columns for task in stream.tasks] == [(0, 1, 2), (3, 4)]
    assert len(ng.continual.stream_of([(BOTH, BOTH), (BOTH, signs(1.0))])) == 2


def test_classes_may_come_in_an_order_drawn_by_the_seed():
    """Of the classes that are named, if there are such."""

    def classes(seed, **options):
        found = ng.continual.load_stream("split", "digits", 10, 10, seed, **options)
        return [task.name for task in found.tasks]

    listed = classes(0)
    assert listed[0] == "classes 0, 1"
    drawn = [classes(seed, order="drawn") for seed in range(3)]
    assert len({tuple(names) for names in drawn}) == 3
    assert drawn[0] == classes(0, order="drawn")
    few = classes(1, classes=[4, 7, 2, 9], order="drawn")
    assert sorted(" ".join(few).replace("classes", "").replace(",", "").split()) == ["2", "4", "7", "9"]
    with pytest.raises(ng.NtkgapError, match="order must be one of listed, drawn, got 'random'"):
        classes(0, order="random")
