"""Extreme eigenvalues of a Gram matrix, together with what the arithmetic can resolve."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.models.devices import in_float64
from ntkgap.one_line import line_of


def check_gram(gram: Tensor) -> Tensor:
    """Return a Gram matrix as it is if it is square, floating point and finite.

    Raises:
        KernelError: otherwise; a full kernel [n, n, C, C] is pointed to ``as_matrix``.
    """
    if gram.ndim == 4:
        raise KernelError(
            f"the kernel has shape {tuple(gram.shape)}; lay it out as a matrix with as_matrix(kernel) first"
        )
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.shape[0] == 0:
        raise KernelError(f"a Gram matrix is square, [n, n] with n ≥ 1; got shape {tuple(gram.shape)}")
    if not gram.is_floating_point():
        raise KernelError(f"a Gram matrix holds floating-point numbers, got {gram.dtype}")
    if not torch.isfinite(gram).all():
        raise KernelError(
            "the Gram matrix has NaN or infinite entries; the network's outputs or their gradients "
            "overflow at these parameters"
        )
    return gram


def check_symmetric(gram: Tensor, precision: torch.dtype | None = None) -> Tensor:
    """Return the symmetric part of a Gram matrix in float64; what is left out must be rounding.

    Args:
        gram: [n, n].
        precision: type of the arithmetic that made the entries, if coarser than the matrix's own type.

    Raises:
        KernelError: if the matrix is not square, not finite or not symmetric.
    """
    g = in_float64(check_gram(gram))
    asymmetry = float((g - g.T).abs().max())
    scale = float(g.abs().max())
    if asymmetry > 100 * len(g) * torch.finfo(precision or gram.dtype).eps * scale:
        raise KernelError(
            f"the matrix is not symmetric (entries differ by up to {asymmetry:.3g} at a scale of {scale:.3g}); "
            "a Gram matrix is the kernel of inputs with themselves"
        )
    return (g + g.T) / 2


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
