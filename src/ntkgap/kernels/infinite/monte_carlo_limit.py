"""Limits by Monte Carlo, with the methods of those that are followed through the network."""

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ntkgap.errors import DataError, KernelError, ModelError
from ntkgap.kernels.empirical import empirical_ntk
from ntkgap.kernels.empirical.network.refusals import refuse_coupling_layers
from ntkgap.kernels.infinite.monte_carlo import RunningMean, check_draws, draw_network, refuse_equal_networks
from ntkgap.kernels.infinite.readout import covariance_of
from ntkgap.kernels.infinite.two_widths import extrapolate
from ntkgap.kernels.neutral import neutral
from ntkgap.kernels.progress import tracked

# Pairs of equal index are taken from kernels of so many inputs.
BLOCK = 16

# The narrow networks have this share of the width: less noise is amplified than with a half, more bias is seen.
RATIO = 4

_noting = Lock()


class EstimatedKernels(NamedTuple):
    """Both kernels of one output with their standard errors, [n1, n2], or [n] on the diagonal."""

    nngp: Tensor
    ntk: Tensor
    nngp_error: Tensor
    ntk_error: Tensor


def infinite_width_monte_carlo(
    build: Callable[[int], nn.Module], *, width: int = 256, draws: int = 32, seed: int = 0
) -> "MonteCarloLimit":
    r"""Kernels in the limit of infinite width by Monte Carlo, for networks that ``infinite_width`` refuses.

    Networks are drawn at two widths, m and m/4. Their mean kernels differ from the limit by a bias of order 1/m
    (Hanin, Nica 2020; Dyer, Gur-Ari 2020), of which the extrapolation

    .. math:: \hat K = (4 \bar K_m - \bar K_{m/4})/3, \qquad
              \mathrm{se}^2 = (16\,\mathrm{se}_m^2 + \mathrm{se}_{m/4}^2)/9

    leaves terms of order 1/m². The two means are compared: a warning says when they differ by more than chance and
    a fifth, or are too noisy to be compared, and an error when they do not tend to a limit.

    The result has the methods of :func:`infinite_width`; kernels are means over all outputs. Where the tangent
    kernel of a single network does not concentrate (softmax attention with few heads), the estimate is of its
    expectation.

    Args:
        build: makes a network [n, ...] -> [n, C] of a given width with fresh random weights, in NTK
            parametrization, or another in which kernels have a limit; more outputs C make better estimates.
        width: of the wider networks, m; a multiple of 4.
        draws: networks at each width, at least 2; standard errors fall like 1/√draws.
        seed: of the random numbers that torch draws while networks are built; its global generators are not
            touched.

    Raises:
        ModelError: if ``build`` is no function.
        KernelError: if ``width`` is no positive multiple of 4, or ``draws`` less than 2.

    Example:
        >>> build = lambda width: nn.Sequential(ng.NTKLinear(3, width), nn.ReLU(), ng.NTKLinear(width, 10))
        >>> found = ng.infinite_width_monte_carlo(build, width=64, draws=40).kernels(torch.eye(3))
        >>> found.ntk.shape, bool((found.ntk_error > 0).all())
        (torch.Size([3, 3]), True)
    """
    return MonteCarloLimit(build, width, draws, seed)


