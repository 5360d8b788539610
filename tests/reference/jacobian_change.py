"""‖J(θ) − J(θ₀)‖₂ by dense algebra, at one point and in many random directions."""

import copy
import itertools

import torch
from torch.func import functional_call, jacrev, vmap

from tests.reference.dense import dense_jacobian


def with_parameters(model, values):
    """A copy of the network at other values of its parameters, a mapping or one flat vector."""
    other = copy.deepcopy(model)
    if isinstance(values, torch.Tensor):
        torch.nn.utils.vector_to_parameters(values.clone(), other.parameters())
    else:
        other.load_state_dict(values, strict=False)
    return other


def dense_change(model, values, x):
    """‖J(θ) − J(θ₀)‖₂ from both Jacobians in full."""
    difference = dense_jacobian(with_parameters(model, values), x) - dense_jacobian(model, x)
    return float(torch.linalg.matrix_norm(difference, 2))


def best_of_random_directions(model, x, radius, samples, generator, chunk=500):
    """The largest ‖J(θ₀ + Rd) − J(θ₀)‖₂ over so many random unit vectors d."""
    parameters = {k: p.detach() for k, p in model.named_parameters()}

    def jacobian(theta):
        blocks = vmap(jacrev(lambda t, xi: functional_call(model, t, (xi[None],))[0]), (None, 0))(theta, x)
        return torch.cat([b.flatten(0, 1).flatten(1) for b in blocks.values()], dim=1)

    origin, best = jacobian(parameters), 0.0
    for _ in range(samples // chunk):
        draws = {
            k: torch.randn(chunk, *p.shape, dtype=p.dtype, generator=generator) for k, p in parameters.items()
        }
        norm = sum(d.flatten(1).square().sum(1) for d in draws.values()).sqrt()
        moved = {
            k: p + radius * (draws[k].flatten(1) / norm[:, None]).view_as(draws[k]) for k, p in parameters.items()
        }
        change = vmap(jacobian)(moved) - origin
        best = max(best, float(torch.linalg.eigvalsh(change @ change.mT)[:, -1].max()) ** 0.5)
    return best


def supremum_of_two_example_relu(net, x, radius):
    """The exact supremum for a shallow ReLU network on two examples, over all activation patterns of all units.

    Each unit has four patterns; the cheapest way into one is a projection onto a cone with two faces.
    """
    weights, signs = net.hidden.weight.detach(), net.signs[0]
    costs = torch.tensor([[_distance(w, x, p) for p in itertools.product((1, -1), repeat=2)] for w in weights])
    patterns = torch.tensor(list(itertools.product((1.0, 0.0), repeat=2)), dtype=x.dtype)
    active = (weights @ x.T > 0).to(x)
    flips = signs[:, None, None] * (patterns - active[:, None]) / len(signs) ** 0.5  # [m, 4, 2]
    choices = torch.cartesian_prod(*[torch.arange(4)] * len(weights))  # [4^m, m]
    units = torch.arange(len(weights))
    f = flips[units, choices[costs[units, choices].square().sum(1) <= radius**2]]  # [..., m, 2]
    return float(torch.linalg.eigvalsh((f.mT @ f) * (x @ x.T))[:, -1].max().clamp_min(0)) ** 0.5


def _distance(w, x, pattern):
    """From w to the nearest v with s_i vᵀx_i ≥ 0 for both signs s: w, on one face, or on both."""
    faces = [x[:0], x[:1], x[1:], x]
    nearest = [w - torch.linalg.pinv(f) @ (f @ w) if len(f) else w for f in faces]
    feasible = [v for v in nearest if all(s * float(v @ xi) >= -1e-12 for s, xi in zip(pattern, x, strict=True))]
    return min(float((v - w).norm()) for v in feasible)
