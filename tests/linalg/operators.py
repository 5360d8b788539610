"""A matrix that can only be multiplied with vectors, and counts how often it is."""

import torch

from ntkgap.linalg import SymmetricOperator


class Dense(SymmetricOperator):
    """Of a matrix [n·C, n·C] that is known, for comparison."""

    def __init__(self, matrix, classes=1):
        self.matrix, self.n, self.classes = matrix, len(matrix) // classes, classes
        self.dtype, self.device, self.products = matrix.dtype, matrix.device, 0

    def _apply(self, v):
        self.products += 1
        return (self.matrix @ v.reshape(-1)).view(self.n, self.classes)


class Indefinite(Dense):
    semidefinite = False


def with_eigenvalues(eigenvalues, seed=0):
    """A symmetric matrix with these eigenvalues and random eigenvectors, float64."""
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64, generator=generator)).Q
    made = (q * values) @ q.T
    return (made + made.T) / 2


def random_gram(size, rank, seed=0):
    j = torch.randn(size, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return j @ j.T
