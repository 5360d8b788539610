"""Does neural tangent kernel theory describe your network?

``ntkgap`` computes what the kernel regime predicts, measures what the finite network does, and puts the two
side by side over width, with a verdict for each promise of the theory.
"""

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

from ntkgap import names
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
        empirical_ntk_to_file,
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
    from ntkgap.practice.monitor import (
        Monitor,
        compare_checkpoints,
    )
    from ntkgap.reporting import (
        Diagnosis,
        diagnose,
        report,
    )
    from ntkgap.results import (
        Runs,
        compare_runs,
        decide,
        merge_runs,
        run,
    )
    from ntkgap.studies import (
        BaseProblem,
        BaseStudy,
        Claim,
        ContinualStudy,
        CurveFigure,
        DiagnosisStudy,
        Findings,
        OptimizationStudy,
        Table,
        UncertaintyStudy,
        WidthFigure,
        find_study,
        predict_tasks,
    )
    from ntkgap.sweep.engines.dask import DaskEngine
    from ntkgap.theory import (
        FunctionSpaceTraining,
        GaussianProcess,
        GaussianProcessClassifier,
        InfiniteEnsemble,
        KernelDynamics,
        RandomizedPriorEnsemble,
        SequentialRegression,
        critical_learning_rate,
        required_width,
        sequential_duals,
        sgd_settings,
        task_overlap,
        train_in_function_space,
    )

__version__ = "0.1.0"

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
        "JacobianChange",
        "KernelChange",
        "NTKOperator",
        "empirical_ntk",
        "empirical_ntk_to_file",
        "infinite_width",
        "infinite_width_monte_carlo",
        "kernel_distance",
        "monte_carlo_kernel",
        "plan_ntk",
        "relative_change",
        "target_alignment",
    ),
    "linalg": ("Evidence", "as_matrix", "spectrum"),
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
    "practice.monitor": (
        "Monitor",
        "compare_checkpoints",
    ),
    "reporting": (
        "Diagnosis",
        "diagnose",
        "report",
    ),
    "results": (
        "Runs",
        "compare_runs",
        "decide",
        "merge_runs",
        "run",
    ),
    "studies": (
        "BaseProblem",
        "BaseStudy",
        "Claim",
        "ContinualStudy",
        "CurveFigure",
        "DiagnosisStudy",
        "Findings",
        "OptimizationStudy",
        "Table",
        "UncertaintyStudy",
        "WidthFigure",
        "find_study",
        "predict_tasks",
    ),
    "sweep.engines.dask": ("DaskEngine",),
    "theory": (
        "FunctionSpaceTraining",
        "GaussianProcess",
        "GaussianProcessClassifier",
        "InfiniteEnsemble",
        "KernelDynamics",
        "RandomizedPriorEnsemble",
        "SequentialRegression",
        "critical_learning_rate",
        "required_width",
        "sequential_duals",
        "sgd_settings",
        "task_overlap",
        "train_in_function_space",
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
    "BaseProblem",
    "BaseStudy",
    "Claim",
    "ContinualStudy",
    "ConvNet",
    "CurveFigure",
    "DaskEngine",
    "Dataset",
    "Diagnosis",
    "DiagnosisStudy",
    "Epochs",
    "Evidence",
    "Findings",
    "FunctionSpaceTraining",
    "GaussianProcess",
    "GaussianProcessClassifier",
    "InfiniteEnsemble",
    "Initialization",
    "JacobianChange",
    "Joint",
    "KernelChange",
    "KernelDynamics",
    "KernelTime",
    "LinearizedLaplace",
    "Monitor",
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
    "Table",
    "Task",
    "TaskStream",
    "Transformer",
    "UncertaintyStudy",
    "UntilAccuracy",
    "WideResNet",
    "WidthFigure",
    "__version__",
    "as_matrix",
    "calibration",
    "classification_calibration",
    "compare_checkpoints",
    "compare_runs",
    "coordinate_check",
    "critical_learning_rate",
    "decide",
    "describe",
    "diagnose",
    "empirical_ntk",
    "empirical_ntk_to_file",
    "find_study",
    "import_accuracy_matrix",
    "infinite_width",
    "infinite_width_monte_carlo",
    "kernel_distance",
    "kfac_descent",
    "linearize",
    "load_data",
    "load_stream",
    "merge_runs",
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
    "sgd_settings",
    "spectrum",
    "stream_of",
    "target_alignment",
    "task_overlap",
    "train",
    "train_ensemble",
    "train_in_function_space",
    "train_tasks",
    "tune",
]


# Packages whose names are public but not repeated here.
_MORE_PACKAGES = ("practice.bandits",)


def __getattr__(name: str) -> Any:
    if name in names.RENAMED:
        new = names.RENAMED[name]
        warnings.warn(f"ntkgap.{name} is now ntkgap.{new}; the old name will go", DeprecationWarning, stacklevel=2)
        name = new
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"ntkgap.{_HOME_OF[name]}"), name)
    if importlib.util.find_spec(f"ntkgap.{name}"):  # a module of the package, such as ng.theory
        return importlib.import_module(f"ntkgap.{name}")
    raise AttributeError(names.unknown(name, __all__, (*_HOMES, *_MORE_PACKAGES)))


def __dir__() -> list[str]:
    return sorted(__all__)
