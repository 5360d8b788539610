"""Extreme eigenvalues of a Gram matrix, together with what the arithmetic can resolve."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import check_symmetric
from ntkgap.linalg.rounding import noise_floor
from ntkgap.one_line import line_of


@dataclass(frozen=True, repr=False)
class Spectrum:
    """Eigenvalues of a symmetric Gram matrix and the noise floor below which they mean nothing.

    Attributes:
        eigenvalues: κ in ascending order, [n], float64.
        noise_floor: max(n, √p) · ε · κ_max, the size of the error of an eigenvalue, with ε the unit of the
            arithmetic the matrix was computed in and p the number of terms in the sums that made its entries.
    """

    eigenvalues: Tensor
    noise_floor: float

    def __repr__(self) -> str:
        n, sure = len(self.eigenvalues), self.positive_definite
        least = {"lambda_min": self.lambda_min, "noise_floor": self.noise_floor}
        return line_of(self, n=n, **least, positive_definite=sure, lambda_max=self.lambda_max)

    @property
    def lambda_min(self) -> float:
        """Smallest eigenvalue as computed; compare with ``noise_floor`` before you trust it."""
        return float(self.eigenvalues[0])

    @property
    def lambda_max(self) -> float:
        """Largest eigenvalue."""
        return float(self.eigenvalues[-1])

    @property
    def positive_definite(self) -> bool | None:
        """True if λ_min is above the noise floor, None (inconclusive) if it is not.

        A Gram matrix has no negative eigenvalue, so arithmetic alone never shows that it is singular:
        an eigenvalue below the floor may be zero or merely small.
        """
        return True if self.lambda_min > self.noise_floor else None

    @property
    def condition_number(self) -> float:
        """κ_max / κ_min, or NaN where κ_min is below the noise floor."""
        return self.lambda_max / self.lambda_min if self.positive_definite else float("nan")

    @cached_property
    def effective_rank(self) -> float:
        """Exp of the entropy of the eigenvalues' shares, 1 … n (Roy, Vetterli 2007)."""
        shares = self.eigenvalues.clamp_min(0)
        shares = shares / shares.sum()
        return float(torch.special.entr(shares).sum().exp())


def spectrum(gram: Tensor, precision: torch.dtype | None = None, *, terms: int = 1) -> Spectrum:
    r"""Eigenvalues of a Gram matrix with the noise floor :math:`\max(n, \sqrt p)\,\varepsilon\,\kappa_{\max}`.

    The floor is for the errors of decomposing the matrix, nεκ_max, and of forming it. A sum of p products is off
    by about √p ε of its size (Higham, Mary 2019), so that with p ≤ n² terms the first error covers the second.
    Kernels of this package are built from sums as long as layers are wide, but J Jᵀ from rows of J has as many
    terms as there are parameters: in float32 that must be said.

    Args:
        gram: symmetric, [n, n]; of a kernel with several outputs the layout of ``as_matrix``.
        precision: type of the arithmetic in which the entries were computed, if it was coarser than the
            matrix's own type (for example a float32 kernel that was cast to float64).
        terms: p, length of the longest sum behind an entry.

    Raises:
        KernelError: if the matrix is not square, not finite or not symmetric, or ``terms`` is not a positive
            integer.

    Example:
        >>> print(ng.spectrum(torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))))
        Spectrum(n=2, lambda_min=1, noise_floor=1.332e-15, positive_definite=True, lambda_max=3)
    """
    if isinstance(terms, bool) or not isinstance(terms, int) or terms < 1:
        raise KernelError(f"terms must be an integer of at least 1, got {terms!r}")
    precision = precision or gram.dtype
    g = check_symmetric(gram, precision)
    eigenvalues = torch.linalg.eigvalsh(g)
    floor = max(len(g), terms**0.5) * torch.finfo(precision).eps * float(eigenvalues.abs().max())
    return Spectrum(eigenvalues, floor)


def eigenpairs(symmetric: Tensor, precision: torch.dtype, name: str) -> tuple[Tensor, Tensor, float]:
    """Eigenvalues κ ≥ 0 of a positive semidefinite matrix, its eigenvectors, and the noise floor φ.

    Args:
        symmetric: [n, n], float64.
        precision: type of the arithmetic that made the entries.
        name: of the matrix, for the message.

    Returns:
        κ ascending, [n], what rounding made negative set to 0; the eigenvectors in the columns, [n, n]; and φ as
        ``noise_floor`` has it.

    Raises:
        KernelError: if an eigenvalue is negative far beyond rounding.
    """
    eigenvalues, vectors = torch.linalg.eigh(symmetric)
    largest = float(eigenvalues.abs().max())
    if float(eigenvalues[0]) < -100 * len(symmetric) * torch.finfo(precision).eps * largest:
        raise KernelError(
            f"{name} has the eigenvalue {float(eigenvalues[0]):.3g}, far below what rounding makes of zero; a "
            "Gram matrix of a kernel is positive semidefinite. If it was computed in a coarser type and cast, "
            "compute it in float64"
        )
    return eigenvalues.clamp_min(0), vectors, noise_floor(eigenvalues, len(symmetric), precision)
