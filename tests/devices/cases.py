"""Calls of every public function that takes or makes tensors, on any device; what they return is compared."""

from tests.devices import in_sequence, kernels, posteriors, training  # noqa: F401 - each adds its calls
from tests.devices.made import CASES, numbers

__all__ = ["CASES", "numbers"]
