"""Finite networks in plain ``torch.nn``, each with a width knob."""

from ntkgap.models.attention import SelfAttention
from ntkgap.models.convnet import VGG, ConvNet
from ntkgap.models.layers import Initialization, NTKConv2d, NTKLinear, ScaledConv2d, ScaledLinear
from ntkgap.models.learning_rates import learning_rate_factor, parameter_groups
from ntkgap.models.mlp import MLP
from ntkgap.models.nonlinearities import NONLINEARITIES, make_nonlinearity
from ntkgap.models.output_scale import Antisymmetric, Scaled
from ntkgap.models.parametrizations import PARAMETRIZATIONS, LayerFactory
from ntkgap.models.shallow import ShallowNet
from ntkgap.models.size import ModelSize, describe
from ntkgap.models.transformer import Transformer
from ntkgap.models.wide_resnet import WideResNet

__all__ = [
    "MLP",
    "NONLINEARITIES",
    "PARAMETRIZATIONS",
    "VGG",
    "Antisymmetric",
    "ConvNet",
    "Initialization",
    "LayerFactory",
    "ModelSize",
    "NTKConv2d",
    "NTKLinear",
    "Scaled",
    "ScaledConv2d",
    "ScaledLinear",
    "SelfAttention",
    "ShallowNet",
    "Transformer",
    "WideResNet",
    "describe",
    "learning_rate_factor",
    "make_nonlinearity",
    "parameter_groups",
]
