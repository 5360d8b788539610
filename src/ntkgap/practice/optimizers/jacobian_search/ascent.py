"""Projected ascent within a ball."""

from dataclasses import dataclass

from torch import Tensor

from ntkgap.practice.optimizers.jacobian_search.landscape import Landscape, Peak

# Widths of the kinks to try one after the other, in root mean squares of what goes into them.
SMOOTHINGS: tuple[float | None, ...] = (1.0, 0.3, 0.1, 0.03)
# The longest step to try, in radii.
LONGEST = 4.0
# The first and the last length of steps that are taken unseen, in radii.
GLIDE = (0.3, 0.03)
# How often a step that does not help is halved.
HALVINGS = 8
# Relative gain of a step below which the climb has arrived.
ARRIVED = 1e-5


@dataclass(frozen=True)
class Found:
    """A displacement and what the landscape is there."""

    displacement: Tensor
    peak: Peak


def ascend(landscape: Landscape, start: Found, radius: float, steps: int) -> Found:
    """The largest ‖ΔJ‖ on a way that leads up from a displacement, which is on it too.

    Args:
        landscape: what to climb on.
        start: where to begin, within the ball.
        radius: R.
        steps: gradients at most, for each of the two parts of the way.
    """
    widths = SMOOTHINGS if landscape.kinks else (None,)
    return _climb(landscape, _glide(landscape, start, radius, steps, widths), radius, steps, widths)


def _glide(
    landscape: Landscape, start: Found, radius: float, steps: int, widths: tuple[float | None, ...]
) -> Found:
    """Ever shorter steps along the gradient whether they help or not; the largest ‖ΔJ‖ on the way.

    Demanding of each step that ‖ΔJ‖ grows would end the way at the first of many local maxima, or, where
    activations flip, at the first ledge.
    """
    best = at = start
    for k in range(steps):
        slope = landscape.gradient(at.displacement, at.peak.vector, widths[k * len(widths) // steps])
        length = GLIDE[0] * (GLIDE[1] / GLIDE[0]) ** (k / max(steps - 1, 1))
        position = _moved(at.displacement, slope, radius, length)
        if position is None:
            continue
        at = Found(position, landscape.peak(position))
        if at.peak.value > best.peak.value:
            best = at
        elif not at.peak.value > 0:
            at = best
    return best


def _climb(
    landscape: Landscape, start: Found, radius: float, steps: int, widths: tuple[float | None, ...]
) -> Found:
    """Steps each of which has a larger ‖ΔJ‖: the first of ever shorter ones that helps.

    The next step begins with twice the length that helped; where none helps, the next width is taken.
    """
    best, length = start, LONGEST
    for _ in range(steps):
        slope = landscape.gradient(best.displacement, best.peak.vector, widths[0])
        better, length = _improved(landscape, best, slope, radius, length)
        gain = better.peak.value - best.peak.value
        best = better
        if gain <= ARRIVED * best.peak.value:
            if len(widths) == 1:
                break
            widths, length = widths[1:], LONGEST
    return best


def _improved(
    landscape: Landscape, best: Found, slope: Tensor, radius: float, length: float
) -> tuple[Found, float]:
    """The first of ever shorter steps that helps, and the length to begin the next one with."""
    for _ in range(HALVINGS + 1):
        position = _moved(best.displacement, slope, radius, length)
        if position is None:
            break
        peak = landscape.peak(position)
        if peak.value > best.peak.value:
            return Found(position, peak), 2 * length
        length /= 2
    return best, length


def _moved(position: Tensor, slope: Tensor, radius: float, length: float) -> Tensor | None:
    """A step of length·R along the slope, projected onto the ball; None where there is no slope."""
    norm = float(slope.norm())
    if not 0 < norm < float("inf"):
        return None
    moved = position + slope * (length * radius / norm)
    distance = float(moved.norm())
    return moved * (radius / distance) if distance > radius else moved
