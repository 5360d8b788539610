"""Where the public names of ``ntkgap`` are, and what is said of a name that it does not have."""

import difflib
import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STUB = Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8")

# The module that each public name is imported from. Topics, such as ``ntkgap.theory``, are modules themselves.
HOMES = {name: home for home, name in re.findall(r"^from ([\w.]+) import (\w+) as \2$", _STUB, re.MULTILINE)}
TOPICS = tuple(name for name, home in HOMES.items() if home == "ntkgap")

# Public names that a release had: renamed ones go on working and warn, removed ones say what to use.
RENAMED: dict[str, str] = {}
REMOVED: dict[str, str] = {}

# Those that are now in a topic; they go on working and warn, too.
_MOVED = {
    "continual": (
        "AccuracyMatrix",
        "EWC",
        "Epochs",
        "Joint",
        "KernelTime",
        "OGD",
        "PCAOGD",
        "Replay",
        "SequentialRegression",
        "Steps",
        "Task",
        "TaskStream",
        "UntilAccuracy",
        "import_accuracy_matrix",
        "load_stream",
        "predict_tasks",
        "sequential_duals",
        "stream_of",
        "task_overlap",
        "train_tasks",
    ),
    "kernels": (
        "JacobianChange",
        "KernelChange",
        "monte_carlo_kernel",
        "relative_change",
        "target_alignment",
    ),
    "linalg": ("Evidence",),
    "models": (
        "Antisymmetric",
        "Initialization",
        "Scaled",
        "SelfAttention",
        "ShallowNet",
        "VGG",
        "describe",
    ),
    "optimizers": (
        "kfac_descent",
        "natural_gradient_descent",
        "search_jacobian_change",
        "tune",
    ),
    "practice": (
        "calibration",
        "classification_calibration",
        "coordinate_check",
        "online_laplace",
    ),
    "reporting": ("Diagnosis",),
    "studies": (
        "BaseProblem",
        "BaseStudy",
        "Claim",
        "CurveFigure",
        "DiagnosisStudy",
        "Findings",
        "Table",
        "WidthFigure",
        "find_study",
    ),
    "theory": (
        "FunctionSpaceTraining",
        "GaussianProcessClassifier",
        "RandomizedPriorEnsemble",
        "critical_learning_rate",
        "required_width",
        "sgd_settings",
        "train_in_function_space",
    ),
}
MOVED = {name: topic for topic, moved in _MOVED.items() for name in moved}


def _into(topic: str, *names: str) -> dict[str, tuple[str, str]]:
    return {name: (topic, name) for name in names}


# Those that went from one package into another, or have another name: where they are, and as what.
MOVED_OUT_OF = {
    "kernels": _into(
        "linalg",
        "Evidence",
        "EvidenceMaximum",
        "SequentialPosterior",
        "Spectrum",
        "as_matrix",
        "describe_rows",
        "duplicate_inputs",
        "equal_rows",
        "parallel_rows",
        "spectrum",
    ),
    "practice": _into("linalg", "PrecisionMaximum") | _into("kernels", "jacobian_change"),
    "theory": _into("linalg", "Gaussian", "PositiveFactor", "gaussian_wasserstein", "positive_factor")
    | {"linearised_decay": ("theory", "linearized_decay")},
}


def find(name: str) -> tuple[str, str]:
    """The module that a name of ``ntkgap`` is in, and what it is called there; nothing for a module itself.

    Warns:
        DeprecationWarning: if the name was renamed, or is in a topic now.

    Raises:
        AttributeError: if there is none, with the one that is near.
    """
    new = RENAMED.get(name) or (f"{MOVED[name]}.{name}" if name in MOVED else None)
    if new is not None:
        warnings.warn(f"ntkgap.{name} is now ntkgap.{new}; the old name will go", DeprecationWarning, stacklevel=3)
        topic, _, name = new.rpartition(".")
        if topic:
            return f"ntkgap.{topic}", name
    if name in HOMES and name not in TOPICS:
        return HOMES[name], name
    if importlib.util.find_spec(f"ntkgap.{name}"):  # a topic, or another module of the package
        return f"ntkgap.{name}", ""
    raise AttributeError(unknown(name))


def moved_out_of(package: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for a package that some names have left: they go on working and warn."""

    def found(name: str) -> Any:
        if name not in MOVED_OUT_OF[package]:
            module = sys.modules[f"ntkgap.{package}"]
            # With the module, Python's own traceback says which name is near.
            raise AttributeError(f"module 'ntkgap.{package}' has no attribute {name!r}", name=name, obj=module)
        topic, new = MOVED_OUT_OF[package][name]
        text = f"ntkgap.{package}.{name} is now ntkgap.{topic}.{new}; the old name will go"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(f"ntkgap.{topic}"), new)

    return found


def unknown(name: str) -> str:
    """The sentence for a name that is not public."""
    sentence = f"module 'ntkgap' has no attribute {name!r}"
    if name in REMOVED:
        return f"{sentence}: it was removed; {REMOVED[name]}"
    if name.startswith("_"):  # Python, test runners and notebooks ask for these: answer at once
        return sentence
    places = dict.fromkeys(HOMES, "ng")
    for topic in TOPICS:
        public = importlib.import_module(f"ntkgap.{topic}").__all__
        places = dict.fromkeys(public, f"ng.{topic}") | places
    if name in places:
        return f"{sentence}; use {places[name]}.{name}"
    lower = {known.lower(): known for known in places}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.7)]
    if not near:
        return f"{sentence}; dir(ntkgap) lists the public names"
    return f"{sentence}; did you mean {' or '.join(f'{places[known]}.{known}' for known in near)}?"
