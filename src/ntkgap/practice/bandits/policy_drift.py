"""How far a policy's network has left the regime in which its exploration is justified."""

import torch

from ntkgap.kernels import relative_change
from ntkgap.practice.bandits.gradient_source import GradientSource
from ntkgap.practice.bandits.reward_model import RewardModel

# Seen examples that drift is measured on, spread evenly over the rounds.
EXAMPLES = 64


def drift(model: RewardModel, initial: GradientSource, present: GradientSource) -> dict[str, float]:
    """Distances between the network at θ₀ and at its present parameters θ, on examples it has seen.

    Returns:
        ``kernel_drift`` ‖K(θ) − K(θ₀)‖/‖K(θ₀)‖ (Frobenius) of the Gram matrix of the chosen arms;
        ``parameter_drift`` ‖θ − θ₀‖ and ``relative_parameter_drift``, the same over ‖θ₀‖;
        ``linearization_error`` ‖f(θ) − f(θ₀) − J(θ₀)(θ − θ₀)‖/‖f(θ) − f(θ₀)‖, NaN before the network has changed.

    Raises:
        Diverged: if the network's outputs are not finite.
    """
    inputs, outputs, _ = model.history()
    chosen = torch.linspace(0, len(inputs) - 1, min(EXAMPLES, len(inputs))).round().long()
    (before, g0), (after, g) = (source.at(inputs[chosen], outputs[chosen]) for source in (initial, present))
    pairs = zip(model.network.named_parameters(), model.initial.parameters(), strict=True)
    start = {name: p.detach().double() for name, p in model.initial.named_parameters()}
    change = {name: p.detach().double() - p0.detach().double() for (name, p), p0 in pairs}
    moved = _norm(change)
    response, error = float((after - before).norm()), float((after - before - g0.along(change)).norm())
    return {
        "kernel_drift": relative_change(g.products(g), g0.products(g0)),
        "parameter_drift": moved,
        "relative_parameter_drift": moved / _norm(start),
        "linearization_error": error / response if response > 0 else float("nan"),
    }


def _norm(tensors: dict[str, torch.Tensor]) -> float:
    return float(torch.stack([t.norm() for t in tensors.values()]).norm())
