"""The Gaussian prior over a network's parameters, N(θ_prior, I/δ), and what it is measured against."""

import math
from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError, ModelError
from ntkgap.kernels.empirical.selection import select_parameters

PriorMean = nn.Module | Mapping[str, Tensor] | None


def check_hyperparameters(prior_precision: object, noise_variance: object) -> None:
    """Refuse a precision or noise that is not positive and finite.

    Raises:
        KernelError: naming the argument.
    """
    for name, value in (("prior_precision", prior_precision), ("noise_variance", noise_variance)):
        if not isinstance(value, Real) or not 0 < float(value) < math.inf:
            raise KernelError(f"{name} must be a positive and finite number, got {value!r}")


def noise_of_outputs(noise_variance: object, outputs: int) -> Tensor | None:
    """σ² of every output, [C], float64; None for one number, which all share.

    Raises:
        KernelError: if it is neither a positive and finite number nor one for each output.
    """
    if isinstance(noise_variance, Real):
        check_hyperparameters(1.0, noise_variance)
        return None
    try:
        found = torch.as_tensor(noise_variance, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.ndim == 0 and found.numel() == 1:
        raise KernelError(f"noise_variance must be a positive and finite number, got {noise_variance!r}")
    if found.shape != (outputs,) or not bool((torch.isfinite(found) & (found > 0)).all()):
        raise KernelError(
            f"noise_variance must be one positive and finite number, or one for each of the {outputs} outputs, "
            f"got {noise_variance!r}"
        )
    return found


def prior_values(model: nn.Module, prior_mean: PriorMean) -> dict[str, Tensor]:
    """θ_prior of every parameter that requires grad, as float64 copies.

    Raises:
        KernelError: if a parameter is missing, of another shape, or not finite.
        ModelError: if the model has nothing to train.
    """
    trained = select_parameters(model)
    if prior_mean is None:
        return {name: torch.zeros_like(p, dtype=torch.float64) for name, p in trained.items()}
    given = dict(prior_mean.named_parameters()) if isinstance(prior_mean, nn.Module) else prior_mean
    for name, p in trained.items():
        if name not in given or given[name].shape != p.shape:
            found = f"shape {tuple(given[name].shape)}" if name in given else "nothing"
            raise KernelError(
                f"prior_mean has {found} for parameter {name!r}, which has shape {tuple(p.shape)}; give a network "
                "of the same architecture, or its state_dict()"
            )
        if not torch.isfinite(given[name]).all():
            raise KernelError(f"prior_mean is not finite in parameter {name!r}; give finite parameters")
    return {name: given[name].detach().to(p.device, torch.float64).clone() for name, p in trained.items()}


def prior_displacement(model: nn.Module, prior_mean: PriorMean) -> dict[str, Tensor]:
    """θ − θ_prior by parameter, in float64.

    Raises:
        ModelError: if a parameter of the network is not finite.
        KernelError: as ``prior_values`` does.
    """
    prior = prior_values(model, prior_mean)
    for name, p in select_parameters(model).items():
        if not torch.isfinite(p).all():
            raise ModelError(f"parameter {name!r} is not finite: the network diverged; train with a smaller rate")
    return {name: p.detach().double() - prior[name] for name, p in select_parameters(model).items()}
