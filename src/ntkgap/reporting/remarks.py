"""What cells remark, such as why a number is missing: equal remarks together, whatever numbers stand in them."""

import re
from collections.abc import Sequence

from ntkgap.axis_names import axis_of
from ntkgap.studies.measured import Measured

MAX_GROUPS = 12
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(\.\d+)?(e[-+]?\d+)?")


def remarks(cells: Sequence[Measured]) -> list[str]:
    """Remarks of cells by problem and wording, the commonest first, twelve at most.

    Remarks of cells that diverged are left out: those cells are listed one by one.

    Args:
        cells: those that are done, varied ones included.

    Returns:
        A line a group: the problem, its widths and number of cells, and the remark of the first of them.
    """
    groups: dict[tuple[str, str], list[tuple[Measured, str]]] = {}
    for cell in cells:
        for note in [] if cell.diverged else cell.notes:
            groups.setdefault((cell.cell["problem"], wording(note)), []).append((cell, note))
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))
    lines = [_line(problem, found) for (problem, _), found in largest[:MAX_GROUPS]]
    if left_out := len(largest[MAX_GROUPS:]):
        lines.append(f"… and {left_out} rarer remark{'s' if left_out > 1 else ''}, in the cells' result.json.")
    return lines


def wording(note: str) -> str:
    """A remark with its numbers, and lists of them, replaced by dots."""
    return re.sub(r"…(, …)+", "…", NUMBER.sub("…", note))


def _line(problem: str, found: Sequence[tuple[Measured, str]]) -> str:
    cells = [cell for cell, _ in found]
    widths = sorted({cell.width for cell in cells})
    where = f"width{'s' if len(widths) > 1 else ''} {', '.join(map(str, widths))}"
    count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
    if varied := sum(bool(axis_of(cell.cell)) for cell in cells):
        count += f", {varied} of them with another setting varied"
    example = "for example: " if len({note for _, note in found}) > 1 else ""
    return f"{problem}, {where} ({count}): {example}{found[0][1]}"
