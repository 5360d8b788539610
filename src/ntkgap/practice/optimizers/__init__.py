"""Natural gradient descent, exact and with Kronecker factors; and the search for a large change of Jacobian."""

from ntkgap.practice.optimizers.jacobian_search import JacobianSearch, search_jacobian_change
from ntkgap.practice.optimizers.kfac import kfac_descent
from ntkgap.practice.optimizers.natural_gradient import NaturalGradientCurve, natural_gradient_descent

__all__ = [
    "JacobianSearch",
    "NaturalGradientCurve",
    "kfac_descent",
    "natural_gradient_descent",
    "search_jacobian_change",
]
