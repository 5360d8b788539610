"""Where streams draw their examples from: images with names, or what a user has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ntkgap.data.arrays import OwnExamples, own_file, own_names, read_examples
from ntkgap.data.digits import digits
from ntkgap.data.images import IMAGES, images
from ntkgap.data.own import is_own
from ntkgap.data.sampling import split
from ntkgap.data.streams.pool import Pool
from ntkgap.errors import DataError

N_CLASSES = 10
Groups = Sequence[Sequence[int]]


@dataclass(frozen=True)
class NamedImages:
    """Images of ten classes that ``load_data`` knows by name.

    Attributes:
        name: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        root: the folder with data.
    """

    name: str
    root: object = None
    has_images = True
    classes = range(N_CLASSES)

    def draw_shares(self, tasks: int, n_train: int, n_test: int, seed: int) -> Pool:
        """Draw the training images of several tasks, and the test images of all.

        Raises:
            DataError: if there are not enough, or a file is missing.
        """
        return self._draw(tasks * n_train, n_test, seed, f"{tasks} tasks of {n_train} training images")

    def draw_groups(self, groups: Groups, n_train: int, n_test: int, seed: int) -> Pool:
        """Draw what tasks of a few classes each need.

        Raises:
            DataError: if there are not enough, or a file is missing.
        """
        size, used = len(groups[0]), {c for group in groups for c in group}
        most = max(sum(c in group for group in groups) for c in used)
        # In a balanced draw each class comes up equally often, whether it is used or not.
        return self._draw(
            N_CLASSES * most * -(-n_train // size),
            N_CLASSES * -(-n_test // size),
            seed,
            f"{len(groups)} tasks of {n_train} training and {n_test} test images of {size} classes",
        )

    def _draw(self, n_train: int, n_test: int, seed: int, why: str) -> Pool:
        options = {"scaling": "none", "flatten": False}
        try:
            if self.name == "digits":
                train, test = digits(n_train, n_test, seed, **options)  # type: ignore[arg-type]
            else:
                root = {} if self.root is None else {"root": self.root}
                train, test = images(IMAGES[self.name], n_train, n_test, seed, **options, **root)  # type: ignore[arg-type]
        except DataError as error:
            raise DataError(f"{why}: {error}") from error
        return Pool(train.x, train.y.argmax(dim=1), test.x, test.y.argmax(dim=1), self.classes)


@dataclass(frozen=True)
class OwnSource:
    """A user's own examples.

    Attributes:
        examples: all there are.
    """

    examples: OwnExamples

    @property
    def name(self) -> str:
        """What a reader calls them."""
        return self.examples.where

    @property
    def has_images(self) -> bool:
        """Whether inputs are images, [n, C, H, W]."""
        return self.examples.x.ndim == 4

    @property
    def classes(self) -> list[Any] | None:
        """Label of every class; None for a regression."""
        return self.examples.classes

    def draw_shares(self, tasks: int, n_train: int, n_test: int, seed: int) -> Pool:
        """Draw the training examples of several tasks, and the test examples of all; class-balanced.

        Raises:
            DataError: if there are not enough, saying how many there are and for how many one can ask.
        """
        n, asked = len(self.examples.x), tasks * n_train + n_test
        if asked > n:
            room, least = (n - n_test) // tasks, 1 if self.classes is None else len(self.classes)
            raise DataError(
                f"{tasks} tasks of {n_train} training examples, and {n_test} test examples, ask for {asked}, but "
                f"{self.name} has {n}; "
                + (
                    f"ask for n_train of at most {room}"
                    if room >= least
                    else "ask for fewer tasks or test examples"
                )
            )
        labels = None if self.classes is None else self.examples.y.numpy()
        return self._pool(*split(n, tasks * n_train, n_test, np.random.default_rng(seed), labels))

    def draw_groups(self, groups: Groups, n_train: int, n_test: int, seed: int) -> Pool:
        """Draw what tasks of a few classes each need: of every class so many as its tasks take.

        Raises:
            DataError: if there are not enough of a class, saying how many there are and for how many one can ask.
        """
        order = torch.as_tensor(np.random.default_rng(seed).permutation(len(self.examples.y)))
        size = len(groups[0])
        learned, asked, times = ({c: 0 for group in groups for c in group} for _ in range(3))
        for group in groups:
            for c, k, other in zip(group, even_shares(n_train, size), even_shares(n_test, size), strict=True):
                learned[c] += k
                asked[c] = max(asked[c], other)
                times[c] += 1
        members = {c: order[self.examples.y[order] == c] for c in learned}
        room = size * min((len(members[c]) - asked[c]) // times[c] for c in members)
        for c, found in members.items():
            if len(found) < learned[c] + asked[c]:
                label = self.examples.classes[c] if self.examples.classes else c
                raise DataError(
                    f"{len(groups)} tasks of {n_train} training and {n_test} test examples of {size} classes ask "
                    f"for {learned[c]} and {asked[c]} of class {label}, but {self.name} has {len(found)} of it; "
                    + (f"ask for n_train of at most {room}" if room >= size else "ask for fewer test examples")
                    + ", or leave the class out with classes="
                )
        test = torch.cat([found[: asked[c]] for c, found in members.items()])
        train = torch.cat([found[asked[c] : asked[c] + learned[c]] for c, found in members.items()])
        return self._pool(train, test)

    def _pool(self, train: Any, test: Any) -> Pool:
        x, y, classes, _ = self.examples
        return Pool(x[train], y[train], x[test], y[test], classes)


def source_of(data: Any, root: object = None, target: str | None = None) -> NamedImages | OwnSource:
    """The source of examples that is meant.

    Args:
        data: name of images, or a user's own data as ``load_data`` takes them.
        root: the folder with named data.
        target: the column of targets of a table.

    Raises:
        DataError: if there is no such thing, or an option does not go with it.
    """
    data = str(data) if isinstance(data, Path) else data
    if is_own(data) or (isinstance(data, str) and (own_file(data) or own_names(data))):
        if root is not None:
            raise DataError("root= is the folder of named data, such as 'mnist'; name a file by its whole path")
        return OwnSource(read_examples(data, target))
    if not isinstance(data, str) or data not in ("digits", *IMAGES):
        got = repr(data) if isinstance(data, str) else type(data).__name__
        raise DataError(
            f"streams of images are made of digits, {', '.join(IMAGES)}, or of one's own examples: a file that "
            f"ends in .npz, .csv or .parquet, a pair (x, y) and the like; got {got}"
        )
    if target is not None:
        raise DataError(f"target= names a column of a table; {data} has no columns")
    return NamedImages(data, root)


def even_shares(n: int, parts: int) -> list[int]:
    """So many in parts that differ by one at most."""
    return [n // parts + (i < n % parts) for i in range(parts)]
