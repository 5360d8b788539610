"""Does neural tangent kernel theory describe your network?

``ntkgap`` computes what the kernel regime predicts, measures what the finite network does, and puts the two
side by side over width, with a verdict for each promise of the theory.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ntkgap.errors import NtkgapError

if TYPE_CHECKING:
    from ntkgap.data import (
        Dataset,
        Task,
        TaskStream,
        load_data,
        load_stream,
    )
    from ntkgap.kernels import (
        Evidence,
        JacobianChange,
        KernelChange,
        NTKOperator,
        as_matrix,
        empirical_ntk,
        infinite_width,
        kernel_distance,
        monte_carlo_kernel,
        plan_ntk,
        relative_change,
        spectrum,
        target_alignment,
    )
    from ntkgap.models import (
        MLP,
        VGG,
        Antisymmetric,
        ConvNet,
        Initialization,
        NTKConv2d,
        NTKLinear,
        Scaled,
        SelfAttention,
        ShallowNet,
        Transformer,
        WideResNet,
        describe,
        parameter_groups,
    )
    from ntkgap.practice import (
        LinearizedLaplace,
        calibration,
        classification_calibration,
        coordinate_check,
        kfac_descent,
        linearize,
        natural_gradient_descent,
        online_laplace,
        search_jacobian_change,
        train,
        train_ensemble,
        tune,
    )
    from ntkgap.reporting import (
        report,
    )
    from ntkgap.studies import (
        OptimizationStudy,
        UncertaintyStudy,
    )
    from ntkgap.sweep import (
        Runs,
        run,
    )
    from ntkgap.theory import (
        GaussianProcess,
        InfiniteEnsemble,
        KernelDynamics,
        RandomizedPriorEnsemble,
        critical_learning_rate,
        required_width,
    )

__version__ = "0.1.0.dev0"

# Public names are imported on first use: `ntkgap --help` then answers at once, without loading torch.
_HOMES = {
    "data": (
        "Dataset",
        "Task",
        "TaskStream",
        "load_data",
        "load_stream",
    ),
    "kernels": (
        "Evidence",
        "JacobianChange",
        "KernelChange",
        "NTKOperator",
        "as_matrix",
        "empirical_ntk",
        "infinite_width",
        "kernel_distance",
        "monte_carlo_kernel",
        "plan_ntk",
        "relative_change",
        "spectrum",
        "target_alignment",
    ),
    "models": (
        "MLP",
        "VGG",
        "Antisymmetric",
        "ConvNet",
        "Initialization",
        "NTKConv2d",
        "NTKLinear",
        "Scaled",
        "SelfAttention",
        "ShallowNet",
        "Transformer",
        "WideResNet",
        "describe",
        "parameter_groups",
    ),
    "practice": (
        "LinearizedLaplace",
        "calibration",
        "classification_calibration",
        "coordinate_check",
        "kfac_descent",
        "linearize",
        "natural_gradient_descent",
        "online_laplace",
        "search_jacobian_change",
        "train",
        "train_ensemble",
        "tune",
    ),
    "reporting": ("report",),
    "studies": ("OptimizationStudy", "UncertaintyStudy"),
    "sweep": (
        "Runs",
        "run",
    ),
    "theory": (
        "GaussianProcess",
        "InfiniteEnsemble",
        "KernelDynamics",
        "RandomizedPriorEnsemble",
        "critical_learning_rate",
        "required_width",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MLP",
    "VGG",
    "Antisymmetric",
    "ConvNet",
    "Dataset",
    "Evidence",
    "GaussianProcess",
    "InfiniteEnsemble",
    "Initialization",
    "JacobianChange",
    "KernelChange",
    "KernelDynamics",
    "LinearizedLaplace",
    "NTKConv2d",
    "NTKLinear",
    "NTKOperator",
    "NtkgapError",
    "OptimizationStudy",
    "RandomizedPriorEnsemble",
    "Runs",
    "Scaled",
    "SelfAttention",
    "ShallowNet",
    "Task",
    "TaskStream",
    "Transformer",
    "UncertaintyStudy",
    "WideResNet",
    "__version__",
    "as_matrix",
    "calibration",
    "classification_calibration",
    "coordinate_check",
    "critical_learning_rate",
    "describe",
    "empirical_ntk",
    "infinite_width",
    "kernel_distance",
    "kfac_descent",
    "linearize",
    "load_data",
    "load_stream",
    "monte_carlo_kernel",
    "natural_gradient_descent",
    "online_laplace",
    "parameter_groups",
    "plan_ntk",
    "relative_change",
    "report",
    "required_width",
    "run",
    "search_jacobian_change",
    "spectrum",
    "target_alignment",
    "train",
    "train_ensemble",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ntkgap' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ntkgap.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
