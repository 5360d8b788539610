"""Eigenvalues of a symmetric operator that can only be applied to vectors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Apply = Callable[[Tensor], Tensor]  # [N] -> [N]


@dataclass(frozen=True)
class EigenvalueRange:
    """Extreme eigenvalues with what is known about their errors; unpacks to (smallest, largest).

    Attributes:
        smallest: Ritz value at the lower end; never below the smallest eigenvalue, up to rounding.
        largest: Ritz value at the upper end; never above the largest eigenvalue, up to rounding.
        smallest_error: there is an eigenvalue within this distance, plus ``noise_floor``, of ``smallest``.
        largest_error: there is an eigenvalue within this distance, plus ``noise_floor``, of ``largest``.
        noise_floor: N · ε · largest modulus of an eigenvalue; below it an eigenvalue may be rounding.
        steps: products with the operator.
        converged: whether both errors are within the tolerance asked for, or below the noise floor.
    """

    smallest: float
    largest: float
    smallest_error: float
    largest_error: float
    noise_floor: float
    steps: int
    converged: bool

    def __iter__(self) -> Iterator[float]:
        return iter((self.smallest, self.largest))

    @property
    def decidable(self) -> bool:
        """Whether the smallest eigenvalue is surely not zero, above its error plus the noise floor."""
        return abs(self.smallest) > self.smallest_error + self.noise_floor


@dataclass(frozen=True)
class Krylov:
    """A Lanczos run: the tridiagonal matrix, and what the next basis vector was divided by."""

    alphas: Tensor  # [k]
    betas: Tensor  # [k - 1]
    beta: float

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Ritz values in ascending order and their vectors in the Krylov basis, [k] and [k, k]."""
        t = torch.diag(self.alphas) + torch.diag(self.betas, 1) + torch.diag(self.betas, -1)
        values, vectors = torch.linalg.eigh(t)
        return values, vectors

    def ends(self) -> tuple[float, float, float, float]:
        """(smallest, largest, residual of the smallest, residual of the largest)."""
        values, vectors = self.ritz()
        residuals = self.beta * vectors[-1].abs()
        return float(values[0]), float(values[-1]), float(residuals[0]), float(residuals[-1])


def lanczos(apply: Apply, start: Tensor, steps: int) -> Iterator[Krylov]:
    """Run Lanczos with full reorthogonalization in float64, yielding the state after every step.

    Ends before ``steps`` where the Krylov space is exhausted (Golub, Van Loan, *Matrix Computations*, §10.3).
    """
    n = start.numel()
    basis = torch.empty(min(steps, n), n, dtype=torch.float64, device=start.device)
    q = start.double() / start.double().norm()
    alphas: list[float] = []
    betas: list[float] = []
    for k in range(len(basis)):
        basis[k] = q
        w = apply(q.to(start.dtype)).double()
        alphas.append(float(w @ q))
        for _ in range(2):  # twice is enough
            w -= basis[: k + 1].T @ (basis[: k + 1] @ w)
        beta = float(w.norm())
        a, b = torch.tensor(alphas, dtype=torch.float64), torch.tensor(betas, dtype=torch.float64)
        yield Krylov(a, b, beta)
        if beta <= 1e-14 * max(map(abs, alphas)) or k + 1 == n:
            return
        betas.append(beta)
        q = w / beta


def extreme_eigenvalues(
    apply: Apply, start: Tensor, tolerance: float, steps: int, both_ends: bool
) -> EigenvalueRange:
    """Lanczos until both ends (or only that of larger modulus) are known to a relative ``tolerance``."""
    unit = torch.finfo(start.dtype).eps
    done = 0
    for state in lanczos(apply, start, steps):
        done += 1
        exhausted = state.beta <= 1e-14 * float(state.alphas.abs().max()) or done == start.numel()
        if done % 5 and not exhausted and done != steps:
            continue
        low, high, low_error, high_error = state.ends()
        top = max(abs(low), abs(high))
        floor = start.numel() * unit * top
        errors = [(low, low_error), (high, high_error)]
        wanted = errors if both_ends else [max(errors, key=lambda pair: abs(pair[0]))]
        # A residual below the rounding of one product says no more than the rounding does.
        converged = all(error <= max(tolerance * abs(value), unit * top) for value, error in wanted)
        if converged or exhausted:
            break
    return EigenvalueRange(low, high, low_error, high_error, floor, done, converged or exhausted)
