r"""Whether the rounding of a kernel decides what is solved with it, and what to do then.

Whoever solves with a Gram matrix gets dual weights α, and predicts k(x, X)α. The matrix at hand is K + E, where
K is the true one and E rounding. What was solved then is a problem with K, exactly, whose targets are off by Eα:

.. math:: (K + E + \sigma^2 I)\,\alpha = r \iff (K + \sigma^2 I)\,\alpha = r - E\alpha

and :math:`\lVert E\alpha \rVert \le \varphi \lVert\alpha\rVert` with φ the noise floor, an estimate of
:math:`\lVert E \rVert_2`. So the relative change of the targets

.. math:: \rho = \varphi \lVert\alpha\rVert / \lVert r \rVert

says what rounding can do to the answer. It is below 0.1 where λ_min(K) + σ² ≥ 10φ, whatever the targets, since
‖α‖ ≤ ‖r‖/(λ_min + σ²); where targets have no part along small eigenvalues; and where training stops before it
moves them: gradient flow has α = ∫r_s ds over its time t, ‖α‖ ≤ t‖r‖, and E enters it as the forcing Er_s.

Over kernels of infinite width in float32 (on lines and Gaussian inputs, one to ten layers, with three kinds of
targets, ridges and times) ρ is the size of the relative error of the mean that float64 shows, to a factor of
about two where it is too small, and ten where rounding happens to be below the floor.
"""

import warnings

import torch
from torch import Tensor

from ntkgap.errors import AccuracyWarning
from ntkgap.linalg.duplicates import describe_rows, equal_rows, parallel_rows

# A change of the targets by more than this fraction of their size is worth a warning.
TOLERANCE = 0.1

# The error of a kernel may exceed nεκ_max by so much: those of infinite width do, near correlations of one.
COARSER = 30

# Rows of the largest matrix whose eigenvalues are sought for a warning alone.
LARGEST_DECOMPOSED = 3000

IN_DOUBLE = "compute the kernel in float64 (network and inputs in float64, or dtype=torch.float64)"


def noise_floor(eigenvalues: Tensor, size: int, precision: torch.dtype) -> float:
    """φ = max(n·ε·κ_max, −κ_min): how far rounding moves a Gram matrix, as a spectral norm.

    A Gram matrix has no negative eigenvalue. Where one is computed the noise is at least as large, also where it
    is larger than the unit ε of this precision explains: the kernel was then computed in a coarser one.

    Args:
        eigenvalues: of the matrix as it is, the least first and the greatest last.
        size: n.
        precision: type of the arithmetic that made the entries.
    """
    rounding = size * torch.finfo(precision).eps * float(eigenvalues.abs().max())
    return max(rounding, -float(eigenvalues[0]))


def change_of_targets(floor: float, duals: Tensor, residual: Tensor) -> float:
    """ρ = φ‖α‖/‖r‖, the largest over outputs.

    Args:
        floor: φ.
        duals: α, [n, C].
        residual: r, [n, C].
    """
    size = residual.double().norm(dim=0).clamp_min(1e-300)
    return float((floor * duals.double().norm(dim=0) / size).max())


def check_solve(
    gram: Tensor,
    duals: Tensor,
    residual: Tensor,
    name: str,
    own: str,
    precision: torch.dtype | None = None,
    stacklevel: int = 3,
) -> None:
    """Warn where rounding decides the duals of a solve.

    Eigenvalues, which take several times as long as the solve, are only sought where noise up to that of float32
    would matter, and not of large matrices: there φ is nεκ_max.

    Args:
        gram: K, without what was added to its diagonal, [n, n].
        duals: α, [n, C].
        residual: r, [n, C].
        name: of the matrix.
        own: what the caller can do besides computing the kernel in float64.
        precision: type of the arithmetic that made the kernels, if coarser than the matrix's own.
        stacklevel: as of ``warnings.warn``.

    Warns:
        AccuracyWarning: if it can do as much as a change of the targets by a tenth.
    """
    precision = precision or gram.dtype
    unit = max(torch.finfo(precision).eps, torch.finfo(torch.float32).eps)
    coarse = len(gram) * unit * float(gram.norm())  # ‖K‖_F ≥ κ_max
    if not change_of_targets(coarse, duals, residual) > TOLERANCE / COARSER:
        return
    floor = noise_floor(_extreme_eigenvalues(gram), len(gram), precision)
    warn_of_targets(
        change_of_targets(floor, duals, residual), floor, gram, name, own, precision, stacklevel=stacklevel + 1
    )


