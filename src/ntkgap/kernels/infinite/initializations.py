"""Which distribution a layer's weights were drawn from: the kernel is an expectation over it."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ntkgap.errors import ModelError
from ntkgap.models.layers import Initialization

# A sample variance further from the candidate's than this many standard errors was not drawn from it.
STANDARD_ERRORS = 5.0


def find_initialization(
    layer: str,
    weight: Tensor,
    bias: Tensor | None,
    given: Mapping[str, Initialization],
    declared: Initialization | None = None,
) -> Initialization:
    """Initialisation of a dense or convolutional layer.

    In this order: what the user gave for the layer; what the layer declares itself (ntkgap's own do); the first
    of PyTorch's customary initialisations that its weights may have been drawn from: the default U(±1/√fan_in),
    then He, LeCun and Glorot, uniform or normal.

    Args:
        layer: name of the layer in the model.
        weight: [out, in, ...].
        bias: [out], or None.
        given: by name of layer.
        declared: the layer's own word.

    Raises:
        ModelError: if the weights were drawn from none of these, as after training, or if they are too few to
            tell two of them apart.
    """
    if layer in given:
        return given[layer]
    if declared is not None:
        return declared
    fan_in = weight[0].numel()
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    remedy = (
        f"say what it was drawn from with initializations={{{layer!r}: Initialization(weight_scale, weight_std, "
        "bias_scale, bias_std)}"
    )
    weight_stds = [std for std, bound in _weight_candidates(weight) if _drawn_from(weight, std, bound)]
    if not weight.any():
        weight_stds = [0.0]
    if not weight_stds:
        rms = weight.square().mean().sqrt().item()
        relative = rms * math.sqrt(fan_in)
        raise ModelError(
            f"the weights of {layer!r} have a standard deviation of {rms:.4g} = {relative:.4g}/√fan_in; "
            "no customary initialisation gives that. Infinite-width kernels describe a network at initialisation: "
            f"pass one that has not been trained, or {remedy}"
        )
    if not _is_default(weight) and max(weight_stds) > 1.001 * min(weight_stds):
        raise ModelError(
            f"{layer!r} has only {weight.numel()} weights, which fits several initialisations (standard "
            f"deviations {', '.join(f'{std:.4g}' for std in sorted(set(weight_stds)))}); {remedy}"
        )
    if bias is None or not bias.any():
        return Initialization(1.0, weight_stds[0])
    bound = 1 / math.sqrt(fan_in)
    if not _drawn_from(bias, bound / math.sqrt(3), bound):
        raise ModelError(
            f"the biases of {layer!r} are neither zero nor drawn from PyTorch's default U(±{bound:.3g}); {remedy}"
        )
    return Initialization(1.0, weight_stds[0], 1.0, bound / math.sqrt(3))


def _weight_candidates(weight: Tensor) -> Iterator[tuple[float, float]]:
    """Standard deviation and largest magnitude of the customary initialisations, the default first."""
    fan_in, receptive = weight[0].numel(), weight[0, 0].numel()
    fan_out = len(weight) * receptive
    default = 1 / (3 * fan_in)
    yield math.sqrt(default), math.sqrt(3 * default)
    for variance in (2 / fan_in, 1 / fan_in, 2 / (fan_in + fan_out), 2 / fan_out, 1 / fan_out):
        yield math.sqrt(variance), math.inf


def _is_default(weight: Tensor) -> bool:
    std, bound = next(_weight_candidates(weight))
    return _drawn_from(weight, std, bound)


def _drawn_from(sample: Tensor, std: float, bound: float) -> bool:
    """Whether mean, variance and range of a sample fit a centred distribution."""
    x = sample.double()
    if not bool(torch.isfinite(x).all()) or float(x.abs().max()) > bound * (1 + 1e-6):
        return False
    n = x.numel()
    mean_fits = abs(float(x.mean())) <= STANDARD_ERRORS * std / math.sqrt(n)
    variance_error = abs(float(x.square().mean()) / std**2 - 1)
    return mean_fits and variance_error <= STANDARD_ERRORS * math.sqrt(2 / n)
