"""Damped linear systems with an operator that can only be applied to vectors."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ntkgap.errors import KernelError


class _Operator(Protocol):
    dtype: torch.dtype
    device: torch.device

    @property
    def shape(self) -> tuple[int, int]: ...
    def __matmul__(self, v: Tensor) -> Tensor: ...


def nystrom_preconditioner(
    operator: _Operator, damping: float, rank: int, seed: int = 0
) -> Callable[[Tensor], Tensor]:
    """P⁻¹ of a random low-rank approximation of K + damping · I (Frangella, Tropp, Udell 2023, alg. 2.1)."""
    size = operator.shape[0]
    generator = torch.Generator().manual_seed(seed)
    test = torch.randn(size, rank, generator=generator, dtype=torch.float64).to(operator.device)
    test = torch.linalg.qr(test).Q
    sketch = (operator @ test.to(operator.dtype)).double()
    shift = torch.finfo(operator.dtype).eps * float(sketch.norm())
    if shift == 0:  # a zero operator needs no preconditioner
        return lambda r: r
    sketch = sketch + shift * test
    factor = torch.linalg.cholesky(_symmetric(test.T @ sketch))
    vectors, singular, _ = torch.linalg.svd(
        torch.linalg.solve_triangular(factor, sketch.T, upper=False).T, full_matrices=False
    )
    values = (singular.square() - shift).clamp_min(0)
    last = float(values[-1]) + damping
    inside = last / (values + damping).clamp_min(torch.finfo(torch.float64).tiny)

    def precondition(r: Tensor) -> Tensor:
        c = vectors.T @ r
        return r + vectors @ ((inside - 1) * c)

    return precondition


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2


def solve_damped(
    operator: _Operator,
    b: Tensor,
    damping: float,
    tolerance: float,
    max_steps: int,
    precondition: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    """Preconditioned conjugate gradients for (K + damping · I) x = b, [N], iterates in float64.

    Raises:
        KernelError: if ``max_steps`` products do not reach the tolerance, or the true residual,
            relative to b, is above √ε of the operator: it has no solution, or rounding hides it.
    """
    apply_inverse = precondition or (lambda r: r)
    r = b.double()
    x = torch.zeros_like(r)
    target = tolerance * float(r.norm())
    z = apply_inverse(r)
    p, rz = z, r @ z

    def times(v: Tensor) -> Tensor:
        return (operator @ v.to(operator.dtype)).double() + damping * v

    for _ in range(max_steps):
        if float(r.norm()) <= target:
            break
        kp = times(p)
        curvature = p @ kp
        if not float(curvature) > 0:
            break
        step = rz / curvature
        x = x + step * p
        r = r - step * kp
        z = apply_inverse(r)
        rz, before = r @ z, rz
        p = z + (rz / before) * p
    # The residual that is carried along says nothing of the true one where directions have no curvature;
    # elsewhere they differ by the rounding of products.
    reached = float((b.double() - times(x)).norm()) / max(float(b.norm()), torch.finfo(torch.float64).tiny)
    if float(r.norm()) <= target and reached <= max(tolerance, torch.finfo(operator.dtype).eps ** 0.5):
        return x.to(b.dtype)
    raise KernelError(
        f"conjugate gradients reached a relative residual of {reached:.1e} where {tolerance:.1e} was asked "
        f"for; raise damping (now {damping:g}), max_steps or the tolerance, or compute in float64"
    )
