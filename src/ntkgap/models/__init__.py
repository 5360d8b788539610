"""Finite networks in plain ``torch.nn``, each with a width knob."""

from ntkgap.models.layers import Initialization, NTKConv2d, NTKLinear, ScaledConv2d, ScaledLinear
from ntkgap.models.learning_rates import parameter_groups
from ntkgap.models.mlp import MLP
from ntkgap.models.nonlinearities import NONLINEARITIES, make_nonlinearity
from ntkgap.models.parametrizations import PARAMETRIZATIONS, LayerFactory
from ntkgap.models.scales import Antisymmetric, Scaled
from ntkgap.models.shallow import ShallowNet

__all__ = [
    "MLP",
    "NONLINEARITIES",
    "PARAMETRIZATIONS",
    "Antisymmetric",
    "Initialization",
    "LayerFactory",
    "NTKConv2d",
    "NTKLinear",
    "Scaled",
    "ScaledConv2d",
    "ScaledLinear",
    "ShallowNet",
    "make_nonlinearity",
    "parameter_groups",
]
