"""Finite networks in plain ``torch.nn``, each with a width knob."""

from ntkgap.models.layers import NTKLinear
from ntkgap.models.mlp import MLP, PARAMETRIZATIONS
from ntkgap.models.nonlinearities import NONLINEARITIES, make_nonlinearity
from ntkgap.models.shallow import ShallowNet

__all__ = ["MLP", "NONLINEARITIES", "PARAMETRIZATIONS", "NTKLinear", "ShallowNet", "make_nonlinearity"]
