"""What the kernel regime predicts, computed from Gram matrices alone."""

from ntkgap.theory.ensembles import InfiniteEnsemble, RandomizedPriorEnsemble
from ntkgap.theory.exploration import ConstantExploration, InfiniteWidthExploration, ZhouExploration
from ntkgap.theory.finite_ensembles import EnsembleErrors, ensemble_errors, ensemble_floor
from ntkgap.theory.gaussian import Gaussian
from ntkgap.theory.gaussian_process import GaussianProcess
from ntkgap.theory.modes import KernelModes
from ntkgap.theory.natural_gradient import (
    STABILITY_LIMIT,
    guaranteed_decay,
    largest_learning_rate,
    linearised_decay,
    stability_constant,
    theorem_radius,
)
from ntkgap.theory.required_width import RequiredWidth, WidthBound, hidden_layer_limit, required_width
from ntkgap.theory.solves import PositiveFactor, positive_factor
from ntkgap.theory.training import KernelDynamics, critical_learning_rate

__all__ = [
    "STABILITY_LIMIT",
    "ConstantExploration",
    "EnsembleErrors",
    "Gaussian",
    "GaussianProcess",
    "InfiniteEnsemble",
    "InfiniteWidthExploration",
    "KernelDynamics",
    "KernelModes",
    "PositiveFactor",
    "RandomizedPriorEnsemble",
    "RequiredWidth",
    "WidthBound",
    "ZhouExploration",
    "critical_learning_rate",
    "ensemble_errors",
    "ensemble_floor",
    "guaranteed_decay",
    "hidden_layer_limit",
    "largest_learning_rate",
    "linearised_decay",
    "positive_factor",
    "required_width",
    "stability_constant",
    "theorem_radius",
]
