"""How far an ensemble of M members may be from its own distribution: the floor under every comparison."""

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.gaussian import Gaussian, gaussian_wasserstein
from ntkgap.one_line import one_line


@dataclass(frozen=True)
class EnsembleErrors:
    """How far the moments of an ensemble are from a predicted Gaussian.

    Attributes:
        mean: ‖m̂ − m‖_F as a fraction of the size of a member, √(‖m‖_F² + C·tr V): defined also where m = 0.
        covariance: ‖V̂ − V‖_F/‖V‖_F, with V̂ the unbiased covariance over members, averaged over outputs.
        wasserstein: W₂ of the Gaussians of these moments, as a fraction of the size of a member too.
        z_score: root mean square over points and outputs of √M (m̂ − m)/σ, expected to be 1; points whose predicted
            variance is zero are left out, and where all are it is NaN.

    All have the shape of the leading dimensions, [...].
    """

    mean: Tensor
    covariance: Tensor
    wasserstein: Tensor
    z_score: Tensor

    __repr__ = one_line


def ensemble_errors(outputs: Tensor, predicted: Gaussian) -> EnsembleErrors:
    """Compare the members of an ensemble with the Gaussian that theory says they are draws from.

    Args:
        outputs: of every member, [M, ..., k, C], with M ≥ 2.
        predicted: mean [..., k, C] and covariance [..., k, k].

    Raises:
        KernelError: if the shapes do not fit or there is one member only.
    """
    if outputs.shape[1:] != predicted.mean.shape or len(outputs) < 2:
        raise KernelError(
            f"outputs must have shape (M, {', '.join(map(str, predicted.mean.shape))}) with M ≥ 2 members, "
            f"got {tuple(outputs.shape)}"
        )
    found = ensemble_moments(outputs)
    variance = predicted.variance.sum(dim=-1) * outputs.shape[-1]
    size = (predicted.mean.square().sum(dim=(-2, -1)) + variance).sqrt()
    apart = found.mean - predicted.mean
    std = predicted.std[..., None].expand_as(apart)
    z = torch.where(std > 0, len(outputs) ** 0.5 * apart / std, torch.nan)
    return EnsembleErrors(
        torch.linalg.matrix_norm(apart) / size,
        torch.linalg.matrix_norm(found.covariance - predicted.covariance)
        / torch.linalg.matrix_norm(predicted.covariance),
        gaussian_wasserstein(predicted, found) / size,
        z.square().nanmean(dim=(-2, -1)).sqrt(),
    )


def ensemble_moments(outputs: Tensor) -> Gaussian:
    """The Gaussian with the moments of an ensemble: mean, and unbiased covariance averaged over outputs.

    Args:
        outputs: of every member, [M, ..., k, C], with M ≥ 2.
    """
    members = outputs.double()
    mean = members.mean(dim=0)
    deviations = (members - mean).movedim(0, -1).flatten(-2)  # [..., k, CM]
    return Gaussian(mean, deviations @ deviations.mT / ((len(members) - 1) * outputs.shape[-1]))


def ensemble_floor(
    predicted: Gaussian, members: int, repeats: int = 400, generator: Generator | None = None
) -> EnsembleErrors:
    """The errors that so many draws from the predicted Gaussian itself would show, [repeats, ...] each.

    An ensemble agrees with a prediction if its errors are no larger than such draws' commonly are: compare
    with a quantile over the first dimension.

    Args:
        predicted: mean [..., k, C] and covariance [..., k, k].
        members: size M ≥ 2 of the ensemble.
        repeats: how many ensembles to draw.
        generator: source of randomness; torch's global one if not given.

    Raises:
        KernelError: if a number is out of range.
    """
    if members < 2 or repeats < 1:
        raise KernelError(f"members must be at least 2 and repeats at least 1, got {members!r} and {repeats!r}")
    found = [ensemble_errors(predicted.draw(members, generator), predicted) for _ in range(repeats)]
    return EnsembleErrors(*(torch.stack([getattr(e, f.name) for e in found]) for f in fields(EnsembleErrors)))
