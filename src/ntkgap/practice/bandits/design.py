r"""What a neural bandit has learned about each direction of parameter space: Z = λI + Σ ggᵀ/m.

In full it is never formed: with s = mλ and the Gram matrix K of the seen gradients,

.. math:: \tfrac1m\, g^\top Z^{-1} g = \frac{k_{**} - k^\top (K + m\lambda I)^{-1} k}{m \lambda}

(Woodbury's identity). m = 1 in the NTK parametrization, where the 1/√m of the source is inside of the network: a
weight W = w/√m has ∂f/∂w = (∂f/∂W)/√m, so that Σ ggᵀ/m of the source is Σ ggᵀ here, and ½mλ‖W − W₀‖² is
½λ‖w − w₀‖². In the standard parametrization of the source m is the width.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from ntkgap.linalg import SequentialPosterior
from ntkgap.practice.bandits.gradients import FactoredGradients, GradientHistory


class Design(ABC):
    """The matrix Z, in one form or another.

    Args:
        regularization: λ > 0.
        width_factor: m.
    """

    def __init__(self, regularization: float, width_factor: float = 1.0) -> None:
        self.regularization, self.width_factor = regularization, width_factor

    @abstractmethod
    def squared_width(self, gradients: FactoredGradients) -> Tensor:
        """gᵀZ⁻¹g/m for K gradients: [K]."""

    @abstractmethod
    def take(self, gradients: FactoredGradients, row: int) -> None:
        """Z ← Z + ggᵀ/m with one of the gradients."""

    @abstractmethod
    def replace(self, gradients: FactoredGradients) -> None:
        """Z ← λI + Σ ggᵀ/m of all these instead."""

    @abstractmethod
    def log_determinant(self) -> float:
        """Log det Z/det λI."""


class FullDesign(Design):
    """All of Z, exactly, through the Gram matrix of the seen gradients.

    Source: Zhou, Li, Gu 2020, *Neural contextual bandits with UCB-based exploration*, Algorithm 1.
    """

    def __init__(self, regularization: float, width_factor: float = 1.0) -> None:
        super().__init__(regularization, width_factor)
        self.history = GradientHistory()
        self.posterior = SequentialPosterior(regularization * width_factor)
        self._asked: tuple[FactoredGradients, Tensor] | None = None

    def squared_width(self, gradients: FactoredGradients) -> Tensor:
        """gᵀZ⁻¹g/m for K gradients, t²K multiplications: [K]."""
        variance = self.posterior.variance(self._products(gradients), gradients.squared_norms())
        return variance / self.posterior.noise

    def take(self, gradients: FactoredGradients, row: int) -> None:
        """Z ← Z + ggᵀ/m; nothing is computed twice if these were the gradients last asked for."""
        cross = self._products(gradients)[:, row]
        self.posterior.append(cross, gradients.squared_norms()[row])
        self.history.append(gradients, row)
        self._asked = None

    def replace(self, gradients: FactoredGradients, gram: Tensor | None = None) -> None:
        """Z of all these instead, with their products if these are known: t³/3 multiplications."""
        self.history = GradientHistory.of(gradients)
        gram = gradients.products(gradients) if gram is None else gram
        self.posterior = SequentialPosterior.of_gram(gram, self.posterior.noise)
        self._asked = None

    def log_determinant(self) -> float:
        """Log det(I + K/(mλ)), kept up to date."""
        return self.posterior.log_determinant()

    def _products(self, gradients: FactoredGradients) -> Tensor:
        if self._asked is None or self._asked[0] is not gradients:
            self._asked = gradients, self.history.products(gradients)
        return self._asked[1]


class DiagonalDesign(Design):
    """Only the diagonal of Z, P numbers: what released code and bandit libraries keep."""

    def __init__(self, regularization: float, width_factor: float = 1.0) -> None:
        super().__init__(regularization, width_factor)
        self._diagonal: dict[str, Tensor] = {}  # flat, in the order of the gradients' entries

    def squared_width(self, gradients: FactoredGradients) -> Tensor:
        """Σ_p g_p²/Z_pp/m for K gradients: [K]."""
        inverse = {name: z.reciprocal() for name, z in self._diagonal_of(gradients).items()}
        return gradients.squared().along(inverse) / self.width_factor

    def take(self, gradients: FactoredGradients, row: int) -> None:
        """Z_pp ← Z_pp + g_p²/m."""
        self._add(gradients.rows(slice(row, row + 1)))

    def replace(self, gradients: FactoredGradients) -> None:
        """Z_pp = λ + Σ g_p²/m of all these instead."""
        self._diagonal = {}
        self._add(gradients)

    def log_determinant(self) -> float:
        """Σ_p log(Z_pp/λ)."""
        return sum(float((z / self.regularization).log().sum()) for z in self._diagonal.values())

    def _add(self, gradients: FactoredGradients) -> None:
        diagonal = self._diagonal_of(gradients)
        for name, (u, v) in gradients.squared().blocks.items():
            added = u.sum(0) if v is None else (u.mT @ v).flatten()
            diagonal[name].add_(added, alpha=1 / self.width_factor)

    def _diagonal_of(self, gradients: FactoredGradients) -> dict[str, Tensor]:
        for name, (u, v) in gradients.blocks.items():
            if name not in self._diagonal:
                entries = u.shape[1] * (1 if v is None else v.shape[1])
                self._diagonal[name] = u.new_full((entries,), self.regularization)
        return self._diagonal
