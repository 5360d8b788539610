"""Image data from files: MNIST, Fashion-MNIST and CIFAR-10, each with its own training and test files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ntkgap.data.cifar import read_cifar
from ntkgap.data.dataset import IMAGE_AXES, Dataset, check_flag, encode_classes, scale_inputs
from ntkgap.data.files import Source, damaged, find_files
from ntkgap.data.idx import read_idx
from ntkgap.data.sampling import check_sizes, class_balanced_order
from ntkgap.errors import DataError

N_CLASSES = 10
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ImageSource(Source):
    """The files of image data, and how they are read.

    Attributes:
        read: gives training images [n, C, H, W] and labels [n], test images and labels.
    """

    read: Callable[[list[Path]], Arrays]


def _read_mnist(files: list[Path]) -> Arrays:
    arrays = [read_idx(file, ndim) for file, ndim in zip(files, (3, 1, 3, 1), strict=True)]
    for file, images in ((files[0], arrays[0]), (files[2], arrays[2])):
        if images.shape[1:] != (28, 28):
            raise damaged(file, f"its images have {images.shape[1:]} pixels, not (28, 28)")
    return arrays[0][:, None], arrays[1], arrays[2][:, None], arrays[3]


def _mnist_layout(folder: str) -> tuple[str, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(f"{folder}/{name}-ubyte" for name in names)


def _cifar_layout(folder: str, suffix: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}{suffix}" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"))


IMAGES = {
    "mnist": ImageSource(
        "mnist",
        tuple(_mnist_layout(folder) for folder in ("mnist", "MNIST/raw")),
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        _read_mnist,
    ),
    "fashion_mnist": ImageSource(
        "fashion_mnist",
        tuple(_mnist_layout(folder) for folder in ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw")),
        "https://github.com/zalandoresearch/fashion-mnist",
        _read_mnist,
    ),
    "cifar10": ImageSource(
        "cifar10",
        (
            *(_cifar_layout(f"{above}cifar-10-batches-bin", ".bin") for above in ("", "cifar10/")),
            *(_cifar_layout(f"{above}cifar-10-batches-py", "") for above in ("", "cifar10/")),
            ("cifar10/cifar10.npz",),
            ("cifar10/cifar10_12k.npz",),
        ),
        "https://www.cs.toronto.edu/~kriz/cifar.html (binary version)",
        read_cifar,
    ),
}


def images(
    source: ImageSource,
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    *,
    scaling: str = "standardize",
    targets: str = "one_hot",
    classes: Sequence[int] | None = None,
    flatten: bool = False,
    root: str | Path | None = None,
) -> tuple[Dataset, Dataset]:
    """Draw class-balanced training and test sets, the one from the training files, the other from the test files.

    Args:
        source: which data.
        n_train: number of training examples.
        n_test: number of test examples.
        seed: the same seed gives the same draw; a larger n_train adds to the examples of a smaller one.
        scaling: ``"standardize"`` (each channel to mean 0 and standard deviation 1 over all pixels of the drawn
            training set), ``"unit_norm"`` (each example to Euclidean norm 1), or ``"none"`` (pixels 0 to 255).
        targets: ``"one_hot"``, ``"plus_minus"`` or, for two classes, ``"sign"``.
        classes: only these classes, in the order of the target's columns; all ten if not given.
        flatten: whether to give vectors [n, C·H·W] in place of images [n, C, H, W].
        root: the folder with data; if not given, ``$NTKGAP_DATA``, then the user's data directory.

    Returns:
        Training and test set, float32, with one column of y a class (or one of signs).

    Raises:
        DataError: if a file is missing or damaged, more examples are asked for than there are, or an option is
            unknown.
    """
    check_sizes(n_train, n_test)
    chosen = _check_classes(classes)
    check_flag("flatten", flatten)
    files = find_files(source, root)
    pixels_train, labels_train, pixels_test, labels_test = _read_once(
        source, tuple(files), tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    )
    rng = np.random.default_rng(seed)
    parts = []
    for part, pixels, labels, n, file in (
        ("train", pixels_train, labels_train, n_train, files[0]),
        ("test", pixels_test, labels_test, n_test, files[-1]),
    ):
        _check_labels(file, part, pixels, labels, chosen)
        members = np.flatnonzero(np.isin(labels, chosen))
        if n > len(members):
            raise DataError(
                f"n_{part}={n}, but {file.parent} has {len(members)} {part} images of the classes "
                f"{', '.join(map(str, chosen))}; ask for fewer"
            )
        drawn = members[class_balanced_order(labels[members], rng)[:n]]
        columns = np.array([chosen.index(label) for label in labels[drawn]])
        y = encode_classes(torch.as_tensor(columns), len(chosen), targets)
        parts.append((torch.as_tensor(pixels[drawn], dtype=torch.float32), y))
    (x_train, y_train), (x_test, y_test) = parts
    x_train, x_test = scale_inputs(x_train, x_test, scaling, IMAGE_AXES)
    if flatten:
        x_train, x_test = x_train.flatten(1), x_test.flatten(1)
    return Dataset(x_train, y_train, len(chosen)), Dataset(x_test, y_test, len(chosen))


@lru_cache(maxsize=2)
def _read_once(source: ImageSource, files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> Arrays:
    """What is in the files; read again only where they have changed since.

    Args:
        source: which data.
        files: where they are.
        stamps: time of the last change and size of each.
    """
    arrays = source.read(list(files))
    for array in arrays:
        array.setflags(write=False)  # shared by all who ask
    return arrays


def _check_classes(classes: Sequence[int] | None) -> list[int]:
    if classes is None:
        return list(range(N_CLASSES))
    are_classes = isinstance(classes, Sequence) and all(
        isinstance(c, int) and not isinstance(c, bool) and 0 <= c < N_CLASSES for c in classes
    )
    if not are_classes or len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(
            f"classes must be at least two different integers from 0 to 9, like [0, 1]; got {classes!r}"
        )
    return list(classes)


def _check_labels(file: Path, part: str, pixels: np.ndarray, labels: np.ndarray, chosen: list[int]) -> None:
    """Refuse labels that do not go with the images, or miss a class that is asked for.

    Raises:
        DataError: naming the folder and the part.
    """
    if len(pixels) != len(labels):
        raise damaged(file.parent, f"it has {len(pixels)} {part} images but {len(labels)} {part} labels")
    if labels.size and not 0 <= labels.min() <= labels.max() < N_CLASSES:
        raise damaged(file.parent, f"its {part} labels go from {labels.min()} to {labels.max()}, beyond 0 to 9")
    missing = sorted(set(chosen) - set(np.unique(labels).tolist()))
    if missing:
        raise DataError(
            f"{file.parent} has no {part} images of class {', '.join(map(str, missing))}; "
            "get the complete files, or name the classes there are with classes="
        )
