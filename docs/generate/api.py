"""The API reference: pages by topic, each name documented by its docstring."""

import importlib
import inspect
from types import ModuleType

import ntkgap
from ntkgap import names

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
            "KernelDynamics",
            "train_in_function_space",
            "FunctionSpaceTraining",
            "sgd_settings",
            "critical_learning_rate",
            "required_width",
        ),
    ),
    "training": (
        "Training",
        (
            "train",
            "train_ensemble",
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
# Modules that have a page with all of their names, but for those on a page above.
WHOLE = {
    "bandits": "Bandits",
    "continual": "Continual learning",
    "optimizers": "Optimizers",
    "linalg": "Linear algebra",
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


def home(name: str) -> str:
    """The module that a public name is asked of: ``ntkgap``, or one of its topics."""
    if name in ntkgap.__all__:
        return "ntkgap"
    return next(f"ntkgap.{topic}" for topic in names.TOPICS if name in _module(topic).__all__)


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


def names_of(topic: str) -> list[str]:
    """What the page of a whole module documents."""
    above = {name for _, listed in TOPICS.values() for name in listed}
    module = _module(topic)  # whose constants say what they are where they are used
    return [name for name in module.__all__ if name not in above and callable(getattr(module, name))]


def pages() -> dict[str, str]:
    """The pages by their file names."""
    found = {}
    for file, (title, listed) in TOPICS.items():
        found[f"{file}.md"] = f"# {title}\n\n" + "\n".join(entry(home(name), name) for name in listed)
    for topic, title in WHOLE.items():
        entries = "\n".join(entry(f"ntkgap.{topic}", name) for name in names_of(topic))
        found[f"{topic}.md"] = f"# {title}\n\nIn `ntkgap.{topic}`.\n\n{entries}"
    contents = "\n".join([*TOPICS, *WHOLE])
    found["index.md"] = (
        "# API reference\n\nEvery public name, by topic. Examples run as they stand after\n\n"
        "```python\nimport torch\nfrom torch import nn\nimport ntkgap as ng\n```\n\n"
        "What most scripts need is in `ng` itself, the rest in a topic such as `ng.continual` or `ng.theory`. "
        "Errors are subclasses of `ng.NtkgapError` and say in one line "
        f"what is wrong and what to do.\n\n```{{toctree}}\n:maxdepth: 2\n\n{contents}\n```\n"
    )
    return found


def _module(topic: str) -> ModuleType:
    return importlib.import_module(f"ntkgap.{topic}")
