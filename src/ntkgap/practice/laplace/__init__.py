"""Linearized Laplace: the uncertainty of a trained network from its tangent kernel, and training that uses it."""

from ntkgap.practice.laplace.linearized_laplace import LinearizedLaplace
from ntkgap.practice.laplace.online import HyperparameterChoice, OnlineLaplace, online_laplace
from ntkgap.practice.laplace.prediction import LaplacePrediction

__all__ = [
    "HyperparameterChoice",
    "LaplacePrediction",
    "LinearizedLaplace",
    "OnlineLaplace",
    "online_laplace",
]