class MonteCarloLimit:
    """The limit of networks by Monte Carlo; made by :func:`infinite_width_monte_carlo`.

    Attributes:
        build: makes a network of a width.
        width, draws, seed: see there.
        error: largest relative standard error, in Frobenius norm, of any kernel asked for so far.
    """

    def __init__(self, build: Callable[[int], nn.Module], width: int, draws: int, seed: int) -> None:
        if not callable(build):
            raise ModelError(f"build must be a function width -> network, got {type(build).__name__}")
        check_draws(draws, seed)
        if isinstance(width, bool) or not isinstance(width, int) or width < 1 or width % RATIO:
            raise KernelError(
                f"width must be a positive multiple of {RATIO} (a {RATIO}th of it is used too), got {width!r}"
            )
        self.build, self.width, self.draws, self.seed = build, width, draws, seed
        self.error = 0.0

    def __repr__(self) -> str:
        return f"infinite_width_monte_carlo(width={self.width}, draws={self.draws}, seed={self.seed})"

    def nngp(
        self,
        x1: Tensor,
        x2: Tensor | None = None,
        *,
        diagonal: bool = False,
        memory_budget: int | None = None,
        dtype: torch.dtype | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Covariance Σ of an output at initialization, [n1, n2]; arguments as for :meth:`kernels`."""
        return self._estimate("Σ", x1, x2, diagonal, memory_budget, dtype, progress)[0][0]

    def ntk(
        self,
        x1: Tensor,
        x2: Tensor | None = None,
        *,
        diagonal: bool = False,
        memory_budget: int | None = None,
        dtype: torch.dtype | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Tangent kernel Θ of an output, [n1, n2]; arguments as for :meth:`kernels`."""
        return self._estimate("Θ", x1, x2, diagonal, memory_budget, dtype, progress)[0][0]

    def kernels(
        self,
        x1: Tensor,
        x2: Tensor | None = None,
        *,
        diagonal: bool = False,
        memory_budget: int | None = None,
        dtype: torch.dtype | None = None,
        progress: bool = False,
    ) -> EstimatedKernels:
        """Covariance Σ and tangent kernel Θ of an output, and the standard error of every entry.

        The same inputs give the same numbers again: the networks are drawn anew from the seed. Errors of entries
        are correlated, as the networks are the same for all of them.

        Args:
            x1: n1 inputs: a tensor, a tuple or a mapping of arguments, as ``empirical_ntk`` takes them.
            x2: inputs [n2, ...]; x1 if not given.
            diagonal: only the pairs (x1[i], x2[i]), [n1].
            memory_budget: bytes, for ``empirical_ntk``.
            dtype: of the networks' arithmetic; their own if not given.
            progress: show a progress bar over networks.

        Returns:
            ``nngp``, ``ntk``, ``nngp_error`` and ``ntk_error``, in float64.

        Raises:
            KernelError: if the kernels of the two widths do not tend to a limit.
            ModelError: if ``build`` does not give networks, or their outputs mix the examples.
            DataError: if x1 and x2 cannot be paired.
        """
        (nngp, nngp_error), (ntk, ntk_error) = self._estimate(
            "ΣΘ", x1, x2, diagonal, memory_budget, dtype, progress
        )
        return EstimatedKernels(nngp, ntk, nngp_error, ntk_error)

    def _estimate(
        self,
        names: str,
        x1: Tensor,
        x2: Tensor | None,
        diagonal: bool,
        memory_budget: int | None,
        dtype: torch.dtype | None,
        progress: bool,
    ) -> list[tuple[Tensor, Tensor]]:
        """The kernels of the given names, "Σ" or "Θ", each with its standard error."""
        if diagonal and not all(isinstance(x, Tensor | None) for x in (x1, x2)):
            raise DataError("diagonal=True takes tensors; leave it out for tuples and mappings of inputs")
        if diagonal and x2 is not None and len(x1) != len(x2):
            raise DataError(f"diagonal=True pairs x1[i] with x2[i]; got {len(x1)} and {len(x2)} inputs")
        widths = (self.width // RATIO, self.width)
        means = {(name, width): RunningMean() for name in names for width in widths}
        runs = [(width, draw) for width in widths for draw in range(self.draws)]
        with neutral():
            for width, draw in tracked(runs, "Monte Carlo limit", progress):
                # Networks of the two widths are independent.
                seed = (2 * self.seed + widths.index(width)) * 1_000_003 + draw
                model = draw_network(partial(self.build, width), "build", seed)
                refuse_coupling_layers(model)
                kernels = {
                    "Σ": partial(covariance_of, model),
                    "Θ": partial(empirical_ntk, model, outputs="mean", memory_budget=memory_budget, dtype=dtype),
                }
                for name in names:
                    means[name, width].add(_of_pairs(kernels[name], x1, x2, diagonal).double())
            refuse_equal_networks("build", *means.values())
            estimates = []
            for name in names:
                narrow, wide = (means[name, width].result() for width in widths)
                estimate = extrapolate(name, widths, narrow, wide)
                with _noting:  # calls may come from several threads
                    self.error = max(self.error, _relative(estimate[1], estimate[0]))
                estimates.append(estimate)
            return estimates


def _of_pairs(
    kernel: Callable[[Tensor, Tensor | None], Tensor], x1: Tensor, x2: Tensor | None, diagonal: bool
) -> Tensor:
    """A kernel on all pairs, or block by block on those of equal index."""
    if not diagonal:
        return kernel(x1, x2)
    blocks = (slice(start, start + BLOCK) for start in range(0, len(x1), BLOCK))
    return torch.cat([kernel(x1[b], None if x2 is None else x2[b]).diagonal() for b in blocks])


def _relative(error: Tensor, value: Tensor) -> float:
    size = float(value.norm())
    return float(error.norm()) / size if size else 0.0
