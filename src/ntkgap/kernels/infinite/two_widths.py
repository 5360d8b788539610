"""What means over networks of two widths say of infinite width, and whether it can be trusted."""

import warnings

from torch import Tensor

from ntkgap.errors import AccuracyWarning, KernelError

# Differences between the two widths are chance up to so many standard errors.
STANDARD_ERRORS = 3.0

# Beyond this relative difference what the extrapolation leaves over (about half its square) is worth a warning;
WORTH_A_WARNING = 0.2

# beyond this no limit is in sight: a kernel that grows like the width differs by 3/4, like its root by a half.
NO_LIMIT = 0.4


def extrapolate(
    name: str, widths: tuple[int, int], narrow: tuple[Tensor, Tensor], wide: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The limit of means at two widths, checked.

    Args:
        name: of the kernel, for messages.
        widths: the smaller and the larger one.
        narrow: mean and standard error at the smaller one.
        wide: the same at the larger one.

    Returns:
        The estimate and its standard error.

    Raises:
        KernelError: if the means differ by more than chance and ``NO_LIMIT``.
    """
    (first, first_error), (second, second_error) = narrow, wide
    difference, size = float((first - second).norm()), float(second.norm())
    noise = float((first_error.square() + second_error.square()).sum().sqrt())
    relative, chance = (difference / size, noise / size) if size else (0.0, 0.0)
    doubt = ""
    if difference > STANDARD_ERRORS * noise and relative > WORTH_A_WARNING:
        times = size / float(first.norm())
        what = (
            f"{name} at width {widths[1]} is {times:.3g} times as large as at width {widths[0]} and differs by "
            f"{relative:.0%} (chance: {chance:.1%})"
        )
        if relative > NO_LIMIT:
            raise KernelError(
                f"{what}: it does not tend to a limit at these widths. Build networks in NTK parametrization (in "
                "the standard one Θ grows with the width, in the mean-field one Σ vanishes), or much wider ones"
            )
        doubt = f"{what}: about half the square of that is left after extrapolation; take a larger width"
    elif STANDARD_ERRORS * chance > NO_LIMIT:
        doubt = (
            f"{name} at widths {widths[0]} and {widths[1]} is known to {chance:.0%} only: if it had no limit, "
            "that would not show; take more draws"
        )
    if doubt:
        warnings.warn(doubt, AccuracyWarning, stacklevel=4)
    (m, n), (v, u) = widths, (first_error.square(), second_error.square())
    return (n * second - m * first) / (n - m), (n**2 * u + m**2 * v).sqrt() / (n - m)
