"""Does neural tangent kernel theory describe your network?

``ntkgap`` computes what the kernel regime predicts, measures what the finite network does, and puts the two
side by side over width, with a verdict for each promise of the theory.

What most scripts need is here. ``ntkgap.continual``, ``ntkgap.bandits``, ``ntkgap.optimizers``, ``ntkgap.linalg``
and the other topics of ``dir(ntkgap)`` hold the rest.
"""

import importlib
from typing import Any

from ntkgap import names

__version__ = "0.1.0"

__all__ = ["__version__", *names.HOMES]


def __getattr__(name: str) -> Any:
    # On first use: `ntkgap --help` then answers at once, without loading torch.
    home, name = names.find(name)
    module = importlib.import_module(home)
    return getattr(module, name) if name else module


def __dir__() -> list[str]:
    return sorted(__all__)
