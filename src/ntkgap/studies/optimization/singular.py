"""Which training examples make the Gram matrix singular, in words for a cell's notes."""

from torch import Tensor

from ntkgap.data import Dataset
from ntkgap.linalg import describe_rows, duplicate_inputs, parallel_rows

Groups = list[list[int]]


def singular_rows(data: Dataset, gram: Tensor) -> list[str]:
    """Name the training rows that alone or in pairs make a Gram matrix singular.

    Args:
        data: the training set.
        gram: its Gram matrix, [nC, nC], known to be singular within the noise floor.

    Returns:
        Sentences, none where no row or pair is to blame: more than two rows may depend on each other too.
    """
    notes = []
    same = duplicate_inputs(data.x)
    if same:
        notes.append(f"training inputs coincide (rows {describe_rows(same)}), so K is singular at any width")
    conflicting = [group for group in same if (data.y[group] != data.y[group[0]]).any()]
    if conflicting:
        notes.append(
            f"coinciding inputs with different targets (rows {describe_rows(conflicting)}): no network fits them, "
            "and no optimizer brings the loss to zero"
        )
    parallel, silent = _examples(parallel_rows(gram), len(gram) // len(data), same)
    proportional, other = _split_by_direction(parallel, data.x)
    if proportional:
        notes.append(
            f"training inputs are multiples of each other (rows {describe_rows(proportional)}), and this network "
            "does not tell such inputs apart: its output is scaled as its input is, as with ReLU without biases"
        )
    if other:
        notes.append(f"the network's gradients are parallel on training rows {describe_rows(other)}")
    if silent:
        notes.append(f"an output has no gradient on training rows {_listed(silent)}")
    return notes


def _examples(groups: Groups, outputs: int, known: Groups) -> tuple[Groups, list[int]]:
    """Examples with parallel gradients, unless known to coincide, and those on which some gradient is zero."""
    silent = sorted({group[0] // outputs for group in groups if len(group) == 1})
    found = []
    for group in groups:
        examples = sorted({row // outputs for row in group})
        if len(examples) > 1 and not any(set(examples) <= set(k) for k in known) and examples not in found:
            found.append(examples)
    return found, silent


def _split_by_direction(groups: Groups, x: Tensor) -> tuple[Groups, Groups]:
    """Groups of inputs that are positive multiples of each other, and all other groups."""
    rows = x.flatten(1).double()
    unit = rows / rows.norm(dim=1, keepdim=True)
    proportional: Groups = []
    other: Groups = []
    for group in groups:
        # Inputs were read in float32: a multiple is one up to the rounding of its entries there.
        apart = (unit[group] - unit[group[0]]).norm(dim=1).max()
        (proportional if float(apart) < 1e-6 else other).append(group)
    return proportional, other


def _listed(rows: list[int], limit: int = 5) -> str:
    left = len(rows) - limit
    return ", ".join(map(str, rows[:limit])) + (f" and {left} more" if left > 0 else "")
