"""Which examples make a Gram matrix singular: equal inputs, and rows of a kernel that are parallel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ntkgap.errors import DataError
from ntkgap.linalg.matrices import check_symmetric

Groups = list[list[int]]


def duplicate_inputs(x: Tensor, *, tolerance: float = 0.0) -> Groups:
    r"""Examples that are the same: any kernel has equal rows for them and is singular.

    Args:
        x: inputs, [n, ...]; entries beyond the first dimension are taken as one vector.
        tolerance: largest distance :math:`\lVert x_i - x_j \rVert_2` that counts as the same.

    Returns:
        Groups of two or more row numbers, each ascending; an empty list where all rows differ. With a tolerance,
        groups are chains: neighbors in a chain are within it, its ends need not be.

    Raises:
        DataError: if there is no example, or the tolerance is negative.
    """
    if x.ndim == 0 or len(x) == 0:
        raise DataError(f"x has shape {tuple(x.shape)}; at least one example [n, ...] is needed")
    if not tolerance >= 0:
        raise DataError(f"tolerance must be a number of at least 0, got {tolerance!r}")
    rows = x.reshape(len(x), -1).double()
    # Through the differences: from the squares |x|² + |y|² − 2xy nothing below √ε of the norm could be told.
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return _connected(distances <= tolerance, minimum=2)


def parallel_rows(gram: Tensor, precision: torch.dtype | None = None) -> Groups:
    r"""Rows of a Gram matrix that alone, or in pairs, push its smallest eigenvalue below the noise floor.

    Rows i and j are a pair where the smaller eigenvalue of

    .. math:: \begin{pmatrix} K_{ii} & K_{ij} \\ K_{ij} & K_{jj} \end{pmatrix}

    is at most the floor n·ε·κ_max of ``spectrum``: equal, opposite or proportional Jacobian rows. A single row is
    returned where K_ii is (a constant output). λ_min(K) is at most the eigenvalue of any principal block (Cauchy's
    interlacing), so each group by itself leaves open whether K is positive definite. The converse is false: K may
    also be singular because more than two rows depend on each other, for one where it has more rows than there are
    parameters.

    Args:
        gram: symmetric, [n, n]; of a kernel with several outputs the layout of ``as_matrix``, in which row
            i·C + a is output a of example i.
        precision: type of the arithmetic in which the entries were computed, if coarser than the matrix's own.

    Returns:
        Groups of row numbers, each ascending; an empty list where no pair is to blame.

    Raises:
        KernelError: if the matrix is not square, finite and symmetric.
    """
    k = check_symmetric(gram, precision)
    floor = len(k) * torch.finfo(precision or gram.dtype).eps * float(torch.linalg.matrix_norm(k, 2))
    d = k.diagonal()
    mean, half = (d[:, None] + d) / 2, (d[:, None] - d) / 2
    # The smaller root as determinant over the larger one: their difference would cancel.
    determinant = d[:, None] * d - k.square()
    larger = mean + torch.hypot(half, k)
    smaller = torch.where(larger > 0, determinant / larger, torch.zeros_like(larger))
    alone = d <= floor
    pairs = (smaller <= floor) & ~alone[:, None] & ~alone
    pairs.fill_diagonal_(False)
    singles = [[int(i)] for i in alone.nonzero()]
    return sorted(singles + _connected(pairs, minimum=2))


def equal_rows(gram: Tensor, precision: torch.dtype | None = None) -> Groups:
    r"""Rows of a Gram matrix that are the same to the last digits: those of inputs that occur more than once.

    Rows i and j are a pair where :math:`|K_{il} - K_{jl}| \le 10\,\varepsilon \max|K|` at every other point l. The
    entries between i and j do not count: near a correlation of one the kernels of infinite width lose half the
    digits there. Unlike ``parallel_rows`` this does not depend on what a coarse precision resolves: points that
    are close, but not equal, are no pair.

    Args:
        gram: symmetric, [n, n].
        precision: type of the arithmetic in which the entries were computed, if coarser than the matrix's own.

    Returns:
        Groups of row numbers, each ascending; an empty list where no row repeats another.

    Raises:
        KernelError: if the matrix is not square, finite and symmetric.
    """
    k = check_symmetric(gram, precision)
    unit, d = torch.finfo(precision or gram.dtype).eps, k.diagonal()
    apart = d[:, None] + d - 2 * k  # squared distances of features
    near = (apart <= 10 * unit**0.5 * d.max()).triu(1)
    same = torch.zeros_like(near)
    for pairs in near.nonzero().split(1024):
        i, j = pairs.T
        differences = (k[i] - k[j]).abs()
        if len(k) > 2:
            at = torch.arange(len(pairs), device=k.device)
            differences[at, i] = differences[at, j] = 0.0
        same[i, j] = differences.amax(dim=1) <= 10 * unit * k.abs().max()
    return _connected(same | same.T, minimum=2)


def describe_rows(groups: Sequence[Sequence[int]], limit: int = 3) -> str:
    """Groups of rows in words for a message: "0 = 4 = 7, 2 = 5 and 12 more groups"."""
    shown = [" = ".join(map(str, _shortened(group))) for group in groups[:limit]]
    left = len(groups) - len(shown)
    return ", ".join(shown) + (f" and {left} more group{'s' * (left > 1)}" if left else "")


def _shortened(group: Sequence[int]) -> list[int | str]:
    return list(group) if len(group) <= 5 else [*group[:4], "…", group[-1]]


def _connected(related: Tensor, minimum: int) -> Groups:
    """Connected components of a symmetric relation with at least ``minimum`` members."""
    groups, seen = [], set()
    for first in related.any(1).nonzero().flatten().tolist():
        if first in seen:
            continue
        group, frontier = {first}, [first]
        while frontier:
            found = set(related[frontier.pop()].nonzero().flatten().tolist()) - group
            group |= found
            frontier += found
        seen |= group
        if len(group) >= minimum:
            groups.append(sorted(group))
    return groups
