"""The linearized model of a network, whose kernel does not move."""

from ntkgap.practice.training.linearized.linearized_model import LinearizedModel, linearize

__all__ = ["LinearizedModel", "linearize"]
