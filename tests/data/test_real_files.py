"""The real files, where they are: in $NTKGAP_DATA, else in a folder beside the repository."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data import DATASETS, data_files
from ntkgap.errors import DataError

BESIDE = Path(__file__).parents[2] / "../shared/data"
ROOT = Path(os.environ.get("NTKGAP_DATA") or BESIDE)


@pytest.fixture
def root_of():
    def look(name):
        try:
            data_files(name, ROOT)
        except DataError as error:
            pytest.skip(str(error))
        return ROOT

    return look


@pytest.mark.parametrize(
    ("name", "n_train", "shapes"),
    [
        ("mnist", 100, ((100, 1, 28, 28), (100, 10))),
        ("fashion_mnist", 100, ((100, 1, 28, 28), (100, 10))),
        ("cifar10", 100, ((100, 3, 32, 32), (100, 10))),
        ("mushroom", 100, ((100, 117), (100, 2))),
        ("shuttle", 100, ((100, 9), (100, 7))),
        ("uci/bostonHousing", None, ((455, 13), (455, 1))),
        ("uci/concrete", None, ((927, 8), (927, 1))),
        ("uci/kin8nm", None, ((7373, 8), (7373, 1))),
        ("uci/power-plant", None, ((8611, 4), (8611, 1))),
        ("uci/wine-quality-red", None, ((1439, 11), (1439, 1))),
    ],
)
def test_every_real_file_can_be_read(root_of, name, n_train, shapes):
    train, _ = ng.load_data(name, n_train, seed=3, root=root_of(name))
    assert (train.x.shape, train.y.shape) == shapes


def test_every_data_set_from_files_is_among_the_above():
    above = {mark.args[1][i][0] for mark in test_every_real_file_can_be_read.pytestmark for i in range(10)}
    assert above == {name for name in DATASETS if name not in ("digits", "sphere", "toy", "wheel")}


def test_the_whole_of_mnist_has_its_known_statistics(root_of):
    """Mean 0.1307 and standard deviation 0.3081 of the training pixels, as everybody standardizes them."""
    train, test = ng.load_data("mnist", 60000, 10000, scaling="none", root=root_of("mnist"))
    pixels = train.x / 255
    assert pixels.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3081, abs=5e-5)
    assert test.y.sum(dim=0).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize(("name", "least"), [("mnist", 0.75), ("fashion_mnist", 0.65), ("cifar10", 0.22)])
def test_images_go_with_their_labels(root_of, name, least):
    """Ridge regression on 1000 images: chance is 0.1, so labels that belong to other images would show."""
    train, test = ng.load_data(name, 1000, 1000, flatten=True, scaling="unit_norm", root=root_of(name))
    gram = train.x @ train.x.T + 0.1 * torch.eye(1000)
    outputs = test.x @ train.x.T @ torch.linalg.solve(gram, train.y)
    assert (outputs.argmax(dim=1) == test.y.argmax(dim=1)).float().mean() > least


def test_the_shuttle_has_its_known_classes(root_of):
    parts = ng.load_data("shuttle", 43500, 14500, root=root_of("shuttle"))
    counts = np.sum([part.y.sum(dim=0).numpy() for part in parts], axis=0)
    assert counts.tolist() == [45586, 50, 171, 8903, 3267, 10, 13]


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("uci/bostonHousing", 5.5),
        ("uci/concrete", 11.5),
        ("uci/kin8nm", 0.21),
        ("uci/power-plant", 5.0),
        ("uci/wine-quality-red", 0.68),
    ],
)
def test_the_last_column_is_the_target(root_of, name, most):
    """Least squares in the table's units; the targets' own deviations are 9.2, 16.7, 0.26, 17.1 and 0.81."""
    errors = []
    for split in range(5):
        train, test = ng.load_data(name, seed=split, targets="none", root=root_of(name))
        x_train, x_test = (torch.cat([p.x, torch.ones(len(p), 1)], dim=1).double() for p in (train, test))
        weights = torch.linalg.lstsq(x_train, train.y.double()).solution
        errors.append((x_test @ weights - test.y).square().mean().sqrt().item())
    assert np.mean(errors) < most
