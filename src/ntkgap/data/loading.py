"""Loads all data: one function, one name for each data set."""

import inspect
from collections.abc import Callable
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ntkgap.data.arrays import arrays, own_file, own_names
from ntkgap.data.classification_tables import MUSHROOM, SHUTTLE, mushroom, shuttle
from ntkgap.data.dataset import Dataset, check_default_device, tensor_of
from ntkgap.data.digits import digits
from ntkgap.data.files import Source, find_files
from ntkgap.data.images import IMAGES, images
from ntkgap.data.own import examples_of, is_own
from ntkgap.data.sphere import sphere
from ntkgap.data.toy import toy
from ntkgap.data.uci import UCI_TABLES, uci
from ntkgap.data.wheel import wheel
from ntkgap.errors import DataError

DATASETS: dict[str, Callable[..., tuple[Dataset, Dataset]]] = {
    "digits": digits,
    "sphere": sphere,
    "toy": toy,
    "wheel": wheel,
    "mushroom": mushroom,
    "shuttle": shuttle,
    **{name: partial(images, source) for name, source in IMAGES.items()},
    **{name: partial(uci, table) for name, table in UCI_TABLES.items()},
}

SOURCES: dict[str, Source] = {"mushroom": MUSHROOM, "shuttle": SHUTTLE, **IMAGES, **UCI_TABLES}


def load_data(
    name: Any,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    **options: object,
) -> tuple[Dataset, Dataset]:
    """Load a training and a test set, always the same for the same arguments.

    ``"digits"``, ``"sphere"``, ``"toy"`` and ``"wheel"`` need no files. ``"mnist"``, ``"fashion_mnist"``,
    ``"cifar10"``, ``"mushroom"``, ``"shuttle"`` and ``"uci/…"`` are read from the folder ``root=``; where it is
    not given, from ``$NTKGAP_DATA``, then from ``ntkgap`` in the user's data directory (``$XDG_DATA_HOME`` or
    ``~/.local/share``).

    Files and synthetic data may take 4 GB of memory, or as many bytes as ``$NTKGAP_MAX_BYTES`` says; more is
    refused before it is taken.

    Args:
        name: a name from ``ntkgap.data.DATASETS``; a file of one's own, ``"mine.npz"`` with arrays x and y,
            ``"mine.npz:images,labels"``, ``"mine.csv"`` or ``"mine.parquet"`` (with ``target="column"``); or the
            examples themselves: a pair (x, y) of arrays or tensors, a frame, a ``Dataset``, a torch data set or
            loader.
        n_train: number of training examples; 256 if not given, for UCI tables all there are.
        n_test: number of test examples, disjoint from the training examples; 512 if not given, for UCI tables
            all there are.
        seed: seed of the draw; for UCI tables the index of the split, 0 … 19.
        **options: what the data set takes besides, for example ``scaling="unit_norm"`` or
            ``targets="plus_minus"`` for digits, ``dim=32`` or ``targets="teacher"`` for the sphere,
            ``delta=0.9`` or ``variant="released"`` for the wheel, ``classes=[0, 1]``, ``flatten=True`` or
            ``root="data"`` for images.

    Returns:
        ``(train, test)``, each a float32 ``Dataset``: x [n, ...] ([n, C, H, W] for images) and y [n, C].

    Raises:
        DataError: if the name or an option is unknown, a file is missing, damaged or too large, a size is out of
            range, or data are not finite.

    Example:
        >>> train, test = ng.load_data("digits", n_train=100, n_test=50, seed=0)
        >>> train.x.shape, train.y.shape, train.n_classes
        (torch.Size([100, 64]), torch.Size([100, 10]), 10)
    """
    check_default_device()
    name = str(name) if isinstance(name, Path) else name
    loader: Callable[..., tuple[Dataset, Dataset]]
    if is_own(name):
        loader, name = partial(arrays, name), "of one's own"
    elif not isinstance(name, str):
        raise DataError(f"data are given by a name, or as a pair (x, y) and the like; got {type(name).__name__}")
    elif own_file(name):
        loader = partial(arrays, name)
    elif name in DATASETS:
        loader = DATASETS[name]
    else:
        raise DataError(
            f"unknown data {name!r}; choose one of {', '.join(sorted(DATASETS))}, or a path ending in .npz, .csv "
            "or .parquet"
        )
    known = {p.name for p in inspect.signature(loader).parameters.values() if p.kind is p.KEYWORD_ONLY}
    if unknown := set(options) - known:
        raise DataError(
            f"data {name!r} has no option {', '.join(sorted(unknown))}; it takes {', '.join(sorted(known))}"
        )
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise DataError(f"seed must be an integer of at least 0, got {seed!r}")
    seed = int(seed)
    sizes = {key: size for key, size in (("n_train", n_train), ("n_test", n_test)) if size is not None}
    return loader(seed=seed, **sizes, **options)


def dataset_of(data: Any) -> Dataset:
    """All examples there are, unscaled: a ``Dataset`` as it is, or a user's own data as ``load_data`` takes them.

    Raises:
        DataError: if they are no pairs of inputs and targets.
    """
    if isinstance(data, Dataset):
        return data
    check_default_device()
    if not is_own(data):
        raise DataError(f"training data are a Dataset, a pair (x, y) or a data loader, got {type(data).__name__}")
    x, y, _ = examples_of(data)
    if y.dtype.kind == "f":
        return Dataset(tensor_of("x", x), tensor_of("y", y.reshape(len(y), -1)))
    classes, labels = np.unique(y.reshape(-1), return_inverse=True)
    return Dataset(tensor_of("x", x), torch.as_tensor(labels.reshape(-1)), len(classes))


def data_files(name: str, root: object = None) -> list[Path]:
    """The files that ``load_data`` and ``load_stream`` read for a name; none for data that come with the library.

    Args:
        name: as for ``load_data``, or of several files, ``"a.npz,b.npz"``.
        root: the folder with data; if not given, ``$NTKGAP_DATA``, then the user's data directory.

    Raises:
        DataError: if files are missing.
    """
    if own := [own_file(one) for one in own_names(name)]:
        return [file[0].absolute() for file in own if file]
    return find_files(SOURCES[name], root) if name in SOURCES else []
