"""Does neural tangent kernel theory describe your network?

``ntkgap`` computes what the kernel regime predicts, measures what the finite network does, and puts the two
side by side over width, with a verdict for each promise of the theory.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ntkgap.errors import NtkgapError

if TYPE_CHECKING:
    from ntkgap.data import Dataset, load_data
    from ntkgap.kernels import (
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
    from ntkgap.models import MLP, NTKLinear, ShallowNet
    from ntkgap.practice import linearize
    from ntkgap.reporting import report
    from ntkgap.studies import OptimizationStudy
    from ntkgap.sweep import Runs, run

__version__ = "0.1.0.dev0"

# Public names are imported on first use: `ntkgap --help` then answers at once, without loading torch.
_HOMES = {
    "data": ("Dataset", "load_data"),
    "kernels": (
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
    "models": ("MLP", "NTKLinear", "ShallowNet"),
    "practice": ("linearize",),
    "reporting": ("report",),
    "studies": ("OptimizationStudy",),
    "sweep": ("Runs", "run"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MLP",
    "Dataset",
    "JacobianChange",
    "KernelChange",
    "NTKLinear",
    "NTKOperator",
    "NtkgapError",
    "OptimizationStudy",
    "Runs",
    "ShallowNet",
    "__version__",
    "as_matrix",
    "empirical_ntk",
    "infinite_width",
    "kernel_distance",
    "linearize",
    "load_data",
    "monte_carlo_kernel",
    "plan_ntk",
    "relative_change",
    "report",
    "run",
    "spectrum",
    "target_alignment",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ntkgap' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ntkgap.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
