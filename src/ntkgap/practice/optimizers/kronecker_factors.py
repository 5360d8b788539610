"""Kronecker factors of the Gauss–Newton matrix of ½‖f − y‖², layer by layer; and the layers that have them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F

from ntkgap.data import Dataset
from ntkgap.errors import ModelError
from ntkgap.models import ScaledConv2d, ScaledLinear
from ntkgap.practice.training.curves import NoStepError
from ntkgap.practice.training.losses import outputs_like, squared_loss

Layer = nn.Linear | nn.Conv2d


def trained_layers(model: nn.Module) -> dict[str, Layer]:
    """The layers that have parameters to train, by name.

    Raises:
        ModelError: naming the layers that have no Kronecker factors, share a parameter, or are frozen in part.
    """
    layers: dict[str, Layer] = {}
    refused: dict[str, str] = {}
    owners: dict[nn.Parameter, str] = {}
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        name = name or type(module).__name__
        if not any(p.requires_grad for p in own.values()):
            continue
        if not isinstance(module, nn.Linear | nn.Conv2d) or not own.keys() <= {"weight", "bias"}:
            refused[name] = f"a {type(module).__name__}"
        elif isinstance(module, nn.Conv2d) and module.groups != 1:
            refused[name] = f"a convolution in {module.groups} groups"
        elif not all(p.requires_grad for p in own.values()):
            refused[name] = "frozen in part"
        elif shared := [owners[p] for p in own.values() if p in owners]:
            refused[name] = f"which shares a parameter with {shared[0]}"
        else:
            layers[name] = module
        owners |= dict.fromkeys(own.values(), name)
    if refused:
        raise ModelError(
            "there are no Kronecker factors for "
            + ", ".join(f"{name} ({why})" for name, why in refused.items())
            + "; only nn.Linear and nn.Conv2d layers of their own are covered: freeze the others, or use "
            "natural_gradient_descent"
        )
    if not layers:
        raise ModelError("the model has no parameters, so there is nothing to train")
    return layers


def layer_inputs(layer: Layer, x: Tensor) -> Tensor:
    """What the layer multiplies (weight, bias) by, one row an example and position: [n·S, d]."""
    weight_scale = bias_scale = 1.0
    if isinstance(layer, ScaledLinear | ScaledConv2d):
        weight_scale, bias_scale = layer.initialization.weight_scale, layer.initialization.bias_scale
    if isinstance(layer, nn.Conv2d):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        rows = F.unfold(padded, layer.kernel_size, layer.dilation, stride=layer.stride).mT.flatten(0, 1)
    else:
        rows = x.reshape(-1, x.shape[-1])
    rows = rows * weight_scale
    return rows if layer.bias is None else torch.cat([rows, rows.new_full((len(rows), 1), bias_scale)], dim=1)


def positions(layer: Layer, g: Tensor) -> Tensor:
    """What belongs to a layer's output, one row an example and position: [n·S, o]."""
    channels_last = g.movedim(1, -1) if isinstance(layer, nn.Conv2d) and g.ndim == 4 else g
    return channels_last.reshape(-1, channels_last.shape[-1])


def layer_parameters(layer: Layer) -> list[Tensor]:
    """The weight, and the bias if there is one."""
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]


def split(layer: Layer, joint: Tensor) -> list[Tensor]:
    """(weight, bias) side by side, [o, d], as the layer's parameters have them."""
    if layer.bias is None:
        return [joint.view_as(layer.weight)]
    return [joint[:, :-1].reshape(layer.weight.shape), joint[:, -1]]


@contextmanager
def recorded_calls(layers: dict[str, Layer]) -> Iterator[dict[str, list[tuple[Tensor, GradientEdge]]]]:
    """What every layer is given, and where gradients by what it returned can be had."""
    calls: dict[str, list[tuple[Tensor, GradientEdge]]] = {name: [] for name in layers}
    hooks = []
    for name, layer in layers.items():

        def hook(_: nn.Module, args: tuple, kwargs: dict, output: Tensor, name: str = name) -> None:
            x = args[0] if args else kwargs["input"]
            # An edge stays where it is when a later layer changes the tensor in place.
            calls[name].append((x.detach(), get_gradient_edge(output)))

        hooks.append(layer.register_forward_hook(hook, with_kwargs=True))
    try:
        yield calls
    finally:
        for handle in hooks:
            handle.remove()


