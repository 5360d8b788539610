"""The Gaussian prior over a network's parameters, N(θ_prior, I/δ)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError, ModelError
from ntkgap.kernels.empirical.network.selection import select_parameters

PriorMean = nn.Module | Mapping[str, Tensor] | None


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
