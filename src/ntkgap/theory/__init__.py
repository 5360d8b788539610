"""What the kernel regime predicts, computed from Gram matrices alone."""

from ntkgap.theory.natural_gradient import (
    STABILITY_LIMIT,
    guaranteed_decay,
    largest_learning_rate,
    linearised_decay,
    stability_constant,
    theorem_radius,
)
from ntkgap.theory.training import KernelDynamics, critical_learning_rate

__all__ = [
    "STABILITY_LIMIT",
    "KernelDynamics",
    "critical_learning_rate",
    "guaranteed_decay",
    "largest_learning_rate",
    "linearised_decay",
    "stability_constant",
    "theorem_radius",
]
