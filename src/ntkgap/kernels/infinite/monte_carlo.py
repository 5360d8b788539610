"""Estimates of infinite-width kernels from finite networks, for models whose limit has no recursion."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError, ModelError
from ntkgap.kernels.empirical import empirical_ntk
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.neutral import neutral
from ntkgap.kernels.progress import tracked
from ntkgap.models.randomness import Seeded


class MonteCarloKernel(NamedTuple):
    """Means over independent networks with their standard errors, [n1, n2] each."""

    nngp: Tensor
    nngp_error: Tensor
    ntk: Tensor
    ntk_error: Tensor


class RunningMean:
    """Mean and standard error of tensors that come one by one (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, value: Tensor) -> None:
        """One more."""
        self.count += 1
        change = value - self.mean
        self.mean = self.mean + change / self.count
        self.squares = self.squares + change * (value - self.mean)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and standard error of the mean."""
        mean, squares = torch.as_tensor(self.mean), torch.as_tensor(self.squares)
        return mean, (squares / (self.count - 1) / self.count).sqrt()


def monte_carlo_kernel(
    build_model: Callable[[], nn.Module],
    x1: Any,
    x2: Any = None,
    *,
    draws: int = 32,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    memory_budget: int | None = None,
    progress: bool = False,
) -> MonteCarloKernel:
    r"""Mean kernels of networks drawn at random, with standard errors.

    .. math:: \hat\Theta = \frac{1}{S} \sum_s \frac{1}{C} \sum_a K_s[i, j, a, a], \qquad
              \hat\Sigma = \frac{1}{S} \sum_s \frac{1}{C} \sum_a f_{s,a}(x_i) f_{s,a}(x_j)

    The standard errors are those of the mean over draws at *this* width. The mean itself differs from the limit
    by a bias that falls like 1/width: compare two widths to see it (Hanin, Nica 2020).

    Args:
        build_model: makes a network [n, ...] -> [n, C] with fresh random weights each time it is called.
        x1: n1 inputs, as ``empirical_ntk`` takes them.
        x2: n2 inputs; x1 if not given.
        draws: number S of networks, at least 2.
        seed: of the random numbers that torch draws while networks are built; the global generators, from which
            other threads may draw meanwhile, are not touched.
        dtype: of the arithmetic, for ``empirical_ntk``.
        memory_budget: for ``empirical_ntk``.
        progress: show a progress bar over draws.

    Raises:
        KernelError: if there are fewer than two draws, or the networks are all the same.
        ModelError: if build_model does not return a network.

    Example:
        >>> found = ng.kernels.monte_carlo_kernel(lambda: ng.MLP(3, 1, 64, 1), torch.eye(3), draws=4)
        >>> found.ntk.shape, found.ntk_error.shape
        (torch.Size([3, 3]), torch.Size([3, 3]))
    """
    if not callable(build_model):
        raise ModelError(f"build_model must be a function that makes a network, got {type(build_model).__name__}")
    check_draws(draws, seed)
    nngp, ntk = RunningMean(), RunningMean()
    with neutral():
        for draw in tracked(range(draws), "Monte Carlo kernel", progress):
            model = draw_network(build_model, "build_model", seed * 1_000_003 + draw)
            theta = empirical_ntk(model, x1, x2, outputs="mean", dtype=dtype, memory_budget=memory_budget)
            ntk.add(theta.double())
            f1 = _outputs(model, x1, dtype)
            nngp.add(f1 @ (f1 if x2 is None else _outputs(model, x2, dtype)).mT / f1.shape[1])
        refuse_equal_networks("build_model", ntk, nngp)
        return MonteCarloKernel(*nngp.result(), *ntk.result())


def check_draws(draws: object, seed: object) -> None:
    """Refuse what is no number of networks, or no seed.

    Raises:
        KernelError: if they are not integers, the number at least 2 and the seed at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise KernelError(f"seed must be an integer of at least 0, got {seed!r}")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 2:
        raise KernelError(
            f"draws must be an integer of at least 2 (one draw has no standard error), got {draws!r}"
        )


def draw_network(build: Callable[[], nn.Module], name: str, seed: int) -> nn.Module:
    """A network built from a seed; the global generators are not touched.

    Raises:
        ModelError: if ``build``, which messages call ``name``, gives something else.
    """
    try:
        with Seeded(seed):
            model = build()
    except TypeError as error:
        raise ModelError(
            f"{name} could not be called ({error}); infinite_width_monte_carlo calls build(width), "
            "monte_carlo_kernel build_model()"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{name} must return an nn.Module, got {type(model).__name__}")
    return model


def refuse_equal_networks(name: str, *means: RunningMean) -> None:
    """Refuse kernels that do not vary at all.

    Raises:
        KernelError: if no mean has a spread.
    """
    if not any(bool(torch.as_tensor(mean.squares).any()) for mean in means):
        raise KernelError(
            f"all networks have the same kernel: {name} must draw new weights on every call, without a generator "
            "or with one that it advances"
        )


def _outputs(model: nn.Module, x: Any, dtype: torch.dtype | None) -> Tensor:
    """Outputs in float64, [n, C], for inputs as ``empirical_ntk`` takes them."""
    point = Point(model, dtype=dtype)
    return point.values(point.inputs(x)).double()
