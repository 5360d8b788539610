"""Natural gradient descent and its relatives, and settings of any optimizer chosen by what they reach."""

from ntkgap.practice import LogarithmicGrid, Trial, Tuning, final_loss, mean_loss, tune
from ntkgap.practice.optimizers import (
    JacobianSearch,
    NaturalGradientCurve,
    kfac_descent,
    natural_gradient_descent,
    search_jacobian_change,
)

__all__ = [
    "JacobianSearch",
    "LogarithmicGrid",
    "NaturalGradientCurve",
    "Trial",
    "Tuning",
    "final_loss",
    "kfac_descent",
    "mean_loss",
    "natural_gradient_descent",
    "search_jacobian_change",
    "tune",
]
