"""What networks are shown in one phase, and how far they are from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.data import TaskStream
from ntkgap.errors import StudyError


@dataclass(frozen=True)
class Lesson:
    """Examples for M networks, and which outputs they are about.

    Attributes:
        x: inputs of each network, [M, n, ...].
        y: targets, [M, n, C]; 0 where the mask is.
        mask: which outputs count, [n, C].
    """

    x: Tensor
    y: Tensor
    mask: Tensor

    @classmethod
    def of(cls, streams: Sequence[TaskStream], t: int, outputs: int) -> "Lesson":
        """Task t of all streams."""
        columns = list(streams[0].tasks[t].columns)
        y = stacked([stream.tasks[t].train.y for stream in streams])
        targets = y.new_zeros(*y.shape[:2], outputs)
        targets[..., columns] = y
        mask = torch.zeros(y.shape[1], outputs, dtype=torch.bool)
        mask[:, columns] = True
        return cls(stacked([stream.tasks[t].train.x for stream in streams]), targets, mask)

    @classmethod
    def joined(cls, lessons: Sequence["Lesson"]) -> "Lesson":
        """All examples of some lessons."""
        return cls(
            torch.cat([lesson.x for lesson in lessons], dim=1),
            torch.cat([lesson.y for lesson in lessons], dim=1),
            torch.cat([lesson.mask for lesson in lessons]),
        )

    def __len__(self) -> int:
        return len(self.mask)

    def first(self, n: int) -> "Lesson":
        """Its first n examples."""
        return Lesson(self.x[:, :n], self.y[:, :n], self.mask[:n])

    def batch(self, indices: Tensor) -> "Lesson":
        """Some examples; which, each network says for itself, [M, b].

        All examples of a task are about the same outputs, but of several tasks not: then networks would need masks
        of their own.
        """
        each = torch.arange(len(indices))[:, None]
        return Lesson(self.x[each, indices], self.y[each, indices], self.mask[indices])


def losses(name: str, outputs: Tensor, lesson: Lesson) -> Tensor:
    """The loss of every network, summed over examples, [M, n, C] -> [M].

    Args:
        name: ``"squared"``, ½‖f − y‖², or ``"cross_entropy"``, −Σ y log softmax(f) over the outputs that count.
        outputs: of the networks.
        lesson: what they should be.
    """
    if name == "squared":
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
