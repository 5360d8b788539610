import gzip

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError
from tests.data.file_writers import MNIST_NAMES, idx_bytes, labels_of_all_classes, random_pixels, write_mnist
from tests.tolerances import SINGLE


@pytest.fixture
def mnist(tmp_path):
    return tmp_path, write_mnist(tmp_path / "mnist")


def find(images, pixels):
    """Index in ``pixels`` of each image, all of which must be there."""
    rows = {row.tobytes(): i for i, row in enumerate(pixels)}
    return [rows[image.numpy().astype(np.uint8).tobytes()] for image in images]


def test_training_images_come_from_the_training_files_and_test_images_from_the_test_files(mnist):
    root, (x_train, y_train, x_test, y_test) = mnist
    parts = ng.load_data("mnist", 40, 30, seed=2, scaling="none", root=root)
    for part, pixels, labels, n in zip(parts, (x_train, x_test), (y_train, y_test), (40, 30), strict=True):
        assert part.x.shape == (n, 1, 28, 28)
        assert part.n_classes == 10
        drawn = find(part.x[:, 0], pixels)
        assert len(set(drawn)) == n
        assert part.y.argmax(dim=1).tolist() == labels[drawn].tolist()
        assert torch.equal(part.y.sum(dim=0), torch.full((10,), n / 10))


def test_more_examples_of_one_seed_begin_with_the_fewer(mnist):
    root, _ = mnist
    few, _ = ng.load_data("mnist", 20, 10, seed=1, scaling="none", root=root)
    many, test = ng.load_data("mnist", 50, 10, seed=1, scaling="none", root=root)
    assert torch.equal(many.x[:20], few.x)
    other = ng.load_data("mnist", 50, 10, seed=2, scaling="none", root=root)
    assert not torch.equal(other[0].x, many.x)
    assert not torch.equal(other[1].x, test.x)


def test_all_examples_can_be_had(mnist):
    root, arrays = mnist
    train, test = ng.load_data("mnist", 80, 60, scaling="none", root=root)
    assert sorted(find(train.x[:, 0], arrays[0])) == list(range(80))
    assert sorted(find(test.x[:, 0], arrays[2])) == list(range(60))


def test_standardizing_takes_one_mean_and_deviation_a_channel_from_the_drawn_training_set(all_files):
    train, test = ng.load_data("cifar10", 30, 20, root=all_files)
    raw_train, raw_test = ng.load_data("cifar10", 30, 20, scaling="none", root=all_files)
    for channel in range(3):
        pixels = raw_train.x[:, channel].double()
        mean, deviation = pixels.mean(), pixels.std(correction=0)
        expected = ((raw_test.x[:, channel] - mean) / deviation).float()
        torch.testing.assert_close(test.x[:, channel], expected, rtol=SINGLE, atol=SINGLE)
        assert abs(train.x[:, channel].mean()) < SINGLE
        assert abs(train.x[:, channel].std(correction=0) - 1) < SINGLE


def test_unit_norm_plus_minus_and_vectors(mnist):
    root, _ = mnist
    options = {"scaling": "unit_norm", "targets": "plus_minus", "root": root}
    flat, _ = ng.load_data("mnist", 30, 10, flatten=True, **options)
    image, _ = ng.load_data("mnist", 30, 10, **options)
    assert flat.x.shape == (30, 784)
    assert torch.equal(flat.x, image.x.flatten(1))
    torch.testing.assert_close(flat.x.norm(dim=1), torch.ones(30))
    assert set(flat.y.unique().tolist()) == {-1.0, 1.0}


def test_two_classes_may_be_signs_of_one_target(mnist):
    root, _ = mnist
    options = {"classes": [7, 2], "root": root}
    signs, _ = ng.load_data("mnist", 10, 4, targets="sign", **options)
    one_hot, _ = ng.load_data("mnist", 10, 4, **options)
    assert signs.y.shape == (10, 1)
    assert torch.equal(signs.y[:, 0], torch.where(one_hot.y[:, 0] == 1, -1.0, 1.0))
    with pytest.raises(DataError, match=r"targets='sign' tells two classes apart, but there are 10"):
        ng.load_data("mnist", 10, 4, targets="sign", root=root)


def test_chosen_classes_are_the_columns_in_their_order(mnist):
    root, (x_train, y_train, _, _) = mnist
    train, test = ng.load_data("mnist", 9, 6, scaling="none", classes=[7, 2, 4], root=root)
    assert train.y.shape == (9, 3)
    assert train.n_classes == test.n_classes == 3
    labels = y_train[find(train.x[:, 0], x_train)]
    assert np.array([7, 2, 4])[train.y.argmax(dim=1)].tolist() == labels.tolist()
    assert train.y.sum(dim=0).tolist() == [3, 3, 3]


