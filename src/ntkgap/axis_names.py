"""What readers call the settings that are varied; no heavy import, so that status answers at once."""

from collections.abc import Mapping
from typing import Any

LABELS = {
    "model.depth": "depth",
    "model.nonlinearity": "nonlinearity",
    "model.parametrization": "parametrization",
    "model.weight_std": "σ_w",
    "model.bias_std": "σ_b",
    "model.alpha": "α",
    "model.gamma0": "γ0",
    "model.trained": "trained parameters",
    "model.antisymmetric": "start at zero",
    "data.n_train": "training examples n",
    "stream.angle": "angle between tasks, °",
    "stream.fraction": "pixels that change places",
    "stream.similarity": "correlation of targets of two tasks in a row",
    "stream.overlap": "classes two tasks in a row share",
    "stream.tasks": "tasks T",
    "training.fraction_of_critical": "step / critical step",
    "training.learning_rate": "learning rate η",
    "training.rate_by_width": "learning rate over width",
    "gradient_descent.fraction_of_critical": "step / critical step",
    "gradient_descent.steps": "steps of gradient descent",
    "natural_gradient.learning_rate": "natural gradient's η",
    "natural_gradient.damping": "damping λ",
}


def axis_label(axis: str) -> str:
    """What a reader calls a setting: its symbol or words, or its dotted name."""
    return LABELS.get(axis, axis)


def axis_of(cell: Mapping[str, Any]) -> str:
    """The setting in which a cell differs from its problem; empty where it does not."""
    return str(cell.get("variation", "")).partition("=")[0]


def row_name(cell: Mapping[str, Any]) -> str:
    """The problem of a cell and the axis it lies on, for lists with a row each."""
    axis = axis_of(cell)
    return f"{cell['problem']}, over {axis_label(axis)}" if axis else str(cell["problem"])
