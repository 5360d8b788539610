"""Infinite-width kernels of an ordinary torch model."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import astuple
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ntkgap.errors import AccuracyWarning, DataError, KernelError, ModelError
from ntkgap.kernels.empirical.network.refusals import refuse_coupling_layers
from ntkgap.kernels.infinite.compilation import compile_model
from ntkgap.kernels.infinite.evaluation import Evaluation
from ntkgap.kernels.infinite.integers import takes_integers
from ntkgap.kernels.infinite.pairs import Moments
from ntkgap.kernels.infinite.recursion import Recursion
from ntkgap.kernels.infinite.refusals import (
    refuse_compiled_parts,
    refuse_hopeless_layers,
    refuse_several_inputs,
)
from ntkgap.kernels.neutral import neutral
from ntkgap.kernels.workers import aside
from ntkgap.models.layers import Initialization
from ntkgap.models.substitution import unwrapped

# A relative error of quadrature that nobody should have to look for.
WORTH_A_WARNING = 1e-3

# Numbers looked at together, so that the check of large inputs needs no memory to speak of.
CHECKED_AT_ONCE = 1 << 20

_noting = Lock()


class InfiniteWidthKernels(NamedTuple):
    """Both kernels of one output, [n1, n2], or [n] where only the diagonal was asked for."""

    nngp: Tensor
    ntk: Tensor


def infinite_width(
    model: nn.Module, *, initializations: Mapping[str, Initialization] | None = None
) -> "InfiniteWidth":
    """Kernels of a network in the limit of infinitely many channels, from the network itself.

    The model is traced with ``torch.fx`` into the recursion of its covariance Σ ("NNGP") and tangent kernel Θ
    over layers; its present weights are not used, only the distribution they were drawn from. Followed are:
    dense, convolutional and transposed convolutional layers (NTK, standard and other parametrizations; zero,
    circular, reflecting and replicating padding; strides, dilation), scalar nonlinearities (closed forms where
    they exist, else quadrature with an error bound), average and adaptive average pooling, interpolation, means
    over positions, Flatten, constant matrices over positions (graphs), embeddings of tokens, learned positions,
    ``nn.RNN``, LayerNorm, RMSNorm, GroupNorm, residual sums, trained factors of branches, gates, concatenation,
    multiples, dropout and BatchNorm in eval mode. Whatever happens to the input before the first layer with
    weights is computed as it is. Frozen parameters (``requires_grad=False``) do not contribute to Θ. For other
    networks there is :func:`infinite_width_monte_carlo`.

    In NTK parametrization the kernels do not depend on the model's width. In standard parametrization Θ grows with
    the width; it is the one at the widths of this model.

    Args:
        model: a network mapping [n, ...] to [n, C], at initialization.
        initializations: what layers were drawn from, by name of layer, where neither the layer says so itself
            (ntkgap's own) nor its weights look like a customary initialization of PyTorch. That is told from their
            variance and range, so to within sampling error.

    Raises:
        ModelError: if a step has no known limit, naming it and its place in the model; some are found only when a
            kernel is asked for, and with it the shape of the input is known.

    Limits are those of Gaussian pre-activations. In the first layer these are Gaussian at any width only if its
    weights are; uniform ones (PyTorch's default) on fewer than about ten inputs leave an error of a percent or two
    that no width removes.

    Sources: Jacot, Gabriel, Hongler 2018; Lee et al. 2018, 2019; Arora et al. 2019; Novak et al. 2019; Yang 2020;
    Alemohammad et al. 2021.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 1))
        >>> limit = ng.infinite_width(net)
        >>> x = torch.randn(5, 3)
        >>> limit.ntk(x).shape, limit.nngp(x, diagonal=True).shape
        (torch.Size([5, 5]), torch.Size([5]))
    """
    return InfiniteWidth(model, {} if initializations is None else initializations)


class InfiniteWidth:
    """The limit of a network; made by :func:`infinite_width`.

    Attributes:
        model: the network.
        error: largest relative error that quadrature of nonlinearities without closed form is estimated to have
            made in any kernel asked for so far, a layer; 0.0 with closed forms alone.
    """

    def __init__(self, model: nn.Module, initializations: Mapping[str, Initialization]) -> None:
        if not isinstance(model, nn.Module):
            raise ModelError(f"infinite_width takes an nn.Module, got {type(model).__name__}")
        model = unwrapped(model)
        if any(is_lazy(p) for p in model.parameters()):
            raise ModelError("a lazy layer has no shape yet; call the model once on some inputs")
        refuse_compiled_parts(model)
        refuse_coupling_layers(model)
        refuse_several_inputs(model)
        refuse_hopeless_layers(model)
        if not isinstance(initializations, Mapping):
            raise ModelError(
                f"initializations maps names of layers to Initialization, got {type(initializations).__name__}"
            )
        for name, start in initializations.items():
            if not isinstance(start, Initialization) or not all(map(math.isfinite, astuple(start))):
                raise ModelError(
                    f"initializations[{name!r}] must be an Initialization of finite numbers, got {start!r}"
                )
        parameters = [name for name, _ in model.named_parameters()]
        unknown = set(initializations) - {name.rpartition(".")[0] for name in parameters} - set(parameters)
        if unknown:
            raise ModelError(f"initializations= names {sorted(unknown)[0]!r}, which is not a layer with weights")
        self.model = model
        self.error = 0.0
        self._initializations = dict(initializations)

    def __repr__(self) -> str:
        return f"infinite_width({type(self.model).__name__})"

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
        return self._evaluate(x1, x2, False, diagonal, memory_budget, dtype, progress).nngp

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
        return self.kernels(
            x1, x2, diagonal=diagonal, memory_budget=memory_budget, dtype=dtype, progress=progress
        ).ntk

    def kernels(
        self,
        x1: Tensor,
        x2: Tensor | None = None,
        *,
        diagonal: bool = False,
        memory_budget: int | None = None,
        dtype: torch.dtype | None = None,
        progress: bool = False,
    ) -> InfiniteWidthKernels:
        """Covariance Σ and tangent kernel Θ of an output; outputs are independent, with the same kernels.

        Both can be differentiated with respect to the inputs.

        Args:
            x1: inputs [n1, ...], as the model takes them; on the device the kernels are to be computed on.
                Integers stay integers where the model takes them (tokens), else become floating-point numbers.
            x2: inputs [n2, ...]; x1 if not given.
            diagonal: only the pairs (x1[i], x2[i]), [n1].
            memory_budget: bytes that may be used beyond the inputs and the results; pairs are then
                evaluated in tiles that fit. By default tiles fit the cache.
            dtype: float32 or float64; that of x1 if not given, torch's default for integers.
            progress: show a progress bar over tiles.

        Returns:
            ``nngp`` and ``ntk``, [n1, n2] each, or [n1] with ``diagonal``.

        Raises:
            DataError: if the inputs are not finite floating-point tensors [n, ...] that go together.
            ModelError: if a step of the model has no known limit, or does not accept the inputs.
            KernelError: if a single pair needs more than the budget, or the model has no trainable parameter.
        """
        nngp, ntk = self._evaluate(x1, x2, True, diagonal, memory_budget, dtype, progress)
        if ntk is None:
            raise KernelError("no parameter of the model is trained (requires_grad), so it has no tangent kernel")
        return InfiniteWidthKernels(nngp, ntk)

    def _evaluate(
        self,
        x1: Tensor,
        x2: Tensor | None,
        with_ntk: bool,
        diagonal: bool,
        memory_budget: int | None,
        dtype: torch.dtype | None,
        progress: bool,
    ) -> Moments:
        check_inputs("x1", x1)
        if x2 is not None:
            check_inputs("x2", x2)
        dtype = result_type(x1, dtype)
        if x2 is not None and (x1.shape[1:] != x2.shape[1:] or x1.device != x2.device):
            raise DataError(
                f"x1 and x2 do not go together: examples of shape {tuple(x1.shape[1:])} on {x1.device} and "
                f"{tuple(x2.shape[1:])} on {x2.device}"
            )
        if diagonal and x2 is not None and len(x1) != len(x2):
            raise DataError(f"diagonal=True pairs x1[i] with x2[i]; got {len(x1)} and {len(x2)} inputs")
        wants_gradient = x1.requires_grad or (x2 is not None and x2.requires_grad)
        with neutral(), torch.set_grad_enabled(torch.is_grad_enabled() and wants_gradient):

            def prepared() -> tuple[Recursion, bool]:
                for name, x in (("x1", x1), ("x2", x2)):
                    if x is not None:
                        check_finite(name, x)
                integers = takes_integers(self.model, x1)
                if integers and x2 is not None and x2.is_floating_point():
                    raise DataError(f"x1 and x2 do not go together: {x1.dtype} and {x2.dtype}")
                return compile_model(self.model, self._example(x1, integers), self._initializations), integers

            recursion, integers = aside(prepared) if x1.device.type == "cpu" else prepared()
            evaluation = Evaluation(recursion, x1, x2, with_ntk, memory_budget, dtype, integers)
            result = evaluation.run(diagonal, progress)
        self._note(recursion, result)
        return result

    def _example(self, x: Tensor, integers: bool) -> Tensor:
        """Three inputs in the type of the parameters; where there are fewer, halves of the first join them."""
        parameter = next(self.model.parameters(), None)
        if parameter is None:
            raise ModelError(f"{type(self.model).__name__} has no parameters, so it has no limit to speak of")
        if parameter.device.type == "meta":
            raise ModelError("the model is on the device 'meta', where it has no weights; build it on another")
        x = x.detach()
        if integers:
            return torch.cat([x[:3], *[x[:1]] * (3 - len(x))]).to(parameter.device)
        x = x[:3].to(parameter)
        return torch.cat([x, *[0.5 * x[:1]] * (3 - len(x))])

    def _note(self, recursion: Recursion, result: Moments) -> None:
        """Say how exact the result is."""
        for remark in recursion.remarks if result.ntk is not None else ():
            warnings.warn(remark, AccuracyWarning, stacklevel=4)
        error = max([0.0, *(activation.error for activation in recursion.activations)])
        if error > WORTH_A_WARNING:
            names = {activation.name for activation in recursion.activations if activation.error == error}
            warnings.warn(
                f"the infinite-width kernel may be off by {error:.1g}, relative: quadrature of {', '.join(names)} "
                "at these variances and correlations is not exact",
                AccuracyWarning,
                stacklevel=4,
            )
        with _noting:  # calls may come from several threads
            self.error = max(self.error, error)


def check_inputs(name: str, x: Tensor) -> None:
    """Refuse what is no tensor of inputs.

    Raises:
        DataError: if it is not a dense tensor of real numbers [n, ...] on a device with float64.
    """
    if not isinstance(x, Tensor) or x.ndim < 2 or x.numel() == 0:
        what = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        several = ""
        if isinstance(x, Mapping | tuple | list):
            several = "; for several inputs use infinite_width_monte_carlo, or keep in buffers what all share"
        raise DataError(
            f"{name} must be a tensor of inputs [n, ...] with at least one of them, got {what}{several}"
        )
    if x.layout != torch.strided or x.device.type == "meta":
        raise DataError(f"{name} must be an ordinary dense tensor, got {x.layout} on {x.device}")
    if x.device.type == "mps":
        raise DataError(f"{name} is on {x.device}, which has no float64; move it to the CPU, {name}.cpu()")
    if x.is_complex():
        raise DataError(f"{name} is complex; infinite-width kernels are those of real networks")


def result_type(x: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """Type of the kernels: as asked for, else that of the inputs, float32 for integers.

    Raises:
        DataError: if it is neither float32 nor float64.
    """
    dtype = dtype or (x.dtype if x.is_floating_point() else torch.float32)
    if dtype not in (torch.float32, torch.float64):
        raise DataError(f"kernels are returned in float32 or float64, not {dtype}; pass dtype=")
    return dtype


def check_finite(name: str, x: Tensor) -> None:
    """Refuse inputs that are not finite.

    Raises:
        DataError: naming the first examples that are not.
    """
    at_once = max(1, CHECKED_AT_ONCE * len(x) // x.numel())
    for part in x.detach().split(at_once) if x.is_floating_point() else ():
        if not all(math.isfinite(end) for end in part.aminmax()):
            bad = torch.nonzero(~torch.isfinite(x.detach()).flatten(1).all(1)).flatten()[:5].tolist()
            raise DataError(f"{name} has NaN or infinite entries, in examples {bad}")
