"""The search from many starts, and its result."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError, StudyError
from ntkgap.kernels.empirical.network.selection import ParameterSelection
from ntkgap.models import ShallowNet
from ntkgap.one_line import one_line
from ntkgap.practice.optimizers.jacobian_search.ascent import Found, ascend
from ntkgap.practice.optimizers.jacobian_search.flips import can_flip, flip_activations
from ntkgap.practice.optimizers.jacobian_search.landscape import Landscape

# A point counts as inside the ball up to this relative rounding of its distance.
ROUNDING = 1e-6
# Random directions that are looked at for each that is started from.
DRAWS = 16


@dataclass(frozen=True)
class JacobianSearch:
    """The largest ‖J(θ) − J(θ₀)‖₂ that was found: a **lower bound** of the supremum over the ball.

    It can refute a condition that asks for less, never confirm one.

    Attributes:
        largest: ‖J(θ) − J(θ₀)‖₂ at ``parameters``, of the network itself.
        parameters: θ, by name; those not searched over are the model's.
        distance: ‖θ − θ₀‖₂, at most the radius.
        evaluations: Jacobians evaluated.
        gradients: gradients taken, each of about the cost of a Jacobian.
        starts: what the climb from each start reached.
        method: the start that led to the largest.
    """

    largest: float
    parameters: dict[str, Tensor]
    distance: float
    evaluations: int
    gradients: int
    starts: dict[str, float]
    method: str

    __repr__ = one_line


def search_jacobian_change(
    model: nn.Module,
    x: Tensor,
    radius: float,
    *,
    starts: int = 4,
    steps: int = 30,
    include: Sequence[Tensor | Mapping[str, Tensor]] = (),
    residual: Tensor | None = None,
    generator: torch.Generator | None = None,
    parameters: ParameterSelection = None,
) -> JacobianSearch:
    r"""Search the ball around a network's present parameters for the largest change of its Jacobian.

    .. math:: \sup_{\lVert \theta - \theta_0 \rVert_2 \le R} \lVert J(\theta) - J(\theta_0) \rVert_2
              \;\ge\; \texttt{largest}

    The two steps that alternate: the largest singular pair (u, v) of ΔJ, then a step in θ along the gradient of
    uᵀJ(θ)v, projected onto the ball: first steps of ever shorter length, then, from the best place they passed,
    such as increase ‖ΔJ‖. Starts are the best of many random directions, the eigendirection
    J₀ᵀu₁ of the tangent kernel, −J₀ᵀr if the residual is given, the best included point, and for ``ShallowNet``
    with a kinked nonlinearity the flipping of activations, the cheapest first. For nonlinearities with kinks, of
    which the change of the Jacobian is made of flips, the gradient is that of a smoothed network; the value never
    is. The second condition of Zhang, Martens, Grosse 2019, theorem 1, is about this supremum.

    Args:
        model: maps [n, ...] to [n] or [n, C]; at θ₀, and not changed. Where a float32 Jacobian hardly changes,
            use float64.
        x: inputs, [n, ...].
        radius: R, positive.
        starts: random directions to start from, at least 1: the best of 16 times as many.
        steps: gradients at most for each of the two parts of every climb (``ascent``).
        include: points of the ball that the result must not fall short of (the end of a path of training, say),
            as flat vectors of the selected parameters or as state dicts.
        residual: r = f(X; θ₀) − y, [n, C].
        generator: source of the random directions; torch's global one if not given.
        parameters: names, or a filter; by default all that require grad.

    Raises:
        StudyError: if a number is out of range.
        KernelError: if an included point is outside of the ball or does not fit the model, or the residual does
            not fit the outputs.
        ModelError, DataError: as :func:`jacobian`.

    Example:
        >>> net, x = ng.MLP(3, 1, 16, 1).double(), torch.randn(4, 3, dtype=torch.float64)
        >>> found = ng.optimizers.search_jacobian_change(net, x, radius=0.5, starts=1, steps=3)
        >>> found.largest > 0
        True
    """
    _check(radius, starts, steps)
    landscape = Landscape(model, x, parameters)
    included = _included(landscape, include, radius)
    reached: dict[str, Found] = {}
    if included:
        reached["included"] = max(included, key=lambda found: found.peak.value)
    if can_flip(model, landscape):
        reached["flips"] = flip_activations(cast(ShallowNet, model), landscape, radius)
    for name, direction in _directions(landscape, residual):
        norm = float(direction.norm())
        if 0 < norm < math.inf:
            displacement = direction * (radius / norm)
            reached[name] = Found(displacement, landscape.peak(displacement))
    reached |= {f"random {i}": f for i, f in enumerate(_random(landscape, radius, starts, generator))}
    for name, found in reached.items():
        if found.peak.value > 0:  # −∞ where the network overflowed, 0 where no pair (u, v) is singled out
            reached[name] = ascend(landscape, found, radius, steps)
    method, best = max(reached.items(), key=lambda item: item[1].peak.value)
    return JacobianSearch(
        best.peak.value,
        landscape.parameters(best.displacement),
        float(best.displacement.norm()),
        landscape.evaluations,
        landscape.gradients,
        {name: found.peak.value for name, found in reached.items()},
        method,
    )


def _check(radius: float, starts: int, steps: int) -> None:
    if not 0 < radius < math.inf:
        raise StudyError(f"radius must be positive and finite, got {radius!r}")
    for name, value, least in (("starts", starts, 1), ("steps", steps, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise StudyError(f"{name} must be an integer of at least {least}, got {value!r}")


def _included(
    landscape: Landscape, include: Sequence[Tensor | Mapping[str, Tensor]], radius: float
) -> list[Found]:
    found = []
    for i, point in enumerate(include):
        displacement = landscape.displacement(point, f"include[{i}]")
        distance = float(displacement.norm())
        if not distance <= radius * (1 + ROUNDING):
            raise KernelError(
                f"include[{i}] is at a distance of {distance:.6g} from the model's parameters, outside of the "
                f"ball of radius {radius:.6g}; leave it out"
            )
        found.append(Found(displacement, landscape.peak(displacement)))
    return found


def _directions(landscape: Landscape, residual: Tensor | None) -> Iterator[tuple[str, Tensor]]:
    """Directions to start in that the network has by itself, of any length."""
    yield "eigendirection", landscape.pullback(landscape.top_output())
    if residual is not None:
        if residual.numel() != landscape.outputs_shape.numel():
            raise KernelError(
                f"the residual has shape {tuple(residual.shape)}, the outputs {tuple(landscape.outputs_shape)}"
            )
        yield "residual", -landscape.pullback(residual.detach().view(landscape.outputs_shape))


def _random(landscape: Landscape, radius: float, starts: int, generator: torch.Generator | None) -> list[Found]:
    """The best of many random directions."""
    found = []
    for _ in range(DRAWS * starts):
        draw = torch.randn(landscape.size, dtype=torch.float64, generator=generator)
        displacement = landscape.like(draw * (radius / draw.norm()))
        found.append(Found(displacement, landscape.peak(displacement)))
        found = sorted(found, key=lambda f: -f.peak.value)[:starts]
    return found
