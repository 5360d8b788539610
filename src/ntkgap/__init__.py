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
        stream_of,
    )
    from ntkgap.kernels import (
        Evidence,
        JacobianChange,
        KernelChange,
        NTKOperator,
        as_matrix,
        empirical_ntk,
        infinite_width,
        infinite_width_monte_carlo,
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
    from ntkgap.practice.continual import (
        EWC,
        OGD,
        PCAOGD,
        AccuracyMatrix,
        Epochs,
        Joint,
        KernelTime,
        Replay,
        Steps,
        UntilAccuracy,
        import_accuracy_matrix,
        train_tasks,
    )
    from ntkgap.reporting import (
        report,
    )
    from ntkgap.studies import (
        ContinualStudy,
        OptimizationStudy,
        UncertaintyStudy,
        predict_tasks,
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
        SequentialRegression,
        critical_learning_rate,
        required_width,
        sequential_duals,
        task_overlap,
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
        "stream_of",
    ),
    "kernels": (
        "Evidence",
        "JacobianChange",
        "KernelChange",
        "NTKOperator",
        "as_matrix",
        "empirical_ntk",
        "infinite_width",
        "infinite_width_monte_carlo",
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
    "practice.continual": (
        "EWC",
        "OGD",
        "PCAOGD",
        "AccuracyMatrix",
        "Epochs",
        "Joint",
        "KernelTime",
        "Replay",
        "Steps",
        "UntilAccuracy",
        "import_accuracy_matrix",
        "train_tasks",
    ),
    "reporting": ("report",),
    "studies": (
        "ContinualStudy",
        "OptimizationStudy",
        "UncertaintyStudy",
        "predict_tasks",
    ),
    "sweep": (
        "Runs",
        "run",
    ),
    "theory": (
        "GaussianProcess",
        "InfiniteEnsemble",
        "KernelDynamics",
        "RandomizedPriorEnsemble",
        "SequentialRegression",
        "critical_learning_rate",
        "required_width",
        "sequential_duals",
        "task_overlap",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "EWC",
    "MLP",
    "OGD",
    "PCAOGD",
    "VGG",
    "AccuracyMatrix",
    "Antisymmetric",
    "ContinualStudy",
    "ConvNet",
    "Dataset",
    "Epochs",
    "Evidence",
    "GaussianProcess",
    "InfiniteEnsemble",
    "Initialization",
    "JacobianChange",
    "Joint",
    "KernelChange",
    "KernelDynamics",
    "KernelTime",
    "LinearizedLaplace",
    "NTKConv2d",
    "NTKLinear",
    "NTKOperator",
    "NtkgapError",
    "OptimizationStudy",
    "RandomizedPriorEnsemble",
    "Replay",
    "Runs",
    "Scaled",
    "SelfAttention",
    "SequentialRegression",
    "ShallowNet",
    "Steps",
    "Task",
    "TaskStream",
    "Transformer",
    "UncertaintyStudy",
    "UntilAccuracy",
    "WideResNet",
    "__version__",
    "as_matrix",
    "calibration",
    "classification_calibration",
    "coordinate_check",
    "critical_learning_rate",
    "describe",
    "empirical_ntk",
    "import_accuracy_matrix",
    "infinite_width",
    "infinite_width_monte_carlo",
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
    "predict_tasks",
    "relative_change",
    "report",
    "required_width",
    "run",
    "search_jacobian_change",
    "sequential_duals",
    "spectrum",
    "stream_of",
    "target_alignment",
    "task_overlap",
    "train",
    "train_ensemble",
    "train_tasks",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ntkgap' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ntkgap.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
