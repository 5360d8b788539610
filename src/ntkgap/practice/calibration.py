"""How well predicted uncertainty describes what came true: proper scores, coverage, calibration error."""

from dataclasses import dataclass

import numpy as np
import scipy
import scoringrules
from numpy.typing import ArrayLike
from torch import Tensor

from ntkgap.errors import DataError
from ntkgap.one_line import one_line


@dataclass(frozen=True)
class Calibration:
    """Scores of Gaussian predictions of real numbers, means over all points and outputs.

    Attributes:
        nll: negative log density of the targets, in nats; it shifts by log c if the targets are scaled by c.
        crps: continuous ranked probability score, in the unit of the targets; smaller is better.
        interval_score: width of the central interval plus 2/(1 − level) times by how much targets miss it, in the
            unit of the targets; smaller is better (Gneiting, Raftery 2007, equation 43).
        coverage: fraction of the targets inside the central interval; calibrated means close to ``level``.
        width: of the central interval, in the unit of the targets.
        rmse: root mean squared error of the mean, in the unit of the targets.
        level: of the central interval.
    """

    nll: float
    crps: float
    interval_score: float
    coverage: float
    width: float
    rmse: float
    level: float = 0.95

    __repr__ = one_line


@dataclass(frozen=True)
class ClassCalibration:
    """Scores of predicted class probabilities, means over examples.

    Attributes:
        nll: −log of the probability of the true class, in nats; inf if one was given probability 0.
        brier: Σ_c (p_c − [c is true])², between 0 and 2.
        ece: expected calibration error, Σ over bins of their share times |accuracy − confidence|, between 0 and 1;
            biased upwards in small samples (Guo, Pleiss, Sun, Weinberger 2017).
        accuracy: fraction of the examples whose most probable class is the true one; where several are, one of
            them counts as chosen at random.
    """

    nll: float
    brier: float
    ece: float
    accuracy: float

    __repr__ = one_line


def calibration(
    mean: Tensor | ArrayLike, std: Tensor | ArrayLike, targets: Tensor | ArrayLike, level: float = 0.95
) -> Calibration:
    """Score Gaussian predictions N(mean, std²) of *observations*: the variance of the function plus that of noise.

    Args:
        mean: predicted means, [...].
        std: standard deviation of an observation, √(variance of the function + σ²), [...] or one for all.
        targets: what was observed, [...].
        level: of the central interval.

    Raises:
        DataError: if shapes differ, an entry is not finite, a standard deviation is not positive, or the level is
            not between 0 and 1.

    Example:
        >>> found = ng.practice.calibration(mean=[0.0, 0.0, 0.0], std=1.0, targets=[0.5, -1.0, 3.0])
        >>> round(found.coverage, 2), round(found.rmse, 2)
        (0.67, 1.85)
    """
    if not 0 < level < 1:
        raise DataError(f"level must be between 0 and 1, got {level!r}")
    mu, y = _array(mean, "mean"), _array(targets, "targets")
    sigma = _array(std, "std")
    if mu.shape != y.shape or (sigma.ndim > 0 and sigma.shape != y.shape):
        raise DataError(
            f"mean, std and targets have shapes {mu.shape}, {sigma.shape} and {y.shape}; they must be the same"
        )
    if not (sigma > 0).all():
        raise DataError(
            f"std must be positive, its smallest entry is {sigma.min():.3g}; add the noise of observations, "
            "√(variance + noise_variance)"
        )
    half = scipy.stats.norm.ppf((1 + level) / 2) * sigma
    lower, upper = mu - half, mu + half
    return Calibration(
        # Not the log of the density, which is zero in floating point from 39 standard deviations on.
        nll=float(-np.mean(scipy.stats.norm.logpdf(y, mu, sigma))),
        crps=float(np.mean(scoringrules.crps_normal(y, mu, sigma))),
        interval_score=float(np.mean(scoringrules.interval_score(y, lower, upper, 1 - level))),
        coverage=float(np.mean((lower <= y) & (y <= upper))),
        width=float(np.mean(upper - lower)),
        rmse=float(np.sqrt(np.mean((mu - y) ** 2))),
        level=level,
    )


def classification_calibration(
    probabilities: Tensor | ArrayLike, labels: Tensor | ArrayLike, bins: int = 15
) -> ClassCalibration:
    """Score predicted class probabilities.

    Args:
        probabilities: [k, C], rows of numbers of at least 0 that add up to 1.
        labels: the true classes 0 … C − 1, [k], or one-hot, [k, C].
        bins: of confidence, equally wide on (0, 1].

    Raises:
        DataError: if a shape, probability, label or the number of bins is out of range.

    Example:
        >>> found = ng.practice.classification_calibration([[0.9, 0.1], [0.3, 0.7]], [0, 1])
        >>> round(found.nll, 3), round(found.brier, 3)
        (0.231, 0.1)
    """
    p = _array(probabilities, "probabilities")
    if p.ndim != 2 or (p < 0).any() or (np.abs(p.sum(axis=1) - 1) > 1e-4).any():
        raise DataError(
            "probabilities must be [k, C] with rows of numbers of at least 0 that add up to 1, got shape "
            f"{p.shape}; outputs of a network go through softmax first"
        )
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise DataError(f"bins must be an integer of at least 1, got {bins!r}")
    true = _classes(_array(labels, "labels"), p.shape)
    of_true = p[np.arange(len(p)), true]
    one_hot = np.eye(p.shape[1])[true]
    confidence = p.max(axis=1)
    # Where classes tie, what choosing among them at random gets right on average.
    hit = (of_true == confidence) / (p == confidence[:, None]).sum(axis=1)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=hit - confidence, minlength=bins)  # count · (accuracy − confidence)
    with np.errstate(divide="ignore"):
        nll = -np.log(of_true)
    return ClassCalibration(
        nll=float(nll.mean()),
        brier=float(scoringrules.brier_score(one_hot, np.clip(p, 0, 1)).sum(axis=1).mean()),
        ece=float(np.abs(gaps).sum() / len(p)),
        accuracy=float(hit.mean()),
    )


def _array(values: Tensor | ArrayLike, name: str) -> np.ndarray:
    """As float64, finite, with at least one entry."""
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
    if array.size == 0:
        raise DataError(f"{name} is empty; at least one prediction is needed")
    if not np.isfinite(array).all():
        raise DataError(f"{name} has NaN or infinite entries; a diverged model has no calibration")
    return array


def _classes(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Integer labels [k] from integers or one-hot rows."""
    if labels.shape == shape and ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all():
        return labels.argmax(axis=1)
    whole = labels.shape == shape[:1] and (labels == np.round(labels)).all()
    if not whole or labels.min() < 0 or labels.max() >= shape[1]:
        raise DataError(
            f"labels must be classes 0 … {shape[1] - 1}, shape {shape[:1]}, or one-hot, shape {shape}; got shape "
            f"{labels.shape}"
        )
    return labels.astype(int)
