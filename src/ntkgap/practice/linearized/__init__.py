"""The linearized model of a network, whose kernel does not move."""

from ntkgap.practice.linearized.model import LinearizedModel, linearize

__all__ = ["LinearizedModel", "linearize"]
