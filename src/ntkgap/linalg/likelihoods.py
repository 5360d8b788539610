r"""Likelihoods of a network's outputs, and their second-order expansion with the generalized Gauss-Newton matrix.

The curvature S = −∂² log p(y | f)/∂f² of an example is given by a root, S = RᵀR, and the slope by e with
∂ log p/∂f = Rᵀe. Along a linear model of the outputs the expansion is then least squares with noise of variance 1:

.. math:: \log p(y \mid f + u) \approx \log p(y \mid f) + e^\top R u - \tfrac12 \lVert R u \rVert^2

No inverse of S is needed, which has none for the softmax.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ntkgap.errors import DataError, KernelError, ModelError

LIKELIHOODS = ("gaussian", "categorical", "bernoulli")

# Targets are probabilities up to so much; as ``loss="cross_entropy"`` takes them.
ROUNDING = 1e-4

# Of probabilities that underflow: their square roots can still be divided by.
TINY = 1e-300


@dataclass(frozen=True)
class Expansion:
    """Of the log likelihood of n examples in their C outputs; float64.

    Attributes:
        log_likelihood: log p(y | f), added up over examples.
        root: R of every example, [n, C, C]; None for the identity.
        slope: e, [n, C].
    """

    log_likelihood: float
    root: Tensor | None
    slope: Tensor

    def whiten(self, values: Tensor) -> Tensor:
        """R v for v of shape [n, C, ...]."""
        return values if self.root is None else torch.einsum("nab,nb...->na...", self.root, values)


def gaussian(outputs: Tensor, targets: Tensor, noise_variance: Tensor | None = None) -> Expansion:
    """N(y; f, diag σ²): R = diag(1/σ), e = (y − f)/σ; the expansion is exact.

    Args:
        outputs: f, [n, C].
        targets: y, [n, C].
        noise_variance: σ² of every output, [C]; 1 for all if not given.
    """
    residual = targets - outputs
    if noise_variance is None:
        variance, root = outputs.new_ones(outputs.shape[1]), None
    else:
        variance = noise_variance.to(outputs)
        root = torch.diag_embed(variance.rsqrt()).expand(len(outputs), -1, -1)
        residual = residual * variance.rsqrt()
    constant = len(outputs) * float((2 * math.pi * variance).log().sum())
    return Expansion(-0.5 * (float(residual.square().sum()) + constant), root, residual)


def categorical(outputs: Tensor, targets: Tensor) -> Expansion:
    """Π_c softmax(f)_c^{y_c}: S = diag p − ppᵀ, R = diag √p − √p pᵀ, e = (y − p)/√p.

    Args:
        outputs: f, [n, C].
        targets: y, one-hot or probabilities, [n, C].
    """
    logs = F.log_softmax(outputs, dim=1)
    p = logs.exp().clamp_min(TINY)
    half = p.sqrt()
    root = torch.diag_embed(half) - half[:, :, None] * p[:, None, :]
    return Expansion(float((targets * logs).sum()), root, (targets - p) / half)


def bernoulli(outputs: Tensor, targets: Tensor) -> Expansion:
    """p^y (1 − p)^{1 − y} with p = 1/(1 + e^{−f}): R = √(p(1 − p)), e = (y − p)/R.

    Args:
        outputs: f, [n, 1].
        targets: y, 0, 1 or probabilities, [n, 1].
    """
    logs, others = F.logsigmoid(outputs), F.logsigmoid(-outputs)
    half = (0.5 * (logs + others)).exp().clamp_min(TINY**0.5)
    value = targets * logs + (1 - targets) * others
    return Expansion(float(value.sum()), half[..., None], (targets - logs.exp()) / half)


def are_probabilities(targets: Tensor) -> bool:
    """Whether rows hold numbers of at least 0 that add up to 1."""
    return bool((targets >= 0).all()) and bool(((targets.sum(dim=1) - 1).abs() <= ROUNDING).all())


def are_one_hot(targets: Tensor) -> bool:
    """Whether rows name one of several classes."""
    return targets.shape[1] > 1 and bool(((targets == 0) | (targets == 1)).all()) and are_probabilities(targets)


def choose_likelihood(
    name: str | None, targets: Tensor, n_classes: int | None, outputs: int
) -> tuple[str, Tensor]:
    """Which likelihood is meant, and the targets as it takes them, float64.

    Args:
        name: one of ``LIKELIHOODS``, or None: targets of classes (``n_classes``, or one-hot) are categorical, with
            a network of one output Bernoulli; others Gaussian.
        targets: y, [n, C]; in one column classes are 0 and 1, or −1 and 1.
        n_classes: number of classes, or None for regression.
        outputs: of the network, C; one output goes with one column, or with two classes.

    Raises:
        KernelError: if the name is unknown.
        DataError: if targets of classes are no probabilities.
        ModelError: if a Bernoulli likelihood is asked of several outputs.
    """
    y = targets.double()
    if name is None:
        classes = n_classes is not None or are_one_hot(y)
        name = "gaussian" if not classes else "bernoulli" if outputs == 1 and y.shape[1] <= 2 else "categorical"
    if name not in LIKELIHOODS:
        raise KernelError(f"unknown likelihood {name!r}; choose one of {', '.join(LIKELIHOODS)}")
    if name == "gaussian":
        return name, y
    if name == "bernoulli":
        if outputs != 1:
            raise ModelError(
                f"likelihood='bernoulli' is of one output, but the network has {outputs}; use 'categorical'"
            )
        return name, _of_second_class(y)
    if y.shape[1] < 2 or not are_probabilities(y):
        raise DataError(
            "likelihood 'categorical' needs targets that are one-hot or probabilities, two or more columns with "
            "rows of numbers of at least 0 that add up to 1; load the data with targets='one_hot', or use "
            "likelihood='gaussian'"
        )
    return name, y


def _of_second_class(y: Tensor) -> Tensor:
    """Probability of the second of two classes, [n, 1]."""
    if y.shape[1] == 2 and are_probabilities(y):
        return y[:, 1:]
    if y.shape[1] == 1 and bool((y.abs() == 1).all()):
        return (y + 1) / 2
    if y.shape[1] != 1 or not bool(((y >= 0) & (y <= 1)).all()):
        raise DataError(
            "likelihood 'bernoulli' needs targets in one column, −1 and 1 or probabilities between 0 and 1, or "
            "one-hot in two; use likelihood='gaussian' for other numbers"
        )
    return y
