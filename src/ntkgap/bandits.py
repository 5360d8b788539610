"""Contextual bandits: environments, policies, and the runs of one in the other."""

from ntkgap.practice.bandits import *  # noqa: F403
from ntkgap.practice.bandits import __all__ as __all__
