"""The posterior of a linear model's weights, kept where it is smaller: over observations, or over parameters.

The model is ỹ = J w + ε, w ~ N(0, I/δ), ε ~ N(0, σ²I). Posterior mean and covariance depend on δ and σ² through
the ridge ρ = δσ² alone, but for a factor 1/δ of the covariance.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels import Evidence, Jacobian, as_matrix

# Rows of the largest matrix that is decomposed: twice as many take minutes and 13 GB.
LARGEST_MATRIX = 20_000

ROUTES = ("auto", "gram", "parameters")


class WeightPosterior(Protocol):
    """One decomposition, good for every ridge.

    Attributes:
        evidence: of every δ and σ².
    """

    evidence: Evidence

    def mean(self, ridge: float) -> dict[str, Tensor]:
        """Of w, by parameter: Jᵀ(JJᵀ + ρI)⁻¹ỹ = (JᵀJ + ρI)⁻¹Jᵀỹ."""
        ...

    def covariance(self, at: Jacobian, ridge: float) -> Tensor:
        """Of J(x) w in units of 1/δ, [kC, kC]: J(x) (I + JᵀJ/ρ)⁻¹ J(x)ᵀ."""
        ...


class GramPosterior:
    """From K = JJᵀ, [nC, nC]: the covariance is k** − k*ᵀ(K + ρI)⁻¹k*. J stays in factored form.

    Args:
        at: J of the training inputs.
        residual: ỹ, [n, C].
    """

    def __init__(self, at: Jacobian, residual: Tensor) -> None:
        self._at, self._residual = at, residual
        self.evidence = Evidence(as_matrix(at.gram()), residual.flatten())

    def mean(self, ridge: float) -> dict[str, Tensor]:
        """Of w, by parameter."""
        modes, along = self.evidence.modes, self.evidence.modes.T @ self._residual.flatten()
        weights = modes @ (along / (self.evidence.eigenvalues + ridge))
        return self._at.vjp(weights.view_as(self._residual))

    def covariance(self, at: Jacobian, ridge: float) -> Tensor:
        """Of J(x) w in units of 1/δ, [kC, kC]."""
        reach = as_matrix(at.gram(self._at)) @ self.evidence.modes
        return as_matrix(at.gram()) - (reach / (self.evidence.eigenvalues + ridge)) @ reach.T


class ParameterPosterior:
    """From JᵀJ, [P, P]: the covariance is ρ J(x)(JᵀJ + ρI)⁻¹J(x)ᵀ, in which nothing cancels.

    Args:
        at: J of the training inputs.
        residual: ỹ, [n, C].
        shapes: of the parameters, in the order of J.
    """

    def __init__(self, at: Jacobian, residual: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        features = at.matrix()
        self.evidence = Evidence.of_features(features, residual.flatten())
        eigenvalues, self._modes = torch.linalg.eigh(features.T @ features)
        self._eigenvalues = eigenvalues.clamp_min(0)
        self._along = self._modes.T @ (features.T @ residual.flatten())
        self._shapes = shapes

    def mean(self, ridge: float) -> dict[str, Tensor]:
        """Of w, by parameter."""
        flat = self._modes @ (self._along / (self._eigenvalues + ridge))
        parts = flat.split([shape.numel() for shape in self._shapes.values()])
        return {name: p.view(shape) for (name, shape), p in zip(self._shapes.items(), parts, strict=True)}

    def covariance(self, at: Jacobian, ridge: float) -> Tensor:
        """Of J(x) w in units of 1/δ, [kC, kC]."""
        reach = at.matrix() @ self._modes
        return (reach * (ridge / (self._eigenvalues + ridge))) @ reach.T


def weight_posterior(
    at: Jacobian, residual: Tensor, shapes: Mapping[str, torch.Size], route: str = "auto"
) -> WeightPosterior:
    """The posterior along the route asked for, or the cheaper one: over P parameters if P < n·C.

    Raises:
        KernelError: if the route is unknown, or its matrix too large to decompose.
    """
    if route not in ROUTES:
        raise KernelError(f"unknown route {route!r}; choose one of {', '.join(ROUTES)}")
    observations, parameters = residual.numel(), sum(shape.numel() for shape in shapes.values())
    if route == "auto":
        route = "parameters" if parameters < observations else "gram"
    size = parameters if route == "parameters" else observations
    if size > LARGEST_MATRIX:
        raise KernelError(
            f"route {route!r} decomposes a {size} × {size} matrix, more than {LARGEST_MATRIX} rows; take fewer "
            f"examples, or the other route (n·C = {observations}, P = {parameters})"
        )
    if route == "parameters":
        return ParameterPosterior(at, residual, shapes)
    return GramPosterior(at, residual)
