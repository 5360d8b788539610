"""Streams of named data are what they have always been, to the last bit.

The digests are of raw pixels and targets, which are the same on every machine. Means and deviations depend in
their last bits on the processor; what is made of them is compared with the formula instead.
"""

import hashlib

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data.dataset import IMAGE_AXES, scale_inputs

SMALL = {"n_train": 13, "n_test": 12, "seed": 3}
OVERLAP = {"heads": "shared", "classes_per_task": 3, "overlap": 1}
OWN_HEADS = {"heads": "per_task", "classes": [7, 1, 8, 0], "targets": "plus_minus"}


def digest(stream):
    """Of names, columns, inputs and targets; rounded, for rotations end in last bits of their own."""
    found = hashlib.sha256(stream.name.encode())
    for task in stream.tasks:
        found.update(f"{task.name}{task.columns}".encode())
        for part in (task.train, task.test):
            found.update(f"{part.x.dtype}{part.y.dtype}{part.n_classes}{tuple(part.x.shape)}".encode())
            for array in (part.x, part.y):
                found.update((np.round(array.double().numpy(), 6) + 0.0).astype("<f8").tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize(
    ("kind", "data", "options", "expected"),
    [
        ("rotated", "digits", {"tasks": 3, "angle": 30}, "f4a60586f6c1b9c9"),
        ("rotated", "mnist", {"tasks": 3, "shrink": 2, "flatten": True}, "a29532eea5a41b23"),
        ("permuted", "digits", {}, "9e1210a7832583ee"),
        ("permuted", "cifar10", {"fraction": 0.3, "tasks": 3, "targets": "plus_minus"}, "4812fcbb6fded3ff"),
        ("split", "digits", {}, "9a330322e42147f9"),
        ("split", "digits", OVERLAP, "3516bd7c87e68e57"),
        ("split", "digits", OWN_HEADS, "ad03103018b97ff0"),
        ("split", "fashion_mnist", {"n_train": 5, "n_test": 4, "shrink": 4}, "b246bc7b96b704a0"),
    ],
)
def test_named_data_give_the_streams_they_always_gave(kind, data, options, expected, all_files):
    root = {} if data == "digits" else {"root": str(all_files)}
    stream = ng.continual.load_stream(kind, data, **(SMALL | options), **root, scaling="none")
    assert digest(stream) == expected


@pytest.mark.parametrize("scaling", ["standardize", "unit_norm"])
@pytest.mark.parametrize("kind", ["rotated", "permuted", "split"])
@pytest.mark.parametrize("data", ["digits", "cifar10"])
def test_they_are_scaled_in_single_precision_by_the_first_task(kind, data, scaling, all_files):
    options = {"n_train": 10, "n_test": 10, "tasks": 2} | ({} if data == "digits" else {"root": str(all_files)})
    raw = ng.continual.load_stream(kind, data, **options, scaling="none")
    scaled = ng.continual.load_stream(kind, data, **options, scaling=scaling)
    first = raw.tasks[0].train.x
    for before, after in zip(raw.tasks, scaled.tasks, strict=True):
        for part in ("train", "test"):
            given = getattr(before, part).x
            _, expected = scale_inputs(first, given, scaling, IMAGE_AXES)
            assert torch.equal(getattr(after, part).x, expected)