def test_image_data_go_into_networks_as_they_are(mnist):
    root, _ = mnist
    train, _ = ng.load_data("mnist", 10, 10, root=root)
    double = train.to(torch.float64)
    assert double.x.shape == (10, 1, 28, 28)
    assert (train.n_features, train.n_outputs) == (784, 10)
    conv = ng.ConvNet(train.x.shape[1], train.n_outputs, 4, 2)
    mlp = ng.MLP(train.n_features, train.n_outputs, 4, 2)
    flat = ng.load_data("mnist", 10, 10, flatten=True, root=root)[0]
    assert conv(train.x).shape == (10, 10)
    torch.testing.assert_close(mlp(train.x), mlp(flat.x))


def test_digits_can_be_images():
    image, _ = ng.load_data("digits", 20, 20, scaling="none", flatten=False)
    flat, _ = ng.load_data("digits", 20, 20, scaling="none")
    assert image.x.shape == (20, 1, 8, 8)
    assert torch.equal(image.x.flatten(1), flat.x)
    scaled, _ = ng.load_data("digits", 20, 20, flatten=False)
    torch.testing.assert_close(scaled.x, (image.x - image.x.mean()) / image.x.std(correction=0))


@pytest.mark.parametrize(
    ("sizes", "options", "words"),
    [
        ((81, 10), {}, r"n_train=81, but .*mnist has 80 train images of the classes 0, 1, 2"),
        ((10, 61), {}, r"n_test=61, but .* has 60 test images"),
        ((17, 10), {"classes": [0, 1]}, r"has 16 train images of the classes 0, 1; ask for fewer"),
        ((10, 10), {"classes": [0, 10]}, r"classes must be .* from 0 to 9"),
        ((10, 10), {"classes": [3]}, r"at least two different integers"),
        ((10, 10), {"classes": [3, 3]}, r"different integers"),
        ((10, 10), {"classes": "01"}, r"classes must be .*'01'"),
        ((10, 10), {"classes": [[0], [1]]}, r"classes must be"),
        ((10, 10), {"classes": 3}, r"classes must be"),
        ((10, 10), {"flatten": "no"}, r"flatten must be True or False, got 'no'"),
        ((10, 10), {"scaling": "loud"}, r"unknown scaling 'loud'"),
        ((10, 10), {"targets": "loud"}, r"unknown targets 'loud'"),
        ((10, 0), {}, r"n_test must be an integer of at least 1"),
        ((10, 10), {"dim": 3}, r"'mnist' has no option dim; it takes classes, flatten, root, scaling, targets"),
    ],
)
def test_what_cannot_be_had_is_named(all_files, sizes, options, words):
    with pytest.raises(DataError, match=words):
        ng.load_data("mnist", *sizes, root=all_files, **options)


def write(path, content):
    path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (0, lambda path: path.write_bytes(path.read_bytes()[:-100]), r"Compressed file ended"),
        (0, lambda path: path.write_bytes(b"no gzip"), r"Not a gzipped file"),
        (0, lambda path: write(path, b"\x00\x00\x0d\x03" + bytes(12)), r"begins with 00000d03, not with 00000803"),
        (1, lambda path: write(path, idx_bytes(random_pixels(0, 80, 2, 2))), r"begins with 00000803, not"),
        (1, lambda path: write(path, b""), r"begins with nothing, not with 00000801"),
        (2, lambda path: write(path, idx_bytes(random_pixels(0, 9, 28, 28))[:10]), r"within its header, after 10"),
        (2, lambda path: write(path, idx_bytes(random_pixels(0, 60, 28, 28))[:-1]), r"47056 bytes.* has 47055"),
        (
            2,
            lambda path: write(path, idx_bytes(random_pixels(0, 60, 28, 27))),
            r"\(28, 27\) pixels, not \(28, 28\)",
        ),
    ],
)
def test_damaged_files_are_named_with_a_remedy(mnist, file, damage, words):
    root, _ = mnist
    path = root / "mnist" / f"{MNIST_NAMES[file]}.gz"
    damage(path)
    with pytest.raises(DataError, match=rf"{path.name} is damaged.*{words}.*get it again"):
        ng.load_data("mnist", 10, 10, root=root)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (labels_of_all_classes(79), r"has 80 train images but 79 train labels"),
        (labels_of_all_classes(80) + np.uint8(1), r"train labels go from 1 to 10, beyond 0 to 9"),
        (
            labels_of_all_classes(80) // np.uint8(2),
            r"no train images of class 5, 6, 7, 8, 9; get the complete files",
        ),
    ],
)
def test_labels_that_do_not_fit_are_named(mnist, labels, words):
    root, _ = mnist
    write(root / "mnist" / f"{MNIST_NAMES[1]}.gz", idx_bytes(labels))
    with pytest.raises(DataError, match=words):
        ng.load_data("mnist", 10, 10, root=root)