@dataclass
class KroneckerFactors:
    r"""The block of one layer, :math:`J_l^\top J_l \approx G \otimes A`, and its part of the gradient.

    A is the mean over examples and positions of ā āᵀ, where ā is what the layer multiplies its parameters by:
    inputs (patches of a convolution), scaled as the layer scales them, and a constant for the bias. G is the sum
    over examples, outputs c and positions of g gᵀ, g = ∂f_c/∂z. That they are independent, and for several
    positions that derivatives at different ones are not correlated, is the approximation; with one example and
    one position nothing is approximated (Martens, Grosse 2015; Grosse, Martens 2016). Behind a global average the
    derivatives at all positions are nearly the same, and the block is too small by up to their number.

    Attributes:
        inputs: A, [d, d].
        gradients: G, [o, o].
        gradient: of the loss by (weight, bias), [o, d].
    """

    inputs: Tensor
    gradients: Tensor
    gradient: Tensor

    def precondition(self, damping: float) -> Tensor:
        r"""(G + (√λ/π) I)⁻¹ ∇ (A + π√λ I)⁻¹, [o, d].

        π² = (tr A / d) / (tr G / o) splits the damping λ so that it is the same fraction of both factors
        (Martens, Grosse 2015, section 6.3).

        Raises:
            NoStepError: if a factor has no Cholesky factor in this precision.
        """
        mean_a, mean_g = (m.diagonal().mean().item() for m in (self.inputs, self.gradients))
        pi = (mean_a / mean_g) ** 0.5 if mean_a > 0 and mean_g > 0 else 1.0
        result = self.gradient
        for matrix, shift in ((self.gradients, damping**0.5 / pi), (self.inputs, damping**0.5 * pi)):
            damped = matrix.clone()
            damped.diagonal().add_(shift)
            factor, failed = torch.linalg.cholesky_ex(damped)
            if failed:
                raise NoStepError("a Kronecker factor is numerically singular", "set a larger damping")
            result = torch.cholesky_solve(result, factor).mT  # transposed twice
        return result


def kronecker_factors(
    model: nn.Module, data: Dataset, layers: dict[str, Layer]
) -> tuple[Tensor, dict[str, KroneckerFactors]]:
    """Evaluate the model on all examples, with one backward pass an output.

    Args:
        model: maps [n, ...] to [n, C], each example on its own.
        data: training set.
        layers: from ``trained_layers``.

    Returns:
        f − y, [n, C], and the factors of every layer.

    Raises:
        ModelError: if the outputs have another shape than the targets, or a layer is not called exactly once.
    """
    with recorded_calls(layers) as calls:
        outputs = outputs_like(model(data.x), data.y)
    for name, seen in calls.items():
        if len(seen) != 1:
            raise ModelError(
                f"layer {name} is called {len(seen)} times in one pass; Kronecker factors need a layer that is "
                "called once: freeze it, or use natural_gradient_descent"
            )
    inputs = {name: layer_inputs(layer, calls[name][0][0]) for name, layer in layers.items()}
    edges = [calls[name][0][1] for name in layers]
    residual = (outputs - data.y).detach()
    covariance, of_loss = {}, {}
    for name, layer in layers.items():
        units = layer.weight.shape[0]
        covariance[name] = residual.new_zeros(units, units)
        of_loss[name] = residual.new_zeros(len(inputs[name]), units)
    for c, column in enumerate(residual.T):
        last = c == residual.shape[1] - 1
        along = torch.autograd.grad(outputs[:, c].sum(), edges, retain_graph=not last, allow_unused=True)
        for (name, layer), g in zip(layers.items(), along, strict=True):
            if g is None:  # this output does not depend on the layer
                continue
            rows = positions(layer, g)
            covariance[name].addmm_(rows.mT, rows)
            # Σ_c r_c ∂f_c/∂z is the gradient of the loss: it takes no backward pass of its own.
            of_loss[name].addcmul_(column.repeat_interleave(len(rows) // len(column))[:, None], rows)
    factors = {
        name: KroneckerFactors(a.mT @ a / len(a), covariance[name], of_loss[name].mT @ a)
        for name, a in inputs.items()
    }
    return residual, factors


def check_gradients(model: nn.Module, data: Dataset, layers: dict[str, Layer]) -> None:
    """Compare the gradients that come with the factors with those of autograd.

    They differ where a layer is not what it seems: its weight is also used outside of it, its class computes
    something else, its input is changed afterwards, or examples are mixed.

    Raises:
        ModelError: naming the layers.
    """
    _, factors = kronecker_factors(model, data, layers)
    loss = squared_loss(outputs_like(model(data.x), data.y), data.y)
    # Both ways round sums of the same terms, which may cancel: what is left is compared with their size.
    tolerance = torch.finfo(loss.dtype).eps ** 0.5
    parameters = [p for layer in layers.values() for p in layer_parameters(layer)]
    exact = dict(
        zip(
            parameters,
            torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True),
            strict=True,
        )
    )
    wrong = []
    for name, layer in layers.items():
        own = [exact[p] for p in layer_parameters(layer)]
        size = (factors[name].inputs.trace() * factors[name].gradients.trace() * 2 * loss).sqrt()
        found = split(layer, factors[name].gradient)
        if any((a - b).norm() > tolerance * size for a, b in zip(found, own, strict=True)):
            wrong.append(name)
    if wrong:
        raise ModelError(
            f"the gradients of {', '.join(wrong)} are not those of a plain layer: the model uses the parameters "
            "elsewhere too, mixes examples, or the layer computes something else; freeze what is special, or "
            "use natural_gradient_descent"
        )
