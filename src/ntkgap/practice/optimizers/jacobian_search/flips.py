"""Displacements of the shallow ReLU network that flip many activations at little cost."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ntkgap.models import ShallowNet
from ntkgap.models.nonlinearities import Abs
from ntkgap.practice.optimizers.jacobian_search.ascent import Found
from ntkgap.practice.optimizers.jacobian_search.landscape import Landscape

# Flips of one unit at most: their joint cost needs the solution of a system of that size.
FLIPS_A_UNIT = 32
# Single examples that the budget is spent on, for a start.
EXAMPLES = 4
ROUNDS = 6


def can_flip(model: nn.Module, landscape: Landscape) -> bool:
    """Whether the model is a shallow network of which the hidden weights with their kinks are searched over."""
    kinked = isinstance(model, ShallowNet) and isinstance(model.nonlinearity, nn.ReLU | nn.LeakyReLU | Abs)
    return kinked and landscape.names == ["hidden.weight"]


def flip_activations(model: ShallowNet, landscape: Landscape, radius: float) -> Found:
    r"""Spend R² on flips, the cheapest for what they bring first.

    Flipping unit r on example i costs at least (w_rᵀx_i)²/‖x_i‖² and adds u_i²‖x_i‖²/m to ‖ΔJᵀu‖². Several flips
    of a unit share the smallest Δw_r that makes them all. u is at first uniform, or a single example; then it
    is the singular vector of what was found, as long as that helps.

    Args:
        model: the network at θ₀.
        landscape: of that network; counts the Jacobians.
        radius: R.
    """
    flips = _Flips.of(model, landscape.x.own_leaves()[0])
    best: Found | None = None
    for weights in flips.first_weights(radius):
        found: Found | None = None
        for _ in range(ROUNDS):
            displacement = flips.cheapest(weights, radius)
            peak = landscape.peak(displacement)
            if found is not None and peak.value <= found.peak.value:
                break
            found = Found(displacement, peak)
            weights = peak.vector[:, 0].square()
        if found is not None and (best is None or found.peak.value > best.peak.value):
            best = found
    assert best is not None
    return best


@dataclass(frozen=True)
class _Flips:
    x: Tensor  # [n, d]
    z: Tensor  # w_rᵀx_i, [m, n]
    costs: Tensor  # squared length of Δw_r that flips unit r on example i alone, [m, n]

    @staticmethod
    def of(model: ShallowNet, x: Tensor) -> "_Flips":
        rows = model.flatten(x).detach()
        z = rows @ model.hidden.weight.detach().T
        # Beyond the kink by more than the rounding of a pre-activation.
        margin = torch.finfo(z.dtype).eps ** 0.5 * z.square().mean().sqrt()
        z = (z + torch.where(z >= 0, margin, -margin)).T.contiguous()
        norms = rows.square().sum(1).clamp_min(torch.finfo(z.dtype).tiny)
        return _Flips(rows, z, z.square() / norms)

    def first_weights(self, radius: float) -> list[Tensor]:
        """Squares of u to begin with, [n] each."""
        n = len(self.x)
        affordable = (self.costs.sort(0).values.cumsum(0) <= radius**2).sum(0)
        gains = affordable * self.x.square().sum(1)
        single = torch.eye(n).to(self.x)[gains.topk(min(EXAMPLES, n)).indices]
        return [torch.full((n,), 1 / n).to(self.x), *single]

    def cheapest(self, weights: Tensor, radius: float) -> Tensor:
        """The flips with the lowest cost for their gain that R² buys: their displacement, flat."""
        prices = self.costs / (weights * self.x.square().sum(1))
        order = prices.flatten().sort().values
        order = order[torch.isfinite(order)]
        low, high = 0, len(order)  # how many flips are affordable, and how many are surely too many
        best = torch.zeros_like(self.z[:, :1] * self.x[:1])
        while low < high:
            middle = (low + high + 1) // 2
            displacement = self._smallest(prices, float(order[middle - 1]))
            if float(displacement.square().sum()) <= radius**2:
                low, best = middle, displacement
            else:
                high = middle - 1
        return best.flatten()

    def _smallest(self, prices: Tensor, highest: float) -> Tensor:
        """The smallest displacement, [m, d], that makes the flips of up to some price."""
        most = min(FLIPS_A_UNIT, *self.x.shape)
        wanted, index = prices.topk(most, dim=1, largest=False)  # [m, k]
        chosen = wanted <= highest
        moved = chosen.any(1)
        index, chosen = index[moved], chosen[moved].to(self.x)
        gram = self.x @ self.x.T
        systems = gram[index[:, :, None], index[:, None, :]] * chosen[:, :, None] * chosen[:, None, :]
        # Equal inputs flip together; the ridge makes their system solvable.
        ridge = torch.finfo(gram.dtype).eps ** 0.75 * gram.diagonal().mean()
        systems = systems + torch.diag_embed(ridge + (1 - chosen) * gram.diagonal().mean())
        targets = -self.z[moved].gather(1, index) * chosen
        shares = torch.linalg.solve(systems, targets[:, :, None])[:, :, 0] * chosen
        displacement = torch.zeros(len(self.z), self.x.shape[1]).to(self.x)
        displacement[moved] = (shares[:, :, None] * self.x[index]).sum(1)
        return displacement
