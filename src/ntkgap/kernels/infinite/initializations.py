"""Which distribution a layer's weights were drawn from: the kernel is an expectation over it."""

import math
from collections.abc import Iterator, Mapping

from torch import Tensor

from ntkgap.errors import ModelError
from ntkgap.models.layers import Initialization

# A sample was not drawn from a distribution whose mean or variance is more than so many standard errors off.
STANDARD_ERRORS = 5.0

# Nor was one from a uniform distribution whose largest entry would be as small as it is with this probability.
IMPROBABLE = 1e-7

# Moments of very large layers are taken from about so many entries.
ENTRIES = 1_000_000

# So many at a time.
AT_ONCE = 1 << 16


def find_initialization(
    layer: str,
    weight: Tensor,
    bias: Tensor | None,
    given: Mapping[str, Initialization],
    declared: Initialization | None = None,
    default: float | None = None,
) -> Initialization:
    """Initialization of a dense or convolutional layer.

    In this order: what the user gave for the layer; what the layer declares itself (ntkgap's own do); the first
    of PyTorch's customary initializations that its weights may have been drawn from: the default U(±1/√fan_in),
    then He, LeCun and Glorot, uniform or normal.

    Args:
        layer: name of the layer in the model.
        weight: [out, in, ...].
        bias: [out], or None.
        given: by name of layer.
        declared: the layer's own word.
        default: standard deviation of PyTorch's uniform default for this layer, if not 1/√(3·fan_in).

    Raises:
        ModelError: if the weights were drawn from none of these, as after training, or if they are too few to
            tell two of them apart.
    """
    if layer in given:
        return given[layer]
    if declared is not None:
        return declared
    remedy = (
        f"say what it was drawn from with initializations={{{layer!r}: Initialization(weight_scale, weight_std, "
        "bias_scale, bias_std)}"
    )
    default = 1 / math.sqrt(3 * weight[0].numel()) if default is None else default
    weight_std = _weight_std(layer, weight.detach(), default, remedy)
    if bias is None or not bool(bias.any()):
        return Initialization(1.0, weight_std)
    if not _uniform(bias.detach(), default):
        raise ModelError(
            f"the biases of {layer!r} are neither zero nor drawn from PyTorch's default "
            f"U(±{math.sqrt(3) * default:.3g}); {remedy}"
        )
    return Initialization(1.0, weight_std, 1.0, default)


def torch_default(weight: Tensor, bias: Tensor | None) -> Initialization | None:
    """PyTorch's default U(±1/√fan_in), if weights [out, in, ...] and biases may have been drawn from it."""
    std = 1 / math.sqrt(3 * weight[0].numel())
    if not _uniform(weight.detach(), std):
        return None
    if bias is None or not bool(bias.any()):
        return Initialization(1.0, std)
    return Initialization(1.0, std, 1.0, std) if _uniform(bias.detach(), std) else None


def find_table(name: str, table: Tensor, given: Mapping[str, Initialization]) -> tuple[Initialization, bool]:
    """Initialization of an embedding or of learned positions, and whether its entries are normal.

    What the user gave; else the first that fits of zeros, N(0, 1) (``nn.Embedding``), N(0, 0.02²) (BERT, GPT-2,
    vision transformers) and N(0, 1/width). Rows of zeros, as for padding, are left out.

    Args:
        name: of the table in the model.
        table: [rows, width].
        given: by name of layer or parameter.

    Raises:
        ModelError: if the entries were drawn from none of these.
    """
    rows = table[table.any(1)]
    rms = float(rows.square().mean().sqrt()) if len(rows) else 0.0
    # A uniform sample ends at √3 standard deviations, known to within their own error; a normal one goes on.
    end = math.sqrt(3) * (1 + STANDARD_ERRORS * math.sqrt(0.2 / max(1, rows.numel())))
    normal = not len(rows) or float(rows.abs().max()) > end * rms
    if name in given:
        return given[name], normal
    if not len(rows):
        return Initialization(1.0, 0.0), True
    fitting = [std for std in (1.0, 0.02, 1 / math.sqrt(rows.shape[1])) if _normal(rows, std)]
    if not fitting:
        raise ModelError(
            f"the entries of {name!r} have a standard deviation of {rms:.4g} and do not look drawn from N(0, 1), "
            "N(0, 0.02²) or N(0, 1/width). Infinite-width kernels describe a network at initialization: pass one "
            f"that has not been trained, say what it was drawn from with initializations={{{name!r}: "
            "Initialization(weight_scale, weight_std)}, or keep a table that stays as it is in a buffer and look "
            "it up with F.embedding"
        )
    return Initialization(1.0, fitting[0]), normal


def _weight_std(layer: str, weight: Tensor, default: float, remedy: str) -> float:
    """Standard deviation that the weights were drawn with."""
    if not bool(weight.any()):
        return 0.0
    if _uniform(weight, default):
        return default
    for std in _customary_stds(weight):
        if _uniform(weight, std):  # the range of a uniform sample tells it apart sharply
            return std
    stds = sorted({std for std in _customary_stds(weight) if _normal(weight, std)})
    if not stds:
        rms = weight.square().mean().sqrt().item()
        relative = rms * math.sqrt(weight[0].numel())
        raise ModelError(
            f"the weights of {layer!r} have a standard deviation of {rms:.4g} = {relative:.4g}/√fan_in; no "
            "customary initialization gives that. Infinite-width kernels describe a network at initialization: "
            f"pass one that has not been trained, or {remedy}"
        )
    if stds[-1] > 1.001 * stds[0]:
        raise ModelError(
            f"{layer!r} has only {weight.numel()} weights, which fits several initializations (standard "
            f"deviations {', '.join(f'{std:.4g}' for std in stds)}); {remedy}"
        )
    return stds[0]


def _customary_stds(weight: Tensor) -> Iterator[float]:
    """Standard deviations of the customary initializations, PyTorch's default first."""
    fan_in, receptive = weight[0].numel(), weight[0, 0].numel()
    fan_out = len(weight) * receptive
    for variance in (1 / (3 * fan_in), 2 / fan_in, 1 / fan_in, 2 / (fan_in + fan_out), 2 / fan_out, 1 / fan_out):
        yield math.sqrt(variance)


def _uniform(sample: Tensor, std: float) -> bool:
    """Whether a sample may be uniform on ±√3·std."""
    least, largest = map(float, sample.aminmax())
    largest, bound = max(-least, largest), math.sqrt(3) * std
    likely = bound * IMPROBABLE ** (1 / sample.numel())
    return likely <= largest <= bound * (1 + 1e-6) and _moments_fit(sample, std, excess=0.8)


def _normal(sample: Tensor, std: float) -> bool:
    """Whether a sample may be normal with a standard deviation."""
    return _moments_fit(sample, std, excess=2.0)


def _moments_fit(sample: Tensor, std: float, excess: float) -> bool:
    """Whether mean and variance of a sample fit; ``excess`` is Var(x²)/E[x²]² of the distribution."""
    x = sample.flatten()[:: max(1, sample.numel() // ENTRIES)]
    total = squares = 0.0
    for part in x.split(AT_ONCE):
        part = part.double()
        total += float(part.sum())
        squares += float(part @ part)
    n = len(x)
    mean_error = abs(total / n) / std
    variance_error = abs(squares / n / std**2 - 1)
    if not math.isfinite(mean_error + variance_error):
        return False
    return mean_error <= STANDARD_ERRORS / math.sqrt(n) and variance_error <= STANDARD_ERRORS * math.sqrt(
        excess / n
    )
