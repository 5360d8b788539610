"""Everything that is measured on one set of examples, from what was kept of θ_0."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import DataError, KernelError, ModelError
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.practice.monitor.activation_signs import (
    Signs,
    outputs_and_signs,
    signs_changed,
    signs_changed_by_layer,
)
from ntkgap.practice.monitor.curvature import LeadingCurvature, curvature_of_kernel
from ntkgap.practice.monitor.kernel_movement import kernel_movement, shares_by_layer
from ntkgap.practice.monitor.kernel_shape import alignment, effective_rank
from ntkgap.practice.monitor.linearization_gap import Linearization, gap
from ntkgap.practice.monitor.networks import private_inputs, same_numbers, step_taken
from ntkgap.practice.monitor.probe_kernel import ProbeKernel
from ntkgap.practice.monitor.sampled_outputs import SampledOutputs
from ntkgap.practice.monitor.targets import ProbeLoss, target_columns

#: What is measured together, cheap ones first, and the quantities of each.
PARTS = {
    "outputs": ("loss", "signs_changed"),
    "gap": ("linearization_gap",),
    "kernel": ("kernel_change", "kernel_distance", "alignment", "effective_rank"),
    "curvature": ("kappa_max",),
}
#: Numbers of kernels by layer that are kept at most; beyond it layers are not told apart.
KEPT = 2 * 10**7


@dataclass
class Measured:
    """What one look at one probe has found.

    Attributes:
        values: by quantity.
        layers: quantity -> layer -> value.
        errors: standard errors, by quantity.
        seconds: by part.
        faults: why a part is not there, in sentences.
    """

    values: dict[str, float] = field(default_factory=dict)
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ProbeSettings:
    """How a probe is looked at.

    Attributes:
        outputs: number of random combinations of the outputs; None to choose.
        seed: of these.
        iterations: of the power iteration at every look, where outputs are sampled.
        curvature: whether the largest curvature is wanted.
        batch_size: examples in a batch of the training, by which the curvature of a sum is scaled.
    """

    outputs: int | None = None
    seed: int = 0
    iterations: int = 1
    curvature: bool = True
    batch_size: int | None = None


class Probe:
    """Examples on which a network at θ_t is compared with θ_0.

    Attributes:
        targets: [k, C], or None.
        loss: of the outputs, or None.
        at_start: what was found at θ_0, if that is known.

    Args:
        start: the network at θ_0, in evaluation mode.
        x: the examples.
        y: their targets, if there are any.
        loss: of outputs and targets, if it is known.
        settings: what to look at.
        given: the user's own parameters, by name.
        name: of the inputs, for messages.
        dtype: of the measurement.

    Raises:
        DataError, ModelError: if the network does not take the examples, or has no Jacobian on them.
    """

    def __init__(
        self,
        start: nn.Module,
        x: Any,
        y: Any,
        loss: Any,
        settings: ProbeSettings,
        given: Mapping[str, Tensor],
        name: str,
        dtype: torch.dtype,
    ) -> None:
        self._start, self._settings = start, settings
        Inputs.of(x, f"the probe {name}")  # refuses what holds no examples
        self._x = private_inputs(x, dtype)
        try:
            self._linearization = Linearization(start, self._x, given)
            since = perf_counter()
            self._outputs, self._signs = outputs_and_signs(start, self._x)
            self._seconds = {"outputs": perf_counter() - since}
        except DataError as error:
            raise DataError(f"the probe {name}: {error}") from error
        if self._outputs.ndim == 0:
            raise ModelError(
                f"{type(start).__name__} returns one number; outputs [n, ...] are needed, one an example"
            )
        matrix = self._outputs.reshape(len(self._outputs), -1)
        self.targets = None if y is None else target_columns(y, self._outputs, name.replace("x", "y"))
        self.loss = None if loss is None or y is None else ProbeLoss(loss, y)
        if self.loss:
            self.loss(self._outputs)
        self._sampled = SampledOutputs.drawn(matrix, self.targets, settings.outputs, settings.seed)
        self._kernel = ProbeKernel(self._sampled, self._x)
        self._kernel.check(start)
        since = perf_counter()
        kernels = self._kernel.at(start)
        self._seconds["kernel"] = perf_counter() - since
        self._kernels = self._kernel.confirmed(start, kernels)
        if len(self._kernels) * next(iter(self._kernels.values())).numel() > KEPT:
            self._kernels = {"": _sum(self._kernels)}
        self._leading = LeadingCurvature(self._linearization)
        self.at_start: Measured | None = None

    @property
    def parts(self) -> list[str]:
        """What can be measured here apart from each other."""
        parts = ["outputs", "gap", "kernel"]
        apart = self._sampled.combinations is not None and self._settings.curvature
        return [*parts, "curvature"] if apart else parts

    def quantities(self, part: str) -> Sequence[str]:
        """The quantities of a part."""
        found = list(PARTS[part])
        if part == "kernel" and self._settings.curvature and "curvature" not in self.parts:
            found.append("kappa_max")
        if self.targets is None:
            found = [q for q in found if q != "alignment"]
        return found if self.loss else [q for q in found if q != "loss"]

    @property
    def sampling(self) -> str:
        """How outputs are sampled, in words; "" where all are had."""
        if self._sampled.combinations is None:
            return ""
        n, _, classes = self._sampled.combinations.shape
        return f"{self._sampled.samples} random combinations of the {classes} outputs for each of {n} examples"

    def measure(
        self, now: nn.Module, chosen: Collection[str], still: Callable[[str], bool] = lambda _: True
    ) -> Measured:
        """Look at θ_t; where nothing has moved, all of what was found at θ_0 is given.

        Args:
            now: the network at θ_t, in evaluation mode.
            chosen: parts besides ``"outputs"``, which the others need.
            still: whether there is still time for a part, asked before it begins.
        """
        if self.at_start is not None and same_numbers(self._start, now):
            return replace(self.at_start, seconds={})
        found, since = Measured(), perf_counter()
        outputs, signs = outputs_and_signs(now, self._x)
        if not torch.isfinite(outputs).all():
            return Measured(faults=["the outputs on the probe are not finite"])
        self._look_at_outputs(outputs, signs, found)
        looks = {"gap": self._look_at_gap, "kernel": self._look_at_kernel, "curvature": self._look_at_curvature}
        found.seconds["outputs"] = perf_counter() - since
        for part in (p for p in self.parts if p in chosen and p in looks):
            if not still(part):
                continue
            since = perf_counter()
            try:
                looks[part](now, outputs, found)
            except KernelError as error:
                found.faults.append(str(error))
            found.seconds[part] = perf_counter() - since
        return found

    def measure_start(self, iterations: int) -> Measured:
        """What there is to say of θ_0, to be given again where nothing has moved, with the seconds of every part.

        Args:
            iterations: of the power iteration, which has nothing to start from.
        """
        found = Measured(seconds=dict(self._seconds))
        since = perf_counter()
        self._linearization.product(step_taken(self._start, self._start))
        found.seconds["gap"] = perf_counter() - since
        self._look_at_outputs(self._outputs, self._signs, found)
        found.values["linearization_gap"] = math.nan
        self._judge_kernels(self._kernels, self._outputs, found)
        if "curvature" in self.parts:
            since = perf_counter()
            self._look_at_curvature(self._start, self._outputs, found)
            found.seconds["curvature"] = perf_counter() - since
            self._look_at_curvature(self._start, self._outputs, found, iterations - 1)
        return found

    def _look_at_outputs(self, outputs: Tensor, signs: Signs, found: Measured) -> None:
        found.values["signs_changed"] = signs_changed(self._signs, signs)
        found.layers["signs_changed"] = signs_changed_by_layer(self._signs, signs)
        if self.loss:
            found.values["loss"] = float(self.loss(outputs))

    def _look_at_gap(self, now: nn.Module, outputs: Tensor, found: Measured) -> None:
        linear = self._linearization.product(step_taken(self._start, now))
        found.values["linearization_gap"] = gap(outputs - self._outputs, linear)

    def _look_at_kernel(self, now: nn.Module, outputs: Tensor, found: Measured) -> None:
        self._judge_kernels(self._kernel.at(now, layerwise=set(self._kernels) != {""}), outputs, found)

    def _judge_kernels(self, kernels: dict[str, Tensor], outputs: Tensor, found: Measured) -> None:
        kernel, reference = _sum(kernels), _sum(self._kernels)
        moved = kernel_movement(kernel, reference, self._sampled)
        found.values |= {"kernel_change": moved.change, "kernel_distance": moved.distance}
        if self._sampled.combinations is not None:
            found.errors |= {"kernel_change": moved.change_error, "kernel_distance": moved.distance_error}
        found.values["effective_rank"] = effective_rank(kernel, self._sampled)
        if self.targets is not None:
            found.values["alignment"] = alignment(kernel, self.targets, self._sampled)
        if len(kernels) > 1:
            found.layers["kernel_change"] = shares_by_layer(kernels, self._kernels, self._sampled)
        if self._settings.curvature and "curvature" not in self.parts:
            product = self.loss.curvature(outputs) if self.loss else None
            found.values["kappa_max"] = curvature_of_kernel(kernel, product, outputs.shape) * self._scale(outputs)

    def _look_at_curvature(
        self, now: nn.Module, outputs: Tensor, found: Measured, iterations: int | None = None
    ) -> None:
        product = self.loss.curvature(outputs) if self.loss else None
        leading = self._leading.iterate(now, self._x, product, outputs, iterations or self._settings.iterations)
        found.values["kappa_max"] = leading * self._scale(outputs)
        found.errors["kappa_max"] = self._leading.residual

    def _scale(self, outputs: Tensor) -> float:
        return self.loss.examples_per_unit(outputs, self._settings.batch_size) if self.loss else 1.0

    def sum_without_batch_size(self) -> bool:
        """Whether the loss is a sum, whose curvature grows with the batch, which is not known."""
        return self.loss is not None and self._settings.batch_size is None and self.loss.is_sum(self._outputs)


def _sum(kernels: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(kernels.values())).sum(0) if len(kernels) > 1 else next(iter(kernels.values()))
