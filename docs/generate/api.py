"""The API reference: pages by topic, each name documented by its docstring."""

import importlib
import inspect

from ntkgap.practice import bandits

TOPICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "kernels": (
        "Kernels of your network",
        (
            "empirical_ntk",
            "empirical_ntk_to_file",
            "plan_ntk",
            "NTKOperator",
            "JacobianChange",
            "KernelChange",
            "as_matrix",
            "spectrum",
            "kernel_distance",
            "relative_change",
            "target_alignment",
            "linearize",
        ),
    ),
    "infinite_width": (
        "Infinite width",
        ("infinite_width", "infinite_width_monte_carlo", "monte_carlo_kernel", "Initialization"),
    ),
    "predictions": (
        "Predictions of the kernel regime",
        (
            "InfiniteEnsemble",
            "RandomizedPriorEnsemble",
            "GaussianProcess",
            "GaussianProcessClassifier",
            "Evidence",
            "KernelDynamics",
            "train_in_function_space",
            "FunctionSpaceTraining",
            "sgd_settings",
            "critical_learning_rate",
            "required_width",
        ),
    ),
    "training": (
        "Training and optimizers",
        (
            "train",
            "train_ensemble",
            "tune",
            "natural_gradient_descent",
            "kfac_descent",
            "search_jacobian_change",
            "coordinate_check",
            "parameter_groups",
        ),
    ),
    "monitoring": (
        "Diagnosis and monitoring",
        ("diagnose", "Diagnosis", "DiagnosisStudy", "Monitor", "compare_checkpoints"),
    ),
    "uncertainty": (
        "Uncertainty",
        ("LinearizedLaplace", "online_laplace", "calibration", "classification_calibration"),
    ),
    "continual": (
        "Continual learning",
        (
            "load_stream",
            "stream_of",
            "Task",
            "TaskStream",
            "train_tasks",
            "predict_tasks",
            "Steps",
            "Epochs",
            "KernelTime",
            "UntilAccuracy",
            "Joint",
            "Replay",
            "EWC",
            "OGD",
            "PCAOGD",
            "AccuracyMatrix",
            "import_accuracy_matrix",
            "SequentialRegression",
            "sequential_duals",
            "task_overlap",
        ),
    ),
    "models": (
        "Data and networks",
        (
            "load_data",
            "Dataset",
            "MLP",
            "ShallowNet",
            "ConvNet",
            "VGG",
            "WideResNet",
            "Transformer",
            "NTKLinear",
            "NTKConv2d",
            "SelfAttention",
            "Scaled",
            "Antisymmetric",
            "describe",
        ),
    ),
    "studies": (
        "Studies, sweeps and reports",
        (
            "run",
            "decide",
            "Runs",
            "compare_runs",
            "merge_runs",
            "DaskEngine",
            "report",
            "OptimizationStudy",
            "UncertaintyStudy",
            "ContinualStudy",
            "BaseStudy",
            "BaseProblem",
            "find_study",
            "Findings",
            "Claim",
            "CurveFigure",
            "WidthFigure",
            "Table",
            "NtkgapError",
        ),
    ),
}
# Pydantic models: their fields are in the reference of presets, and their signature says nothing.
OF_STUDIES = "preset, presets, build, cells, claims, measure"
MODELS = {
    "BaseProblem": "network, example, describe",
    "BaseStudy": OF_STUDIES,
    "ContinualStudy": OF_STUDIES,
    "DiagnosisStudy": OF_STUDIES,
    "OptimizationStudy": OF_STUDIES,
    "UncertaintyStudy": OF_STUDIES,
}


def entry(module: str, name: str) -> str:
    """The section that documents a name."""
    found = inspect.unwrap(getattr(importlib.import_module(module), name))
    if name in MODELS:
        kind, options = "class", [f":members: {MODELS[name]}", ":no-undoc-members:"]
    elif inspect.isclass(found):
        kind, options = "class", [":members:"]
    else:
        kind, options = ("function" if inspect.isroutine(found) else "data"), []
    body = "".join(f"   {option}\n" for option in options)
    return f"## {name}\n\n```{{eval-rst}}\n.. auto{kind}:: {module}.{name}\n{body}```\n"


def pages() -> dict[str, str]:
    """The pages by their file names."""
    found = {}
    for file, (title, names) in TOPICS.items():
        found[f"{file}.md"] = f"# {title}\n\n" + "\n".join(entry("ntkgap", name) for name in names)
    arms = "\n".join(entry("ntkgap.practice.bandits", name) for name in bandits.__all__)
    found["bandits.md"] = f"# Bandits\n\nIn `ntkgap.practice.bandits`.\n\n{arms}"
    listed = "\n".join([*TOPICS, "bandits"])
    found["index.md"] = (
        "# API reference\n\nEvery public name, by topic. Examples run as they stand after\n\n"
        "```python\nimport torch\nfrom torch import nn\nimport ntkgap as ng\n```\n\n"
        "Errors are subclasses of `ng.NtkgapError` and say in one line "
        f"what is wrong and what to do.\n\n```{{toctree}}\n:maxdepth: 2\n\n{listed}\n```\n"
    )
    return found
