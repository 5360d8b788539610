"""The order in which examples are shown."""

from typing import Any

import torch
from torch import Tensor

from ntkgap.errors import StudyError


class Minibatches:
    """Indices of examples, pass after pass in a new random order.

    Args:
        n: number of examples.
        batch_size: how many a batch.
        generator: source of the order.
        keep_last: whether the last batch of a pass is shown where it is smaller, as a ``DataLoader`` does.
    """

    def __init__(self, n: int, batch_size: int, generator: torch.Generator, keep_last: bool = True) -> None:
        self._n, self._size, self._generator = n, batch_size, generator
        self._end = n if keep_last else n - n % batch_size
        self._order, self._at = torch.empty(0, dtype=torch.long), self._end  # the first batch begins a pass

    @property
    def in_a_pass(self) -> int:
        """Batches of one pass."""
        return -(-self._end // self._size)

    def __next__(self) -> Tensor:
        if self._at >= self._end:
            self._order, self._at = torch.randperm(self._n, generator=self._generator), 0
        start, self._at = self._at, self._at + self._size
        return self._order[start : min(self._at, self._end)]

    def state(self) -> dict[str, Any]:
        """Where it is."""
        settings = [self._n, self._size, self._end]
        return {
            "batches": settings,
            "order": self._order,
            "at": self._at,
            "generator": self._generator.get_state(),
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Be there.

        Raises:
            StudyError: if that is a place among other batches.
        """
        if state.get("batches") != [self._n, self._size, self._end]:
            raise StudyError(
                f"state is of other batches than these of {self._size} of {self._n} examples; go on with the same "
                "data, batch_size and keep_last"
            )
        self._order, self._at = state["order"], state["at"]
        self._generator.set_state(state["generator"])
