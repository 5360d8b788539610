"""Kernels of several outputs: one matrix that all outputs share, or one of all pairs of outputs."""

from dataclasses import dataclass

from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import array, gram_matrix
from ntkgap.one_line import one_line


@dataclass(frozen=True)
class OutputKernel:
    """K(X, X) for functions of n examples and C outputs, and the products with it that training needs.

    Attributes:
        matrix: [n, n] if outputs are independent of each other and share it, as at infinite width; else [nC, nC]
            in the layout of ``as_matrix``. float64, symmetric.
        n: examples.
        outputs: C.
    """

    matrix: Tensor
    n: int
    outputs: int

    __repr__ = one_line

    @classmethod
    def of(cls, gram: Tensor, n: int, outputs: int) -> "OutputKernel":
        """The kernel of n examples that this matrix is.

        Raises:
            KernelError: if it is not square, finite and symmetric, or fits neither layout.
        """
        if not isinstance(gram, Tensor):
            raise KernelError(f"the Gram matrix must be a tensor, got {type(gram).__name__}")
        matrix = gram_matrix(gram.detach(), "the Gram matrix")
        if len(matrix) not in (n, n * outputs):
            raise KernelError(
                f"the Gram matrix must have shape ({n * outputs}, {n * outputs}), or ({n}, {n}) if outputs share "
                f"one kernel, for outputs of shape (..., {n}, {outputs}); got {tuple(gram.shape)}"
            )
        return cls(matrix, n, outputs)

    @property
    def shared(self) -> bool:
        """Whether it is one matrix for every output."""
        return len(self.matrix) == self.n

    def times(self, values: Tensor, rows: Tensor | slice) -> Tensor:
        """K(X, X_rows) v, [D, b, C] -> [D, n, C]."""
        whole = isinstance(rows, slice)
        if self.shared:
            return _shared(self.matrix if whole else self.matrix[rows].T, values)
        if whole:
            return _full(self.matrix, values)
        blocks = self.matrix.view(self.n, self.outputs, -1)  # as K is symmetric, its rows are its columns
        return _full(blocks[rows].flatten(0, 1).T, values)

    def columns(self, values: Tensor) -> Tensor:
        """Functions [D, n, C] as columns that the matrix can be multiplied with, [n, DC] or [nC, D]."""
        return values.permute(1, 0, 2).flatten(1) if self.shared else values.flatten(1).T

    def cross(self, matrix: Tensor, points: int) -> "CrossKernel":
        """K(x, X) in the same layout.

        Raises:
            KernelError: if it has another shape, or entries that are not finite.
        """
        if not isinstance(matrix, Tensor):
            raise KernelError(f"the cross kernel must be a tensor, got {type(matrix).__name__}")
        if matrix.ndim == 4:
            raise KernelError(
                f"the cross kernel has shape {tuple(matrix.shape)}; lay it out as a matrix with as_matrix(kernel)"
            )
        k = 1 if self.shared else self.outputs
        found = array(matrix.detach(), "the cross kernel", (points * k, self.n * k))
        return CrossKernel(found.to(self.matrix.device), self.shared)


@dataclass(frozen=True)
class CrossKernel:
    """K(x, X), [k, n] or [kC, nC]."""

    matrix: Tensor
    shared: bool

    def times(self, values: Tensor) -> Tensor:
        """K(x, X) v, [..., n, C] -> [..., k, C]."""
        flat = values.reshape(-1, *values.shape[-2:])
        found = _shared(self.matrix, flat) if self.shared else _full(self.matrix, flat)
        return found.reshape(*values.shape[:-2], *found.shape[1:])


def _shared(matrix: Tensor, values: Tensor) -> Tensor:
    """One product for all functions and outputs: [k, b] with [D, b, C] -> [D, k, C]."""
    product = matrix @ values.permute(1, 0, 2).flatten(1)
    return product.unflatten(1, (len(values), values.shape[2])).permute(1, 0, 2)


def _full(matrix: Tensor, values: Tensor) -> Tensor:
    """[kC, bC] with [D, b, C] -> [D, k, C]."""
    return (values.flatten(1) @ matrix.T).unflatten(1, (-1, values.shape[2]))
