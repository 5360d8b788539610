"""The posterior of a linear model's weights, kept where it is smaller: over observations, or over parameters.

The model is ỹ = R J w + ε, w ~ N(0, I/δ), ε ~ N(0, σ²I), with R of every example the root of its likelihood's
curvature: the identity for noise that all outputs share. Posterior mean and covariance depend on δ and σ² through
the ridge ρ = δσ² alone, but for a factor 1/δ of the covariance. Below J stands for R J, k* for J(x)(R J)ᵀ.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels import Jacobian, jacobian
from ntkgap.kernels.empirical.differentiable import differentiable_jacobian
from ntkgap.kernels.empirical.recipe import Recipe
from ntkgap.linalg import Evidence, as_matrix

# Rows of the largest matrix that is decomposed: twice as many take minutes and 13 GB.
LARGEST_MATRIX = 20_000

ROUTES = ("auto", "gram", "parameters")


class WeightPosterior(Protocol):
    """One decomposition, good for every ridge.

    Attributes:
        evidence: of every δ and σ², of ỹ as it is given.
    """

    evidence: Evidence

    def mean(self, ridge: float) -> dict[str, Tensor]:
        """Of w, by parameter: Jᵀ(JJᵀ + ρI)⁻¹ỹ = (JᵀJ + ρI)⁻¹Jᵀỹ."""
        ...

    def covariance(self, at: Jacobian, ridge: float) -> Tensor:
        """Of J(x) w in units of 1/δ, [kC, kC]: J(x) (I + JᵀJ/ρ)⁻¹ J(x)ᵀ."""
        ...

    def covariance_of(self, rows: Tensor, ridge: float) -> Tensor:
        """The same for J(x) written out, [kC, P], differentiable in it."""
        ...


class GramPosterior:
    """From K = JJᵀ, [nC, nC]: the covariance is k** − k*ᵀ(K + ρI)⁻¹k*. J stays in factored form.

    Args:
        at: J(x) of the training inputs.
        residual: ỹ, [n, C].
        root: R, [n, C, C]; None for the identity.
    """

    def __init__(self, at: Jacobian, residual: Tensor, root: Tensor | None = None) -> None:
        self._at, self._residual, self._root = at, residual, root
        gram = at.gram()
        if root is not None:
            gram = torch.einsum("iab,ijbd,jcd->ijac", root, gram, root)
            gram = (gram + gram.permute(1, 0, 3, 2)) / 2
        self.evidence = Evidence(as_matrix(gram), residual.flatten())

    def mean(self, ridge: float) -> dict[str, Tensor]:
        """Of w, by parameter."""
        modes, along = self.evidence.modes, self.evidence.modes.T @ self._residual.flatten()
        weights = (modes @ (along / (self.evidence.eigenvalues + ridge))).view_as(self._residual)
        return self._at.vjp(weights if self._root is None else torch.einsum("iba,ib->ia", self._root, weights))

    def covariance(self, at: Jacobian, ridge: float) -> Tensor:
        """Of J(x) w in units of 1/δ, [kC, kC]."""
        cross = at.gram(self._at)
        if self._root is not None:
            cross = torch.einsum("kjad,jcd->kjac", cross, self._root)
        return self._reduced(as_matrix(at.gram()), as_matrix(cross), ridge)

    def covariance_of(self, rows: Tensor, ridge: float) -> Tensor:
        """Of J(x) w for J(x) written out; J of the training inputs is written out, too."""
        features = rooted(self._at.matrix(), self._root)
        return self._reduced(rows @ rows.T, rows @ features.T, ridge)

    def _reduced(self, prior: Tensor, cross: Tensor, ridge: float) -> Tensor:
        reach = cross @ self.evidence.modes
        return prior - (reach / (self.evidence.eigenvalues + ridge)) @ reach.T


class ParameterPosterior:
    """From JᵀJ, [P, P]: the covariance is ρ J(x)(JᵀJ + ρI)⁻¹J(x)ᵀ, in which nothing cancels.

    Args:
        at: J(x) of the training inputs.
        residual: ỹ, [n, C].
        shapes: of the parameters, in the order of J.
        root: R, [n, C, C]; None for the identity.
    """

    def __init__(
        self, at: Jacobian, residual: Tensor, shapes: Mapping[str, torch.Size], root: Tensor | None = None
    ) -> None:
        features = rooted(at.matrix(), root)
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
        return self.covariance_of(at.matrix(), ridge)

    def covariance_of(self, rows: Tensor, ridge: float) -> Tensor:
        """Of J(x) w for J(x) written out."""
        reach = rows @ self._modes
        return (reach * (ridge / (self._eigenvalues + ridge))) @ reach.T


def rooted(rows: Tensor, root: Tensor | None) -> Tensor:
    """R J for J [nC, P]."""
    if root is None:
        return rows
    n, c, _ = root.shape
    return torch.einsum("iab,ibp->iap", root, rows.view(n, c, -1)).reshape(n * c, -1)


def weight_posterior(
    at: Jacobian,
    residual: Tensor,
    shapes: Mapping[str, torch.Size],
    route: str = "auto",
    root: Tensor | None = None,
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
        return ParameterPosterior(at, residual, shapes, root)
    return GramPosterior(at, residual, root)


def moments(
    model: nn.Module,
    points: Tensor,
    step: Mapping[str, Tensor],
    posterior: WeightPosterior,
    ridge: float,
    recipe: Recipe | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the outputs at k points, of a network whose parameters have this posterior.

    Args:
        model: the network, at θ.
        points: inputs, [k, ...]; if they require grad, what is returned has a graph to them.
        step: θ_MAP − θ.
        posterior: of the parameters.
        ridge: δσ².
        recipe: of an earlier Jacobian at such inputs, if there is one.

    Returns:
        f(x; θ) and f(x; θ) + J(x)(θ_MAP − θ), [k, C], and the covariance of f in units of 1/δ, [k, C, k, C].
    """
    if points.requires_grad and torch.is_grad_enabled():
        outputs, rows = differentiable_jacobian(model, points, torch.float64)
        moved = rows @ torch.cat([step[name].flatten() for name in step])
        spread = posterior.covariance_of(rows.flatten(0, 1), ridge)
    else:
        at = jacobian(model, points, dtype=torch.float64, recipe=recipe)
        outputs, moved = at.outputs, at.jvp(step)
        spread = posterior.covariance(at, ridge)
    spread = (spread + spread.T) / 2
    # A variance is known up to rounding of k**; where almost nothing is left of it, that may be below 0.
    spread = spread - torch.diag(spread.diagonal().clamp(max=0))
    return outputs, outputs + moved, spread.view(*outputs.shape, *outputs.shape)
