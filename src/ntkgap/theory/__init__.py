"""What the kernel regime predicts, computed from Gram matrices alone."""

from typing import TYPE_CHECKING

from ntkgap import names
from ntkgap.theory.block_triangular import forgotten_residuals, joint_duals, sequential_duals
from ntkgap.theory.descent import sgd_settings
from ntkgap.theory.exploration import ConstantExploration, InfiniteWidthExploration, ZhouExploration
from ntkgap.theory.finite_ensembles import EnsembleErrors, ensemble_errors, ensemble_floor, ensemble_moments
from ntkgap.theory.function_space import FunctionSpaceTraining, train_in_function_space
from ntkgap.theory.gaussian_process import GaussianProcess
from ntkgap.theory.gaussian_process_classifier import ClassPosterior, GaussianProcessClassifier
from ntkgap.theory.infinite_ensembles import InfiniteEnsemble, RandomizedPriorEnsemble
from ntkgap.theory.kernel_dynamics import KernelDynamics, critical_learning_rate
from ntkgap.theory.kernel_modes import KernelModes
from ntkgap.theory.natural_gradient_rates import (
    STABILITY_LIMIT,
    guaranteed_decay,
    largest_learning_rate,
    linearized_decay,
    stability_constant,
    theorem_radius,
)
from ntkgap.theory.orthogonal import forgetting_by_overlap, project_out, task_overlap
from ntkgap.theory.required_width import RequiredWidth, WidthBound, hidden_layer_limit, required_width
from ntkgap.theory.sequential import AppliedKernel, SequentialRegression

__all__ = [
    "STABILITY_LIMIT",
    "AppliedKernel",
    "ClassPosterior",
    "ConstantExploration",
    "EnsembleErrors",
    "FunctionSpaceTraining",
    "GaussianProcess",
    "GaussianProcessClassifier",
    "InfiniteEnsemble",
    "InfiniteWidthExploration",
    "KernelDynamics",
    "KernelModes",
    "RandomizedPriorEnsemble",
    "RequiredWidth",
    "SequentialRegression",
    "WidthBound",
    "ZhouExploration",
    "critical_learning_rate",
    "ensemble_errors",
    "ensemble_floor",
    "ensemble_moments",
    "forgetting_by_overlap",
    "forgotten_residuals",
    "guaranteed_decay",
    "hidden_layer_limit",
    "joint_duals",
    "largest_learning_rate",
    "linearized_decay",
    "project_out",
    "required_width",
    "sequential_duals",
    "sgd_settings",
    "stability_constant",
    "task_overlap",
    "theorem_radius",
    "train_in_function_space",
]

if not TYPE_CHECKING:  # type checkers are to see the names that are here
    __getattr__ = names.moved_out_of("theory")
