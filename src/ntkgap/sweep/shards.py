"""A fixed part of a study's cells, for machines that share nothing."""

import re

from ntkgap.errors import StudyError
from ntkgap.sweep.cell_directory import name_and_text
from ntkgap.sweep.study import Cell, Study, identity

Shard = tuple[int, int]
"""Which part, counted from 1, and of how many."""


def parse_shard(text: str) -> Shard:
    """Read ``"3/16"``.

    Raises:
        StudyError: if it is no such thing.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    if match is None:
        raise StudyError(f"--shard takes a part and their number like 3/16, got {text!r:.80}")
    return checked_shard((int(match[1]), int(match[2])))


def checked_shard(shard: Shard) -> Shard:
    """The same.

    Raises:
        StudyError: if there is no such part.
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise StudyError(f"a shard is one of 1/{parts} to {parts}/{parts}, got {part}/{parts}")
    return shard


def cells_of(study: Study, shard: Shard | None) -> list[Cell]:
    """The cells of one part, the same on every machine, whatever is done already; all if no part is named.

    Cells are laid in the order of their cost, those of equal cost in that of the hash of their configuration, and
    dealt to the parts in turn and back again: the parts cost nearly the same.

    Raises:
        StudyError: if there is no such part.
    """
    cells = study.cells()
    if shard is None:
        return cells
    part, parts = checked_shard(shard)
    named = {name_and_text(identity(cell))[0]: cell for cell in cells}
    order = sorted(named, key=lambda name: (-study.cost(named[name]), name))
    mine = {name for i, name in enumerate(order) if _dealt(i, parts) == part}
    return [cell for name, cell in named.items() if name in mine]


def _dealt(i: int, parts: int) -> int:
    """Which part gets the i-th cell: 1, 2, …, n, n, …, 2, 1, 1, 2, …"""
    at = i % (2 * parts)
    return 1 + min(at, 2 * parts - 1 - at)
