"""The network at θ_0 and at θ_t: replicas in evaluation mode, so that the user's own is only read."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from ntkgap.errors import ModelError
from ntkgap.kernels.empirical.network.refusals import refuse_coupling_layers, refuse_foreign_modules
from ntkgap.kernels.empirical.network.selection import select_parameters
from ntkgap.models.calls import call_arguments
from ntkgap.models.substitution import replicate, unwrapped
from ntkgap.practice.training.linearized.snapshot import snapshot

#: Networks of at most so many parameters are measured in float64, larger ones in float32.
SMALL = 100_000


def precision_for(model: nn.Module, x: Any) -> torch.dtype:
    """The precision that a network is measured in.

    float64 if the network is in float64, or small and computes in it on inputs x; else float32.
    """
    parameters = list(model.parameters())
    if any(p.dtype == torch.float64 for p in parameters):
        return torch.float64
    if sum(p.numel() for p in parameters) > SMALL:
        return torch.float32
    try:
        replica = present_network(model, torch.float64)
        args, kwargs = call_arguments(replica, private_inputs(x, torch.float64))
        replica(*args, **kwargs)
    except Exception:  # its forward casts to another type, or does not take x, which is reported later
        return torch.float32
    return torch.float64


def start_network(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of the network as it is now, in evaluation mode, which later training does not reach.

    Raises:
        ModelError: if it cannot be copied, has nothing to train, or mixes examples even in evaluation mode.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"a network is an nn.Module, got {type(model).__name__}")
    refuse_foreign_modules(unwrapped(model))
    copy = snapshot(unwrapped(model)).eval().to(dtype)
    refuse_coupling_layers(copy)
    select_parameters(copy)
    return copy


def present_network(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A replica of the network in evaluation mode that shares its memory where it can; for use at once."""
    model = unwrapped(model)
    # A table with max_norm is rescaled in place whenever it is read: that must happen to a copy.
    writes = any(getattr(m, "max_norm", None) is not None for m in model.modules())
    values: dict[str, Tensor] = {}
    for name, p in model.named_parameters():
        value = p.detach().to(dtype) if p.is_floating_point() else p.detach()
        values[name] = (value.clone() if writes else value).requires_grad_(p.requires_grad)
    for name, buffer in model.named_buffers():
        cast = dtype if buffer.is_floating_point() else buffer.dtype
        values[name] = buffer.detach().clone().to(cast)
    return replicate(model, values, copied=True).eval()


def trained(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that require grad, by name; a tied one once."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def step_taken(start: nn.Module, now: nn.Module) -> dict[str, Tensor]:
    """θ_t − θ_0 of the parameters that are trained from θ_0 on, by name."""
    present = dict(now.named_parameters())
    with torch.no_grad():
        return {name: present[name] - p for name, p in trained(start).items()}


def same_numbers(start: nn.Module, now: nn.Module) -> bool:
    """Whether parameters and buffers are those of the start."""
    tables = zip(_tensors(start), _tensors(now), strict=True)
    return all(torch.equal(a, b) for a, b in tables)


def all_finite(network: nn.Module) -> bool:
    """Whether no parameter or buffer is NaN or infinite."""
    return all(bool(torch.isfinite(t).all()) for t in _tensors(network) if t.is_floating_point())


def private_inputs(x: Any, dtype: torch.dtype) -> Any:
    """Copies of the inputs, floating-point ones in the precision of the measurement."""
    return tree.tree_map_only(
        Tensor, lambda t: t.detach().clone().to(dtype if t.is_floating_point() else t.dtype), x
    )


def layer_of(name: str) -> str:
    """The module that owns a parameter; "" for the network itself."""
    return name.rpartition(".")[0]


def by_layer(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Σ ‖t‖² over the tensors of each layer."""
    squares: dict[str, float] = {}
    for name, t in tensors.items():
        squares[layer_of(name)] = squares.get(layer_of(name), 0.0) + float(t.detach().double().square().sum())
    return squares


def _tensors(network: nn.Module) -> Iterable[Tensor]:
    return [*network.parameters(), *network.buffers()]
