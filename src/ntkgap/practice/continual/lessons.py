"""What networks are shown in one phase, and how far they are from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.data import TaskStream
from ntkgap.errors import StudyError
from ntkgap.practice.training.losses import OwnLoss


@dataclass(frozen=True)
class Lesson:
    """Examples for M networks, and which outputs they are about.

    Attributes:
        x: inputs of each network, [M, n, ...].
        y: targets, [M, n, C]; 0 where the mask is.
        mask: which outputs count, [n, C].
        classes: of the examples of one task, [M, n]; None for regression, and where tasks are joined.
    """

    x: Tensor
    y: Tensor
    mask: Tensor
    classes: Tensor | None = None

    @classmethod
    def of(cls, streams: Sequence[TaskStream], t: int, outputs: int) -> "Lesson":
        """Task t of all streams."""
        columns = list(streams[0].tasks[t].columns)
        y = stacked([stream.tasks[t].train.y for stream in streams])
        targets = y.new_zeros(*y.shape[:2], outputs)
        targets[..., columns] = y
        mask = torch.zeros(y.shape[1], outputs, dtype=torch.bool, device=y.device)
        mask[:, columns] = True
        classes = None
        if all(stream.tasks[t].train.n_classes is not None for stream in streams):
            classes = y.argmax(dim=-1) if len(columns) > 1 else (y[..., 0] > 0).long()
        return cls(stacked([stream.tasks[t].train.x for stream in streams]), targets, mask, classes)

    @classmethod
    def joined(cls, lessons: Sequence["Lesson"]) -> "Lesson":
        """All examples of some lessons."""
        return cls(
            torch.cat([lesson.x for lesson in lessons], dim=1),
            torch.cat([lesson.y for lesson in lessons], dim=1),
            torch.cat([lesson.mask for lesson in lessons]),
        )

    @property
    def columns(self) -> Tensor:
        """Numbers of the outputs that count, for examples that are all about the same."""
        return self.mask.flatten(0, -2)[0].nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self.mask)

    def drawn(self, n: int, generators: Sequence[torch.Generator]) -> "Lesson":
        """So many examples of a task, drawn at random by every network; of each class as many as of the others.

        Where a class has too few, the others fill up. All examples are left in their order.
        """
        if n >= len(self):
            return self
        chosen = torch.stack(
            [_balanced(self._classes_of(i), n, generator) for i, generator in enumerate(generators)]
        )
        each = torch.arange(len(chosen))[:, None]
        return Lesson(self.x[each, chosen], self.y[each, chosen], self.mask[:n])

    def _classes_of(self, i: int) -> Tensor:
        return torch.zeros(len(self), dtype=torch.long) if self.classes is None else self.classes[i].cpu()

    def batch(self, indices: Tensor) -> "Lesson":
        """Some examples; which, each network says for itself, [M, b].

        All examples of a task are about the same outputs, but of several tasks not: then networks would need masks
        of their own.
        """
        each = torch.arange(len(indices))[:, None]
        return Lesson(self.x[each, indices], self.y[each, indices], self.mask[indices])


def _balanced(classes: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Indices of n examples: the first of every class in a random order, the second, and so on."""
    order = torch.randperm(len(classes), generator=generator)
    shuffled = torch.nn.functional.one_hot(classes[order])
    rank = (shuffled.cumsum(0) * shuffled).sum(1)  # 1 for the first of its class
    return order[rank.argsort(stable=True)[:n]]


def losses(loss: str | OwnLoss, outputs: Tensor, lesson: Lesson) -> Tensor:
    """The loss of every network, [M, n, C] -> [M].

    Args:
        loss: ``"squared"``, ½‖f − y‖², or ``"cross_entropy"``, −Σ y log softmax(f), summed over examples and the
            outputs that count; or one's own, which sees those outputs alone.
        outputs: of the networks.
        lesson: what they should be.
    """
    if isinstance(loss, OwnLoss):
        columns = lesson.columns
        return torch.stack([loss(f[:, columns], y[:, columns]) for f, y in zip(outputs, lesson.y, strict=True)])
    if loss == "squared":
        return 0.5 * ((outputs - lesson.y) * lesson.mask).square().sum(dim=(1, 2))
    scores = outputs.masked_fill(~lesson.mask, -torch.inf).log_softmax(dim=-1)
    return -(lesson.y * scores.masked_fill(~lesson.mask, 0.0)).sum(dim=(1, 2))


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor for all networks, without copies where all have the same.

    Raises:
        StudyError: if their shapes differ.
    """
    if all(t is tensors[0] for t in tensors):
        return tensors[0].expand(len(tensors), *tensors[0].shape)
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise StudyError(
            f"streams that are learned together need tasks of the same sizes, got arrays of shapes "
            f"{', '.join(map(str, sorted(shapes)))}; train them one by one"
        )
    return torch.stack(list(tensors))