def _extreme_eigenvalues(gram: Tensor) -> Tensor:
    """κ_min and κ_max; of a large matrix 0 and κ_max from power iteration, a few per cent too small at worst."""
    if len(gram) <= LARGEST_DECOMPOSED:
        return torch.linalg.eigvalsh(gram.double())[[0, -1]]
    vector = gram.sum(dim=1)
    for _ in range(30):
        vector = gram @ (vector / vector.norm().clamp_min(1e-30))
    return torch.stack([vector.new_zeros(()), vector.norm()]).double()


def remedies(gram: Tensor, precision: torch.dtype, own: str) -> str:
    """What helps where rounding decides: what fits this matrix, and last what the caller can do.

    Inputs are only called repeated where rows of the matrix say so; neighbors that a coarse precision cannot tell
    from each other are not.
    """
    double = precision == torch.float64
    decomposed = double and len(gram) <= LARGEST_DECOMPOSED
    rows = (parallel_rows(gram) if decomposed else []) or equal_rows(gram, precision)
    sizes = [gram.diagonal()[group] for group in rows]
    factor = "" if all(size.min() > 0.999 * size.max() for size in sizes) else ", but for a factor"
    found = [f"leave out inputs that repeat others{factor} (rows {describe_rows(rows)})"] if rows else []
    if not double:
        found.append(IN_DOUBLE)
    return ", or ".join([*found, own])


def warn_of_targets(
    effect: float,
    floor: float,
    gram: Tensor,
    name: str,
    own: str,
    precision: torch.dtype | None = None,
    stacklevel: int = 4,
) -> None:
    """Warn if rounding can do as much as a change of the targets by more than ``TOLERANCE`` of their size.

    Args:
        effect: ρ.
        floor: φ.
        gram: the matrix, [n, n], for what can be done.
        name: of the matrix.
        own: what the caller can do besides computing the kernel in float64.
        precision: type of the arithmetic that made the entries, if coarser than the matrix's own.
        stacklevel: as of ``warnings.warn``; the caller's caller's caller if not given.
    """
    if effect > TOLERANCE:
        share = f"{effect:.0%} of their size" if effect < 1 else "their own size or more"
        change = f"which can do as much as a change of the targets by {share}"
        warn_of_rounding(change, floor, gram, name, own, precision, stacklevel + 1)


def warn_of_rounding(
    change: str,
    floor: float,
    gram: Tensor,
    name: str,
    own: str,
    precision: torch.dtype | None = None,
    stacklevel: int = 4,
) -> None:
    """Say that rounding decides an answer, how much it can change it, and what helps.

    Args:
        change: what it can do to the answer.
        floor: φ.
        gram: the matrix, [n, n].
        name: of the matrix.
        own: what the caller can do besides computing the kernel in float64.
        precision: type of the arithmetic that made the entries, if coarser than the matrix's own.
        stacklevel: as of ``warnings.warn``.

    Warns:
        AccuracyWarning: always.
    """
    precision = precision or gram.dtype
    extreme = _extreme_eigenvalues(gram)
    least = float(extreme[0])
    found = f" (its smallest eigenvalue is {least:.2g})" if least else ""
    own = remedies(gram, precision, own)
    if precision == torch.float64 and -least >= noise_floor(extreme, len(gram), precision):
        own = f"if it came from a coarser type, {IN_DOUBLE}; else {own}"
    warnings.warn(
        f"rounding decides this answer: {name} is known to within {floor:.2g} in "
        f"{str(precision).removeprefix('torch.')}{found}, {change}; {own}",
        AccuracyWarning,
        stacklevel=stacklevel,
    )
