"""The methods whose uncertainty is scored, and their scores on test targets."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ntkgap.data import Dataset
from ntkgap.linalg import Gaussian
from ntkgap.practice import calibration
from ntkgap.studies.findings import Findings

# By name; in the order of tables.
METHODS = {
    "ntk_gp": "NTK-GP, δ = 1",
    "ntk_gp_evidence": "NTK-GP, evidence",
    "nngp": "NNGP, δ = 1",
    "nngp_evidence": "NNGP, evidence",
    "infinite_ensemble": "infinite ensemble (theory)",
    "deep_ensemble": "deep ensemble",
    "infinite_prior": "infinite randomized-prior ensemble (theory)",
    "prior_ensemble": "randomized-prior ensemble",
    "laplace": "linearized Laplace, δ = 1",
    "laplace_evidence": "linearized Laplace, evidence",
}
SCORES = ("nll", "crps", "interval_score", "coverage", "width", "rmse")


@dataclass(frozen=True)
class Predictive:
    """Gaussian predictions at k points.

    Attributes:
        mean: of the function, [k, C].
        std: of the function, [k, C].
        noise_variance: σ² of an observation.
    """

    mean: Tensor
    std: Tensor
    noise_variance: float

    @classmethod
    def of(cls, gaussian: Gaussian, noise_variance: float) -> "Predictive":
        """Marginals of a Gaussian over functions."""
        return cls(gaussian.mean, gaussian.std[:, None].expand_as(gaussian.mean), noise_variance)

    @property
    def observation_std(self) -> Tensor:
        """Standard deviation of a noisy observation, [k, C]."""
        return (self.std.square() + self.noise_variance).sqrt()


def score(name: str, predictive: Predictive, test: Dataset, findings: Findings) -> None:
    """Note the scores of a method on test targets, in the unit in which these were given."""
    arrays = (predictive.mean, predictive.observation_std, test.y)
    if test.units is not None:
        arrays = (arrays[0] * test.units, arrays[1] * test.units, arrays[2] * test.units)
    found = asdict(calibration(*arrays))
    findings.scalars |= {f"{name}_{what}": found[what] for what in SCORES}


def score_diverged(name: str, findings: Findings) -> None:
    """Note the scores of networks that diverged: as bad as can be, and intervals that cover nothing."""
    worst = dict.fromkeys(SCORES, math.inf) | {"coverage": 0.0}
    findings.scalars |= {f"{name}_{what}": value for what, value in worst.items()}


def add_band(name: str, predictive: Predictive, findings: Findings) -> None:
    """Keep mean and standard deviation of the first output, to be drawn over the inputs."""
    findings.curves |= {
        f"band_{name}_mean": predictive.mean[:, 0].tolist(),
        f"band_{name}_std": torch.as_tensor(predictive.std)[:, 0].tolist(),
    }
