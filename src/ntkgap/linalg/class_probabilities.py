"""Class probabilities under Gaussian outputs: E softmax(f) for f ~ N(m, V), in closed form or by drawing."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ntkgap.errors import KernelError

METHODS = ("probit", "monte_carlo", "bridge")

# Added to the diagonal of V before it is factorized, in units of its largest entry: standard deviations change by
# less than 10⁻⁵ of the largest.
RELATIVE_JITTER = 1e-10


def class_probabilities(
    mean: Tensor,
    covariance: Tensor,
    method: str = "probit",
    *,
    samples: int = 1000,
    generator: Generator | None = None,
) -> Tensor:
    r"""Mean of softmax(f) for f ~ N(m, V) at every point, [k, C]; gradients reach m and V.

    ``"probit"``: softmax(m_c/√(1 + πV_cc/8)), without the covariances of outputs (MacKay 1992, *The evidence
    framework applied to classification networks*; for several classes as in Daxberger et al. 2021, *Laplace
    Redux*).

    ``"monte_carlo"``: the mean over draws, right but for an error of at most 1/(2√samples).

    ``"bridge"``: the mean of the Dirichlet distribution whose Laplace approximation in the basis of the softmax
    has the same moments (Hobbhahn, Kristiadi, Hennig 2022, *Fast predictive uncertainty for classification with
    Bayesian deep networks*),

    .. math:: \alpha_c = \frac{1}{V_{cc}} \Bigl( 1 - \frac2C + \frac{e^{m_c}}{C^2} \sum_l e^{-m_l} \Bigr),

    of m and V with their mean over classes removed, which changes no softmax. It is exact for moments that a
    Dirichlet distribution has. Others have V_cc too large or too small beside m_c, and then it is off even where V
    is small; for two classes it is softmax(m), whatever V.

    Args:
        mean: m, [k, C], C ≥ 2.
        covariance: V, [k, C, C].
        method: one of the three.
        samples: number of draws.
        generator: source of the draws; torch's global one if not given.

    Raises:
        KernelError: if the method is unknown, the number of samples is none, or a shape does not fit.
    """
    if method not in METHODS:
        raise KernelError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    if mean.ndim != 2 or mean.shape[1] < 2 or covariance.shape != (*mean.shape, mean.shape[1]):
        raise KernelError(
            f"class probabilities need a mean [k, C] of two or more classes and a covariance [k, C, C], got "
            f"{tuple(mean.shape)} and {tuple(covariance.shape)}"
        )
    variance = covariance.diagonal(dim1=1, dim2=2)
    if method == "probit":
        return F.softmax(mean / (1 + math.pi / 8 * variance).sqrt(), dim=1)
    if method == "bridge":
        return _bridge(mean, covariance)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise KernelError(f"samples must be an integer of at least 1, got {samples!r}")
    noise = torch.randn(samples, *mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
    draws = mean + torch.einsum("kab,skb->ska", jittered_root(covariance), noise)
    return F.softmax(draws, dim=2).mean(dim=0)


def jittered_root(covariance: Tensor) -> Tensor:
    """L with LLᵀ = V + jitter, by Cholesky: V may be singular, and gradients of eigenvectors are not safe.

    Raises:
        KernelError: if V is not positive semidefinite.
    """
    largest = covariance.diagonal(dim1=-2, dim2=-1).amax(dim=-1, keepdim=True)
    jitter = (RELATIVE_JITTER * largest + torch.finfo(covariance.dtype).tiny).expand(*covariance.shape[:-1])
    root, failed = torch.linalg.cholesky_ex(covariance + torch.diag_embed(jitter))
    if bool(failed.any()):
        raise KernelError(
            "the covariance of the outputs is not positive semidefinite; was it computed in float64?"
        )
    return root


def as_two_classes(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """One logit f [k, 1] as the outputs (0, f) of two classes: moments [k, 2] and [k, 2, 2]."""
    return F.pad(mean, (1, 0)), F.pad(covariance, (1, 0, 1, 0))


def _bridge(mean: Tensor, covariance: Tensor) -> Tensor:
    c = mean.shape[1]
    centered = mean - mean.mean(dim=1, keepdim=True)
    rows = covariance.mean(dim=2)
    variance = covariance.diagonal(dim1=1, dim2=2) - 2 * rows + rows.mean(dim=1, keepdim=True)
    # In logarithms: e^m overflows where the network is sure.
    spread = centered + torch.logsumexp(-centered, dim=1, keepdim=True) - 2 * math.log(c)
    offset = torch.full_like(spread, 1 - 2 / c).log()  # −∞ for two classes
    smallest = torch.finfo(variance.dtype).tiny
    return F.softmax(torch.logaddexp(spread, offset) - variance.clamp_min(smallest).log(), dim=1)
