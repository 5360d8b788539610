import pytest
import torch

import ntkgap as ng
from ntkgap.data import data_files
from ntkgap.data.streams import rotate
from ntkgap.errors import DataError
from tests.data.test_real_files import ROOT
from tests.tolerances import SINGLE


@pytest.mark.parametrize("size", [7, 8, 28])
def test_quarter_turns_are_those_of_the_pixels(size, generator):
    images = torch.rand(3, 2, size, size, generator=generator)
    for turns in range(4):
        assert torch.equal(rotate(images, 90 * turns), torch.rot90(images, turns, dims=(-2, -1)))


def test_rotation_is_bilinear_interpolation_at_the_point_turned_back(generator):
    image = torch.rand(8, 8, generator=generator).double()
    angle = torch.tensor(30.0).deg2rad().double()
    row, column = (torch.arange(8) - 3.5).double(), (torch.arange(8) - 3.5).double()
    row, column = torch.meshgrid(row, column, indexing="ij")
    # Rows count downwards: counterclockwise by the angle, so a pixel shows what was clockwise of it.
    was_row = angle.cos() * row + angle.sin() * column + 3.5
    was_column = -angle.sin() * row + angle.cos() * column + 3.5
    inside = (was_row >= 0) & (was_row <= 7) & (was_column >= 0) & (was_column <= 7)
    top, left = was_row.floor().clamp(0, 6), was_column.floor().clamp(0, 6)
    down, right = was_row - top, was_column - left
    top, left = top.long(), left.long()
    expected = (
        image[top, left] * (1 - down) * (1 - right)
        + image[top + 1, left] * down * (1 - right)
        + image[top, left + 1] * (1 - down) * right
        + image[top + 1, left + 1] * down * right
    )
    torch.testing.assert_close(rotate(image, 30)[inside], expected[inside])
    assert rotate(image, 30)[~inside].abs().sum() == 0
    assert 40 < inside.sum() < 64


def test_tasks_are_the_first_images_turned():
    stream = ng.load_stream("rotated", n_train=20, n_test=30, angle=30, tasks=4, scaling="none", flatten=False)
    assert [task.name for task in stream.tasks] == ["0°", "30°", "60°", "90°"]
    test = stream.tasks[0].test
    for t, task in enumerate(stream.tasks):
        assert torch.equal(task.test.x, rotate(test.x, 30 * t))
        assert torch.equal(task.test.y, test.y)
    assert torch.equal(stream.tasks[3].test.x, torch.rot90(test.x, 1, dims=(-2, -1)))


def test_images_keep_their_labels():
    """Each training image of the first task is found among the digits with its label."""
    stream = ng.load_stream("rotated", n_train=30, n_test=30, scaling="none", tasks=3, angle=0)
    everything, _ = ng.load_data("digits", 1700, 97, scaling="none")
    label = {x.numpy().tobytes(): y.argmax() for x, y in zip(everything.x, everything.y, strict=True)}
    for task in stream.tasks:
        known = [(label[x.numpy().tobytes()], y.argmax()) for x, y in _found(task.train, label)]
        assert len(known) > 25
        assert all(a == b for a, b in known)


def _found(data, label):
    return [(x, y) for x, y in zip(data.x, data.y, strict=True) if x.numpy().tobytes() in label]


def test_real_images_are_less_alike_the_further_they_are_turned():
    try:
        data_files("mnist", ROOT)
    except DataError as error:
        pytest.skip(str(error))
    stream = ng.load_stream("rotated", "mnist", 20, 50, scaling="unit_norm", angle=40, tasks=3, root=ROOT)
    first, second, third = (task.test.x.flatten(1) for task in stream.tasks)
    near, far = (first * second).sum(dim=1).mean(), (first * third).sum(dim=1).mean()
    assert far < near < 1 - SINGLE
