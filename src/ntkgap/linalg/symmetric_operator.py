"""What can be known of a symmetric positive matrix that can only be applied to vectors."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.conjugate_gradients import nystrom_preconditioner, solve_damped
from ntkgap.linalg.lanczos import EigenvalueRange, extreme_eigenvalues, lanczos
from ntkgap.one_line import line_of


class Estimate(float):
    """A number with its standard error; 0 where it is exact.

    Attributes:
        standard_error: of the mean over random probes.
    """

    standard_error: float

    def __new__(cls, value: float, standard_error: float = 0.0) -> "Estimate":
        """Attach the error to the number."""
        self = super().__new__(cls, value)
        self.standard_error = standard_error
        return self

    def __repr__(self) -> str:
        return f"{float(self):.6g} ± {self.standard_error:.2g}" if self.standard_error else f"{float(self):.6g}"


class SymmetricOperator(ABC):
    """A symmetric matrix [n·C, n·C] over stacked outputs (example first, as ``as_matrix`` has them).

    Attributes:
        n: examples.
        classes: outputs C.
        dtype: of products.
        device: of products.
    """

    semidefinite: ClassVar[bool] = True  # no eigenvalue can be negative

    n: int
    classes: int
    dtype: torch.dtype
    device: torch.device

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return line_of(self, f"{self.n} examples", f"{self.classes} outputs", dtype, str(self.device))

    @abstractmethod
    def _apply(self, v: Tensor) -> Tensor:
        """The product with v of shape [n, C], in the same shape."""

    @property
    def shape(self) -> tuple[int, int]:
        """[n·C, n·C]."""
        return (self.n * self.classes, self.n * self.classes)

    def __matmul__(self, v: Tensor) -> Tensor:
        """The product with v of shape [n·C], [n·C, m] or [n, C], in the shape of v.

        Raises:
            KernelError: if v has another shape, or is not real.
        """
        size = self.shape[0]
        v = self._vector(v)
        if v.shape == (size,):
            return self._apply(v.view(self.n, self.classes)).reshape(size)
        if v.ndim == 2 and v.shape[0] == size:
            return torch.stack([self @ column for column in v.T], 1) if v.shape[1] else v
        if v.shape == (self.n, self.classes):
            return self._apply(v)
        raise KernelError(
            f"cannot multiply an operator of shape {self.shape} with a tensor of shape {tuple(v.shape)}; "
            f"it takes [{size}], [{size}, m] or [{self.n}, {self.classes}]"
        )

    def _vector(self, v: object) -> Tensor:
        """V in the operator's type and place, without a graph: products are numbers."""
        try:
            found = torch.as_tensor(v, dtype=self.dtype if isinstance(v, list | tuple) else None)
        except (TypeError, ValueError, RuntimeError) as error:
            raise KernelError(f"operators are multiplied with tensors, got {type(v).__name__}: {error}") from error
        if found.is_complex() or found.device.type == "meta":
            raise KernelError(
                f"an operator is multiplied with real numbers, got {found.dtype} on {found.device}; multiply with "
                "the real and the imaginary part one after the other"
            )
        return found.detach().to(self.dtype).to(self.device)

    def eigenvalue_range(self, tolerance: float = 1e-4, max_steps: int = 300, seed: int = 0) -> EigenvalueRange:
        """Smallest and largest eigenvalue by Lanczos, with error bounds and the noise floor.

        Args:
            tolerance: relative residual to stop at, for both ends.
            max_steps: products with the operator at most; where they do not suffice, the errors say so.
            seed: of the random start.
        """
        return extreme_eigenvalues(self.__matmul__, self._random(seed), tolerance, max_steps, True)

    def spectral_norm(self, tolerance: float = 1e-4, max_steps: int = 300, seed: int = 0) -> Estimate:
        """Largest modulus of an eigenvalue, with the residual of its Ritz pair as error."""
        found = extreme_eigenvalues(self.__matmul__, self._random(seed), tolerance, max_steps, False)
        if abs(found.smallest) > abs(found.largest):
            return Estimate(abs(found.smallest), found.smallest_error)
        return Estimate(abs(found.largest), found.largest_error)

    def trace(self, samples: int = 32, seed: int = 0) -> Estimate:
        """Trace: exact where the operator knows its diagonal, else the mean of zᵀKz over random signs z."""
        values = torch.empty(samples, dtype=torch.float64)
        for s in range(samples):
            z = self._random(seed + s).sign()
            values[s] = float(z.double() @ (self @ z).double())
        return _mean(values)

    def effective_rank(self, samples: int = 8, steps: int = 60, seed: int = 0) -> Estimate:
        """Exp of the entropy of the eigenvalues' shares, 1 … n·C (Roy, Vetterli 2007).

        By stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017): zᵀ f(K) z from the Ritz values of a run
        that starts at z.

        Raises:
            KernelError: if the operator is indefinite or zero: its eigenvalues then have no shares.
        """
        if not self.semidefinite:
            raise KernelError("this operator is indefinite: its eigenvalues have no shares and no effective rank")
        entropies, traces = (
            torch.empty(samples, dtype=torch.float64),
            torch.empty(samples, dtype=torch.float64),
        )
        for s in range(samples):
            z = self._random(seed + s).sign()
            *_, state = lanczos(self.__matmul__, z, steps)
            values, vectors = state.ritz()
            weights, values = vectors[0].square() * self.shape[0], values.clamp_min(0)
            traces[s] = weights @ values
            entropies[s] = -(weights @ torch.xlogy(values, values))
        trace = traces.mean()
        if not trace > 0:
            raise KernelError("this operator is zero: its eigenvalues have no shares and no effective rank")
        # Σ −p log p with p = λ / tr K; the first-order error of a ratio of two means.
        entropy = entropies.mean() / trace + trace.log()
        spread = (entropies - entropies.mean()) / trace - (traces - trace) * (entropies.mean() / trace - 1) / trace
        rank = float(entropy.exp())
        return Estimate(rank, rank * float(spread.std() / (samples - 1) ** 0.5) if samples > 1 else math.inf)

    def solve(
        self,
        b: Tensor,
        damping: float,
        tolerance: float = 1e-6,
        max_steps: int = 1000,
        rank: int | None = None,
    ) -> Tensor:
        """(K + damping · I)⁻¹ b by conjugate gradients with a Nyström preconditioner.

        Args:
            b: [n·C] or [n, C].
            damping: ≥ 0; the larger, the fewer steps.
            tolerance: relative residual to stop at.
            max_steps: products with the operator at most.
            rank: of the preconditioner (Frangella, Tropp, Udell 2023); 0 for none.

        Raises:
            KernelError: if the tolerance is not reached (the message says what was), the operator is
                indefinite, or b does not fit.
        """
        if not damping >= 0:
            raise KernelError(f"damping must be a number of at least 0, got {damping!r}")
        if not self.semidefinite:
            raise KernelError("this operator is indefinite; conjugate gradients and damping need one that is not")
        if b.numel() != self.shape[0]:
            raise KernelError(
                f"b has shape {tuple(b.shape)}; it must be [{self.shape[0]}] or [{self.n}, {self.classes}]: "
                "solve for several right-hand sides one after the other"
            )
        rank = min(50, self.shape[0] // 4) if rank is None else rank
        precondition = nystrom_preconditioner(self, damping, rank) if rank else None
        flat = b.to(self.dtype).to(self.device).reshape(self.shape[0])
        return solve_damped(self, flat, damping, tolerance, max_steps, precondition).view(b.shape)

    def to_scipy(self) -> scipy.sparse.linalg.LinearOperator:
        """A view for SciPy's iterative methods; arrays cross over to the operator's device and back."""

        def matvec(v: np.ndarray) -> np.ndarray:
            return (self @ torch.from_numpy(np.asarray(v).reshape(-1).copy())).cpu().numpy()

        dtype = torch.empty(0, dtype=self.dtype).numpy().dtype
        return scipy.sparse.linalg.LinearOperator(self.shape, matvec=matvec, rmatvec=matvec, dtype=dtype)

    def _random(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.shape[0], generator=generator, dtype=torch.float64).to(self.device, self.dtype)


def _mean(values: Tensor) -> Estimate:
    count = len(values)
    return Estimate(float(values.mean()), float(values.std() / count**0.5) if count > 1 else float("inf"))
