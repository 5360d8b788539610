"""The quantities of the monitor for two checkpoints, without a monitor."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import nn

from ntkgap.errors import ModelError, StudyError, reason
from ntkgap.kernels.neutral import neutral
from ntkgap.models.substitution import unwrapped
from ntkgap.one_line import line_of
from ntkgap.practice.checks import check_network
from ntkgap.practice.monitor import record
from ntkgap.practice.monitor.networks import all_finite, precision_for, present_network, start_network
from ntkgap.practice.monitor.parameter_change import parameter_change, parameter_change_by_layer
from ntkgap.practice.monitor.probe import Probe, ProbeSettings
from ntkgap.practice.training.linearized.snapshot import snapshot

#: Iterations for the largest curvature, where outputs are sampled.
ITERATIONS = 50


class CheckpointComparison(dict[str, float]):
    """Every quantity of :class:`Monitor` by name.

    Attributes:
        layers: a frame of layer, parameter_change, kernel_change (the layer's share), signs_changed.
        errors: standard errors of kernel quantities where outputs are sampled; of kappa_max the residual.
        notes: what one should know of the numbers.
    """

    def __init__(
        self, values: Mapping[str, float], layers: pd.DataFrame, errors: dict[str, float], notes: list[str]
    ) -> None:
        super().__init__(values)
        self.layers, self.errors, self.notes = layers, errors, notes

    def __repr__(self) -> str:
        return line_of(self, **self)


@neutral()
def compare_checkpoints(
    before: nn.Module | Mapping[str, Any],
    after: nn.Module | Mapping[str, Any],
    x: Any,
    y: Any = None,
    *,
    model: nn.Module | None = None,
    loss: Any = None,
    batch_size: int | None = None,
    outputs: int | None = None,
    seed: int = 0,
) -> CheckpointComparison:
    """How far a training went from one checkpoint to another: the quantities of :class:`Monitor`, once.

    Args:
        before: the network at θ_0, or its state dict.
        after: the network at θ_t, or its state dict.
        x: the probe, as ``empirical_ntk`` takes it.
        y: targets, as in ``Monitor``; for alignment and loss.
        model: a network of this architecture, where state dicts are given; it says which parameters are trained.
        loss: as in ``Monitor``.
        batch_size: as in ``Monitor``.
        outputs: as in ``Monitor``.
        seed: as in ``Monitor``.

    Raises:
        ModelError: if the two are not of one architecture, or hold numbers that are not finite.
        DataError: if the network does not take the probe.
        StudyError: if state dicts come without ``model``.
    """
    old, new = _network(before, model, "before"), _network(after, model, "after")
    _check_alike(old, new)
    dtype = precision_for(old, x)
    start, now = start_network(old, dtype), present_network(new, dtype)
    for name, network in (("before", start), ("after", now)):
        if not all_finite(network):
            raise ModelError(f"{name} holds NaN or infinite numbers; take a checkpoint from before it diverged")
    settings = ProbeSettings(outputs, seed, ITERATIONS, batch_size=batch_size)
    probe = Probe(start, x, y, loss, settings, {}, "x", dtype)
    found = probe.measure(now, probe.parts)
    values = dict.fromkeys(record.QUANTITIES, math.nan) | {"parameter_change": parameter_change(start, now)}
    del values["stability_ratio"]
    layers = {"parameter_change": parameter_change_by_layer(start, now)} | found.layers
    rows = record.layer_frame(record.layer_rows(0, layers)).drop(columns="step")
    notes = [f"kernels are estimated from {probe.sampling}"] if probe.sampling else []
    notes += found.faults
    return CheckpointComparison(values | found.values, rows, found.errors, notes)


def _network(given: Any, model: nn.Module | None, name: str) -> nn.Module:
    if isinstance(given, nn.Module):
        check_network(given)
        return unwrapped(given)
    if not isinstance(given, Mapping):
        raise ModelError(f"{name} must be a network or a state dict, got {type(given).__name__}")
    if model is None:
        raise StudyError(
            f"{name} is a state dict, which does not say how to compute: pass the network too, model="
        )
    check_network(model)
    network = snapshot(unwrapped(model))
    try:
        network.load_state_dict(given)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(f"the state dict {name} is not of {type(model).__name__}: {reason(error)}") from error
    return network


def _check_alike(before: nn.Module, after: nn.Module) -> None:
    """Refuse two networks that are not of one architecture.

    Raises:
        ModelError: naming the first difference.
    """
    one, two = ({n: tuple(p.shape) for n, p in m.named_parameters()} for m in (before, after))
    for name in (*one, *two):
        if one.get(name) != two.get(name):
            shapes = [f"{t[name]}" if name in t else "missing" for t in (one, two)]
            raise ModelError(
                f"before and after are of different architectures: {name!r} is {shapes[0]} before and {shapes[1]} "
                "after"
            )
    first, second = (dict(_described(m)) for m in (before, after))
    for name in (*first, *second):
        if first.get(name) != second.get(name):
            raise ModelError(
                f"before and after are of different architectures: {name or 'the network'!r} is "
                f"{first.get(name, 'missing')} before and {second.get(name, 'missing')} after"
            )
    if {p.dtype for p in before.parameters()} != {p.dtype for p in after.parameters()}:
        raise ModelError(
            "before and after are of different precision; convert one of them: after.to(torch.float32)"
        )
    if {p.device for p in before.parameters()} != {p.device for p in after.parameters()}:
        raise ModelError("before and after are on different devices; move one of them: after.to(device)")


def _described(network: nn.Module) -> list[tuple[str, str]]:
    """Kind and settings of every module; how much is dropped in training does not matter."""
    found = []
    for name, module in network.named_modules():
        dropping = isinstance(module, nn.modules.dropout._DropoutNd)
        settings = module.extra_repr() if type(module).__module__.startswith("torch.nn") and not dropping else ""
        found.append((name, f"{type(module).__name__}({settings})"))
    return found
