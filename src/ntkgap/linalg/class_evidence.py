"""The Laplace approximation of the evidence of a classifier, for every prior precision."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.evidence import DECADES, DISTINCT, Range
from ntkgap.one_line import one_line


@dataclass(frozen=True)
class PrecisionMaximum:
    """Where the evidence of a classifier is greatest.

    Attributes:
        prior_precision: δ.
        log_evidence: the logarithm of the evidence there.
        at_edge: whether δ lies on one of its bounds, or might as well (the evidence there is lower by less than
            0.001 nats): the data alone did not choose it.
    """

    prior_precision: float
    log_evidence: float
    at_edge: bool

    __repr__ = one_line


class ClassEvidence:
    r"""Evidence of a classifier by Laplace's approximation around its parameters θ.

    .. math:: \log p(D \mid \delta) \approx \log p(D \mid \theta)
              - \tfrac{\delta}{2} \lVert \theta - \theta_{\mathrm{prior}} \rVert^2
              - \tfrac12 \log\det(I + R K R^\top / \delta)

    with S = RᵀR the curvature of the likelihood. It is concave in log δ: its derivative there,
    ½Σκ/(κ + δ) − ½δ‖θ − θ_prior‖² with κ the eigenvalues of RKRᵀ, falls in δ. So there is one maximum.
    Source: MacKay 1992, *The evidence framework applied to classification networks*; Immer et al. 2021.

    Args:
        log_likelihood: log p(D | θ).
        eigenvalues: κ, those of zero may be left out.
        squared_distance: ‖θ − θ_prior‖².
    """

    def __init__(self, log_likelihood: float, eigenvalues: Tensor, squared_distance: float) -> None:
        self._value, self._distance = log_likelihood, squared_distance
        self._kappa: np.ndarray = eigenvalues.cpu().numpy()

    def log_evidence(self, prior_precision: float) -> float:
        """Logarithm of the evidence of δ, in nats."""
        complexity = float(np.log1p(self._kappa / prior_precision).sum())
        return self._value - 0.5 * (prior_precision * self._distance + complexity)

    def slope(self, prior_precision: float) -> float:
        """Derivative with respect to log δ."""
        decided = float((self._kappa / (self._kappa + prior_precision)).sum())
        return 0.5 * (decided - prior_precision * self._distance)

    def maximum(self, bounds: Range | None = None) -> PrecisionMaximum:
        """The δ of the greatest evidence.

        Args:
            bounds: of δ; without them the one maximum there is.

        Raises:
            KernelError: if the bounds are no two numbers 0 < low < high < ∞.
        """
        low, high = self._bracket() if bounds is None else _range(bounds)
        best = _where_it_falls_to_zero(lambda log: self.slope(math.exp(log)), math.log(low), math.log(high))
        delta, greatest = math.exp(best), self.log_evidence(math.exp(best))
        bounded = bounds is not None or self._distance == 0 or not self._kappa.any()
        near = max(self.log_evidence(low), self.log_evidence(high)) > greatest - DISTINCT
        return PrecisionMaximum(delta, greatest, bounded and near)

    def _bracket(self) -> Range:
        """Around the maximum; eight decades either way of 1 where the evidence has none."""
        largest, total = float(self._kappa.max(initial=0.0)), float(self._kappa.sum())
        if self._distance == 0 or largest == 0:
            return 10.0**-DECADES, 10.0**DECADES
        # Below `low` data decide half a parameter at least and the prior less; above `high` it is the other way.
        low = min(largest, 0.5 / self._distance)
        return low, max(2 * low, math.sqrt(total / self._distance))


def _where_it_falls_to_zero(slope: Callable[[float], float], low: float, high: float) -> float:
    """Of a falling function; the end beyond which it would if it does not within the limits."""
    if slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    return float(brentq(slope, low, high, xtol=1e-12))


def _range(bounds: object) -> Range:
    try:
        low, high = (float(end) for end in bounds)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low = high = math.nan
    if not 0 < low < high < math.inf:
        raise KernelError(
            f"bounds of a classifier must be one pair of numbers, of prior_precision: (low, high) with "
            f"0 < low < high < ∞; got {bounds!r}"
        )
    return low, high
