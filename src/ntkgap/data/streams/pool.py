"""The images of which streams are made: raw pixels, one draw for all tasks, and their scaling at the end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.data.dataset import IMAGE_AXES, Dataset, check_flag, encode_classes, scale_inputs
from ntkgap.data.digits import digits
from ntkgap.data.images import IMAGES, images
from ntkgap.data.streams.stream import Task, TaskStream
from ntkgap.errors import DataError

N_CLASSES = 10
LARGEST_COUNT = 10**9


@dataclass(frozen=True)
class ImagePool:
    """Images as they are in the files.

    Attributes:
        x_train: pixels, [n, C, H, W].
        labels_train: classes, [n].
        x_test: pixels, [k, C, H, W].
        labels_test: classes, [k].
    """

    x_train: Tensor
    labels_train: Tensor
    x_test: Tensor
    labels_test: Tensor


@dataclass(frozen=True)
class Appearance:
    """How images are given to networks; the same for all tasks of a stream.

    Attributes:
        scaling: ``"standardize"`` (by mean and standard deviation of the first task's training pixels),
            ``"unit_norm"`` or ``"none"``.
        targets: ``"one_hot"`` or ``"plus_minus"``.
        flatten: vectors in place of images.
        shrink: s: every s × s pixels become their mean.
        root: the folder with data.
    """

    scaling: str = "standardize"
    targets: str = "one_hot"
    flatten: bool = False
    shrink: int = 1
    root: object = None

    def __post_init__(self) -> None:
        check_flag("flatten", self.flatten)
        check_count("shrink", self.shrink)

    def pool(self, name: str, n_train: int, n_test: int, seed: int, why: str) -> ImagePool:
        """Draw so many images, shrunk.

        Args:
            name: of the data.
            n_train: training images for all tasks.
            n_test: test images.
            seed: of the draw.
            why: what they are for, for messages.

        Raises:
            DataError: if they are no images, or not enough.
        """
        options = {"scaling": "none", "flatten": False}
        try:
            if not isinstance(name, str):
                raise DataError(f"the name of data must be a text, got {name!r}")
            if name == "digits":
                train, test = digits(n_train, n_test, seed, **options)  # type: ignore[arg-type]
            elif name in IMAGES:
                root = {} if self.root is None else {"root": self.root}
                train, test = images(IMAGES[name], n_train, n_test, seed, **options, **root)  # type: ignore[arg-type]
            else:
                known = ", ".join(("digits", *IMAGES))
                raise DataError(f"streams of images are made of {known}; got {name!r}")
        except DataError as error:
            raise DataError(f"{why}: {error}") from error
        x_train, x_test = (self._shrunk(d.x) for d in (train, test))
        return ImagePool(x_train, train.y.argmax(dim=1), x_test, test.y.argmax(dim=1))

    def shares(self, labels: Tensor, tasks: int) -> list[Tensor]:
        """Which training images each task gets: as many as any other, and some of every class.

        They are dealt out in the order of the draw. Its rounds of all classes begin and end inside tasks that are
        no multiples of a round, and a task of barely more images than classes may miss some: only then does it
        exchange images with tasks that have several.

        Args:
            labels: classes of the images that were drawn, [n].
            tasks: T, which divide n.

        Returns:
            Indices of each task's images, [n / T] each.

        Raises:
            DataError: if a task cannot have all classes.
        """
        found = list(torch.arange(len(labels)).chunk(tasks))
        counts = torch.stack([torch.bincount(labels[own], minlength=N_CLASSES) for own in found])
        size = len(labels) // tasks
        for t, c in (counts == 0).nonzero().tolist():
            giver, spare = int(counts[:, c].argmax()), int(counts[t].argmax())
            if size < N_CLASSES or counts[giver, c] < 2:
                raise DataError(
                    f"task {t + 1} has no training image of class {c}, but is tested on it: n_train={size} images "
                    f"a task are too few for {N_CLASSES} classes; give n_train of at least {N_CLASSES}, or fewer "
                    "tasks"
                )
            # The last of a class: methods that store the first examples of a task find them as they were.
            gets, gives = ((labels[found[u]] == k).nonzero()[-1, 0] for u, k in ((t, spare), (giver, c)))
            found[t][gets], found[giver][gives] = found[giver][gives].clone(), found[t][gets].clone()
            for u, more, less in ((t, c, spare), (giver, spare, c)):
                counts[u, more] += 1
                counts[u, less] -= 1
        return found

    def task(self, name: str, parts: Sequence[tuple[Tensor, Tensor]], columns: Sequence[int]) -> Task:
        """A task of raw pixels and targets' positions among the columns, for training and for test."""
        sets = [Dataset(x, encode_classes(at, len(columns), self.targets), len(columns)) for x, at in parts]
        return Task(name, sets[0], sets[1], tuple(columns))

    def stream(self, name: str, tasks: Sequence[Task]) -> TaskStream:
        """The stream of tasks of raw pixels: scaled, and flat if asked."""
        first = tasks[0].train.x

        def seen(data: Dataset) -> Dataset:
            _, x = scale_inputs(first, data.x, self.scaling, IMAGE_AXES)
            return Dataset(x.flatten(1) if self.flatten else x, data.y, data.n_classes)

        return TaskStream(name, tuple(Task(t.name, seen(t.train), seen(t.test), t.columns) for t in tasks))

    def _shrunk(self, x: Tensor) -> Tensor:
        side = min(x.shape[-2:])
        if self.shrink > side:
            raise DataError(f"shrink={self.shrink} leaves nothing of images with {side} pixels a side")
        return x if self.shrink == 1 else torch.nn.functional.avg_pool2d(x, self.shrink)


def check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no integer of at least so much, or more than any stream has.

    Raises:
        DataError: naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_COUNT:
        raise DataError(f"{name} must be an integer from {least} to {LARGEST_COUNT}, got {value!r}")


def check_number(name: str, value: object, low: float, high: float, meaning: str) -> None:
    """Refuse what is no finite number from one to another, both allowed.

    Raises:
        DataError: naming the option.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise DataError(f"{name} must be a number from {low:g} to {high:g}, {meaning}; got {value!r}")
