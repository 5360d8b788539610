"""The probes of a monitor, and what the budget lets be measured on them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from ntkgap.practice.monitor import record
from ntkgap.practice.monitor.budget import Budget
from ntkgap.practice.monitor.parameter_change import parameter_change, parameter_change_by_layer
from ntkgap.practice.monitor.probe import Measured, Probe
from ntkgap.practice.monitor.stability_limit import stability_limit

#: Iterations for the largest curvature at θ_0, where outputs are sampled.
ITERATIONS = 5


@dataclass
class Look:
    """What one look says besides its row of numbers.

    Attributes:
        layers: quantity -> layer -> value.
        errors: standard errors, by column.
        notes: what was left out and why, in sentences.
        diverged: whether outputs are not finite.
    """

    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    diverged: bool = False


class Looks:
    """Looks at a network on training and held-out examples, as far as there is time.

    Args:
        start: the network at θ_0.
        probes: by the ending of their columns, ``""`` and ``"_test"``.
        budget: of the time.
        optimizer: for the stability ratio, if there is one.

    Attributes:
        notes: on the probes, in sentences.
    """

    def __init__(
        self,
        start: nn.Module,
        probes: Mapping[str, Probe],
        budget: Budget,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        self._start, self._probes, self._budget, self._optimizer = start, probes, budget, optimizer
        self.notes: list[str] = []
        for name, probe in probes.items():
            probe.at_start = probe.measure_start(ITERATIONS)
            budget.costs |= {f"{part}{name}": seconds for part, seconds in probe.at_start.seconds.items()}
            if probe.sampling:
                self.notes.append(f"kernels{name} are estimated from {probe.sampling}; see sampling_errors()")
        if probes[""].sum_without_batch_size():
            self.notes.append(
                "the loss is a sum over examples, whose curvature grows with the batch: kappa_max and "
                "stability_ratio are for a batch as large as the probe; give batch_size="
            )

    @property
    def columns(self) -> list[str]:
        """Names of the quantities."""
        columns = list(record.QUANTITIES)
        if "_test" in self._probes:
            probe = self._probes["_test"]
            found = [q for part in probe.parts for q in probe.quantities(part)]
            columns += [f"{q}_test" for q in record.QUANTITIES if q in found]
        return columns

    def take(self, now: nn.Module, row: dict[str, float], complete: bool) -> Look:
        """Look at θ_t.

        Args:
            now: the network at θ_t, in evaluation mode.
            row: numbers by column, which are filled in; a loss that is there stays.
            complete: whether everything is measured, whatever it takes.
        """
        look = Look()
        row["parameter_change"] = parameter_change(self._start, now)
        look.layers = {"parameter_change": parameter_change_by_layer(self._start, now)}
        left: list[str] = []
        for name, probe in self._probes.items():
            if not complete and not self._budget.affords([f"outputs{name}"]):
                left += [f"{q}{name}" for part in probe.parts for q in probe.quantities(part)]
                continue
            found = self._measured(name, probe, now, complete)
            for quantity, value in found.values.items():
                if quantity != "loss" or name or math.isnan(row["loss"]):
                    row[f"{quantity}{name}"] = value
            look.notes += found.faults
            if found.faults and not found.values:
                look.diverged = True
                continue
            if not name:
                look.layers |= found.layers
            look.errors |= {f"{q}{name}": error for q, error in found.errors.items()}
            wanted = [q for part in probe.parts for q in probe.quantities(part)]
            left += [f"{q}{name}" for q in wanted if q not in found.values]
        row["stability_ratio"] = self._stability(row["kappa_max"])
        if left:
            look.notes.append(f"left out to keep the budget: {', '.join(left)}")
        return look

    def _measured(self, name: str, probe: Probe, now: nn.Module, complete: bool) -> Measured:
        """What the budget allows, in turn; the next one is saved for where it is too dear as yet."""
        chosen = [f"outputs{name}"]
        for part in self._budget.in_turn(f"{part}{name}" for part in probe.parts[1:]):
            if not complete and not self._budget.affords([*chosen, part]):
                break
            chosen.append(part)
        found = probe.measure(
            now,
            [part.removesuffix(name) for part in chosen],
            lambda part: complete or self._budget.affords([f"{part}{name}"]),
        )
        self._budget.measured({f"{part}{name}": seconds for part, seconds in found.seconds.items()})
        return found

    def _stability(self, kappa: float) -> float:
        if self._optimizer is None or math.isnan(kappa):
            return math.nan
        if self._probes[""].loss is None:
            self._once("stability_ratio needs loss= and y=: the stability limit is for the curvature of the loss")
            return math.nan
        limit, reason = stability_limit(self._optimizer)
        if reason:
            self._once(f"stability_ratio is not defined: {reason}")
        return kappa / limit

    def _once(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)
