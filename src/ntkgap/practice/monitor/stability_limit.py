"""The largest curvature at which an optimizer is stable."""

import math

import torch


def stability_limit(optimizer: torch.optim.Optimizer) -> tuple[float, str]:
    r"""λ above which the optimizer's steps on ½λθ² grow, or NaN with the reason.

    Gradient descent 2/η; heavy ball 2(1 + β)/(η(1 − d)) with dampening d; Nesterov 2(1 + β)/((1 + 2β)η). These are
    the values at which the characteristic polynomial of the update has the root −1 (Cohen et al. 2021).
    Where rates, momenta or kinds differ between parameter groups, and for Adam and its like, whose limit is for
    a curvature preconditioned by their own state (Cohen et al. 2022), there is no single number.

    Args:
        optimizer: any; its present learning rate counts.
    """
    name = type(optimizer).__name__
    if not isinstance(optimizer, torch.optim.SGD):
        return (
            math.nan,
            f"{name} has no stability limit for the curvature as it is (it preconditions, or searches)",
        )
    limits = {_of_group(group) for group in optimizer.param_groups}
    if len(limits) > 1:
        return math.nan, "the parameter groups of the optimizer have different learning rates or momenta"
    limit = limits.pop()
    return limit, "" if limit == limit else "the optimizer maximizes, or takes no steps"


def _of_group(group: dict) -> float:
    eta, beta, dampening = float(group["lr"]), float(group["momentum"]), float(group["dampening"])
    if group.get("maximize") or not eta > 0:
        return math.nan
    if group["nesterov"]:
        return 2 * (1 + beta) / ((1 + 2 * beta) * eta)
    if not beta:
        return 2 / eta
    return 2 * (1 + beta) / (eta * (1 - dampening)) if dampening < 1 else math.nan
