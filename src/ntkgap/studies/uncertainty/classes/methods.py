"""The methods whose class probabilities are scored, and their scores on test data."""

import math

from torch import Tensor

from ntkgap.data import Dataset
from ntkgap.practice import classification_calibration
from ntkgap.studies.findings import Findings

# By name; in the order of tables.
METHODS = {
    "class_ntk_gp": "NTK-GP, δ = 1",
    "class_ntk_gp_evidence": "NTK-GP, evidence",
    "class_network": "one network",
    "class_ensemble": "deep ensemble",
    "class_laplace": "linearized Laplace, δ = 1, probit",
    "class_laplace_evidence": "linearized Laplace, evidence, probit",
    "class_laplace_monte_carlo": "linearized Laplace, evidence, Monte Carlo",
    "class_laplace_bridge": "linearized Laplace, evidence, Laplace bridge",
}
SCORES = ("nll", "brier", "ece", "accuracy")


def score(name: str, probabilities: Tensor, test: Dataset, findings: Findings) -> None:
    """Note the scores of a method on test data."""
    found = classification_calibration(probabilities, test.y)
    findings.scalars |= {f"{name}_{what}": getattr(found, what) for what in SCORES}


def score_diverged(name: str, findings: Findings) -> None:
    """Note the scores of networks that diverged: as bad as can be."""
    worst = dict.fromkeys(SCORES, math.inf) | {"accuracy": 0.0}
    findings.scalars |= {f"{name}_{what}": value for what, value in worst.items()}
