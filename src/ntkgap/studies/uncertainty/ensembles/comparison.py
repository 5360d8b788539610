"""An ensemble beside the Gaussian of which its members should be draws, and beside draws of that Gaussian."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ntkgap.linalg import Gaussian
from ntkgap.studies.findings import Findings
from ntkgap.theory import EnsembleErrors, ensemble_errors, ensemble_floor

# How close is close enough; conventions, not theorems.
MEAN_TOLERANCE, COVARIANCE_TOLERANCE = 0.1, 0.25

# Ensembles drawn from the prediction itself, and the quantile of their errors that is called the floor.
FLOOR_DRAWS, FLOOR_QUANTILE = 200, 0.95

ERRORS = ("mean", "covariance", "wasserstein", "z_score")

# What is known of an ensemble only beside its limit.
OF_LIMIT = (
    *(f"ensemble_{error}{part}" for error in ERRORS for part in ("", "_early", "_floor", "_floor_early")),
    "ensemble_mean_bias",
    "ensemble_covariance_bias",
    "ensemble_early",
    "ensemble_z_ratio",
    "ensemble_draw",
)


@dataclass(frozen=True)
class Comparison:
    """The predicted Gaussian at T steps, and the errors that ensembles of draws from it show.

    Attributes:
        predicted: mean [T, k, C] and covariance [T, k, k].
        floor: 95 % quantiles of those errors, [T] each.
        chance: their root mean squares, [T] each.
        worst: quantile of the largest ratio over steps of W₂ to its floor. Draws at different steps are
            independent, those of an ensemble are not: the quantile is, if anything, too large.
    """

    predicted: Gaussian
    floor: EnsembleErrors
    chance: EnsembleErrors
    worst: float

    @classmethod
    def of(cls, predicted: Gaussian, members: int, generator: Generator) -> "Comparison":
        """Draw ensembles of so many members.

        Args:
            predicted: mean [T, k, C] and covariance [T, k, k].
            members: M.
            generator: source of randomness.
        """
        draws = ensemble_floor(predicted, members, FLOOR_DRAWS, generator)
        floor = EnsembleErrors(*(torch.quantile(getattr(draws, e), FLOOR_QUANTILE, dim=0) for e in ERRORS))
        chance = EnsembleErrors(*(getattr(draws, e).square().mean(dim=0).sqrt() for e in ERRORS))
        largest = (draws.wasserstein / floor.wasserstein).amax(dim=1)
        return cls(predicted, floor, chance, float(torch.quantile(largest, FLOOR_QUANTILE)))

    def record(self, outputs: Tensor | None, findings: Findings) -> None:
        """Note the errors of an ensemble at the last and the first step, and at all of them.

        Args:
            outputs: of the members, [M, T, k, C]; None if they diverged.
            findings: where to.
        """
        steps = len(self.floor.mean)
        for error in ERRORS:
            floor = getattr(self.floor, error).tolist()
            found = [math.inf] * steps if outputs is None else self._errors(outputs, error)
            findings.curves |= {f"ensemble_{error}": found, f"ensemble_{error}_floor": floor}
            for place, when in ((-1, ""), (0, "_early")):
                findings.scalars |= {
                    f"ensemble_{error}{when}": found[place],
                    f"ensemble_{error}_floor{when}": floor[place],
                }
        mean = self._biases(findings, "mean", MEAN_TOLERANCE)
        covariance = self._biases(findings, "covariance", COVARIANCE_TOLERANCE)
        distances = zip(findings.curves["ensemble_wasserstein"], self.floor.wasserstein.tolist(), strict=True)
        findings.scalars |= {
            "ensemble_mean_bias": mean[-1],
            "ensemble_covariance_bias": covariance[-1],
            "ensemble_early": worst([mean[0] / MEAN_TOLERANCE, covariance[0] / COVARIANCE_TOLERANCE]),
            "ensemble_z_ratio": findings.curves["ensemble_z_score"][-1] / float(self.floor.z_score[-1]),
            "ensemble_draw": max(found / floor for found, floor in distances) / self.worst,
        }

    def _errors(self, outputs: Tensor, error: str) -> list[float]:
        found: Tensor = getattr(ensemble_errors(outputs, self.predicted), error)
        return found.tolist()

    def _biases(self, findings: Findings, error: str, tolerance: float) -> list[float]:
        """What is left of errors without what chance adds; NaN where that cannot be told."""
        of_draws = (getattr(self.chance, error).tolist(), getattr(self.floor, error).tolist())
        triples = zip(findings.curves[f"ensemble_{error}"], *of_draws, strict=True)
        return [bias(found, chance, floor, tolerance) for found, chance, floor in triples]


def bias(error: float, chance: float, floor: float, tolerance: float) -> float:
    r"""The bias behind an error of moments, :math:`\sqrt{e^2 - \mathrm{E}\, e_0^2}` with e_0 that of draws.

    Args:
        error: e, of the ensemble.
        chance: root mean square of e_0.
        floor: 95 % quantile of e_0.
        tolerance: how large a bias matters.

    Returns:
        The bias where the error is above the floor. Within it nothing is seen, and what could hide there is
        returned, the bias of an error at the floor; NaN if that is beyond the tolerance.
    """
    if error > floor:
        return math.sqrt(error**2 - chance**2)
    hidden = math.sqrt(max(floor**2 - chance**2, 0.0))
    return hidden if hidden < tolerance else math.nan


def worst(ratios: list[float]) -> float:
    """The largest of some ratios to a limit of 1; NaN if one is inconclusive and none is beyond the limit."""
    known = [r for r in ratios if not math.isnan(r)]
    largest = max(known, default=math.nan)
    return largest if len(known) == len(ratios) or largest >= 1 else math.nan
