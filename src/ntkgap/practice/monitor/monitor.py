"""A look at a training run from time to time: is it in the kernel regime?"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from ntkgap.errors import StudyError
from ntkgap.kernels.neutral import neutral
from ntkgap.one_line import line_of
from ntkgap.practice.checks import check_count, check_network
from ntkgap.practice.monitor import record
from ntkgap.practice.monitor.budget import Budget
from ntkgap.practice.monitor.identity import Identity
from ntkgap.practice.monitor.networks import all_finite, precision_for, present_network, start_network
from ntkgap.practice.monitor.probe import Probe, ProbeSettings
from ntkgap.practice.monitor.probes import Looks
from ntkgap.practice.monitor.steps import equal_ratio_steps, is_power_of_two

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Monitor:
    r"""Watches how far a network leaves the kernel regime while it is trained, by any optimizer and loss.

    θ_0 is the network as it is now: an initialization, or a pretrained network that is fine-tuned. All
    quantities are of the network in evaluation mode, with the running statistics of the time, over the parameters
    that require grad now; network, gradients, optimizer and the random state of the process are only read.

    =====================  =======================================================================================
    loss                   as given to ``observe``, else of the probe if ``loss`` and ``y`` are given
    linearization_gap      :math:`\lVert f_t-f_0-J_0(\theta_t-\theta_0)\rVert/\lVert f_t-f_0\rVert`, exact
    kernel_change          :math:`\lVert K_t-K_0\rVert_F/\lVert K_0\rVert_F`
    kernel_distance        :math:`1-\cos(K_t,K_0)`
    alignment              :math:`y^\top K_ty/(\lVert K_t\rVert_F\lVert y\rVert^2)`
    effective_rank         :math:`(\mathrm{tr}\,K_t)^2/\lVert K_t\rVert_F^2`
    kappa_max              largest eigenvalue of :math:`J_t^\top S J_t`, S the curvature of the loss in the outputs
                           (the identity without ``loss``)
    stability_ratio        kappa_max over the stability limit of the optimizer, 2/η for gradient descent: above 1
                           the kernel regime is impossible, at 1 is the edge of stability
    parameter_change       :math:`\lVert\theta_t-\theta_0\rVert/\lVert\theta_0\rVert`
    signs_changed          fraction of units of ReLU-like layers on the other side of zero
    =====================  =======================================================================================

    Kernels are of all outputs where n·C ≤ 256, else along random combinations of the outputs
    (``sampling_errors``); kappa_max is then a lower bound by power iteration. Networks of at most 100 000
    parameters are measured in float64, others in float32 (``dtype`` says which). Sources: Fort et al. 2020;
    Chizat, Oyallon, Bach 2019; Cohen et al. 2021.

    Args:
        model: any network that treats its examples one by one in evaluation mode.
        x: the probe, k training examples, as ``empirical_ntk`` takes them.
        y: their targets: class numbers [k], or [k, C]; for alignment and curvature.
        x_test: held-out examples; columns that end in ``_test`` are of these.
        loss: the loss of the training, a function of outputs and targets, or ``"squared"``, ``"cross_entropy"``.
        optimizer: for the stability ratio, and to watch.
        budget: fraction of the training time (20 s at least) that observations may take; None for no limit.
        y_test: targets of the held-out examples.
        batch_size: of the training; the curvature of a loss that is a sum grows with it.
        outputs: number of random combinations of the outputs; by default as above.
        seed: of these.

    Attributes:
        notes: what was left out and why, in sentences.
        construction_seconds: time of the look at θ_0, which does not count against the budget.
        dtype: precision of the measurement.
        diverged: the step at which a loss or parameter was not finite; None if none was.

    Raises:
        DataError: if the network does not take the probe, or targets do not fit.
        ModelError: if the network has nothing to train, or no Jacobian an example.
        StudyError: if an option is out of range, or the optimizer steps other parameters.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
        >>> monitor = Monitor(net, torch.randn(8, 3))
        >>> monitor.observe(0)["kernel_change"]
        0.0
    """

    @neutral()
    def __init__(
        self,
        model: nn.Module,
        x: Any,
        y: Any = None,
        x_test: Any = None,
        loss: Any = None,
        optimizer: torch.optim.Optimizer | None = None,
        budget: float | None = 0.05,
        *,
        y_test: Any = None,
        batch_size: int | None = None,
        outputs: int | None = None,
        seed: int = 0,
    ) -> None:
        begun = perf_counter()
        check_network(model)
        for name, value, least in (("batch_size", batch_size, 1), ("outputs", outputs, 2), ("seed", seed, 0)):
            if value is not None:
                check_count(name, value, least)
        if y_test is not None and x_test is None:
            raise StudyError("y_test is given without x_test; give the held-out inputs too")
        self._budget = Budget(budget)
        self._model, self._optimizer = model, optimizer
        self._identity = Identity(model, optimizer)
        self.dtype = precision_for(model, x)
        start = start_network(model, self.dtype)
        given = dict(model.named_parameters())
        settings = ProbeSettings(outputs, seed, curvature=True, batch_size=batch_size)
        held_out = ProbeSettings(outputs, seed, curvature=False)
        probes = {"": Probe(start, x, y, loss, settings, given, "x", self.dtype)}
        if x_test is not None:
            probes["_test"] = Probe(start, x_test, y_test, loss, held_out, given, "x_test", self.dtype)
        self._rows: list[dict[str, float]] = []
        self._layers: list[dict[str, Any]] = []
        self._errors: list[dict[str, float]] = []
        self._schedule: list[int] | None = None
        self.diverged: int | None = None
        self._looks = Looks(start, probes, self._budget, optimizer)
        self.notes: list[str] = self._looks.notes
        self.construction_seconds = perf_counter() - begun
        self._budget.restart()

    # Observing

    @neutral()
    def observe(self, step: int, loss: Any = None, *, complete: bool = False) -> dict[str, float]:
        """Look at the network after so many steps.

        Args:
            step: larger than at the last observation.
            loss: of the training, a number, for the record.
            complete: measure everything, whatever it takes.

        Returns:
            Every quantity of the table by name, for a logger; NaN for what was left out (``notes`` says why).

        Raises:
            StudyError: if steps go backwards, or the optimizer steps other parameters.
            ModelError: if it is not the network of the start any more.
        """
        check_count("step", step, 0)
        if self._rows and step <= self._rows[-1]["step"]:
            raise StudyError(
                f"step={step} was observed after step {int(self._rows[-1]['step'])}; steps must go forward, and "
                "another training needs a Monitor of its own"
            )
        self._identity.check()
        given = math.nan if loss is None else _number(loss)
        self._budget.enter(step)
        row: dict[str, float] = {"step": step} | dict.fromkeys(self.columns, math.nan) | {"loss": given}
        now = present_network(self._model, self.dtype)
        if not all_finite(now) or (loss is not None and not math.isfinite(given)):
            what = "the loss" if all_finite(now) else "a parameter or buffer"
            self._note(f"step {step}: {what} is not finite; the training has diverged, and nothing was measured")
            self.diverged = step if self.diverged is None else self.diverged
        else:
            look = self._looks.take(now, row, complete)
            for sentence in look.notes:
                self._note(f"step {step}: {sentence}")
            if look.diverged and self.diverged is None:
                self.diverged = step
            self._layers += record.layer_rows(step, look.layers)
            if look.errors:
                self._errors.append({"step": step} | look.errors)
        self._rows.append(row)
        self._budget.leave()
        return {name: value for name, value in row.items() if name != "step"}

    def due(self, step: int, total_steps: int | None = None, observations: int = 8) -> bool:
        """Whether to observe now: at steps in equal ratios up to the last, or at 1, 2, 4, 8, … without an end.

        With ``total_steps`` the budget is shared out evenly over these observations.
        """
        if total_steps is None:
            return is_power_of_two(step)
        if self._schedule is None:
            self._plan(total_steps, observations)
        return step in (self._schedule or ())

    @contextmanager
    def watching(self, total_steps: int, observations: int = 8) -> Iterator["Monitor"]:
        """Observe whatever trains inside, by a hook on the optimizer that is removed again.

        Args:
            total_steps: number of steps that the optimizer will take.
            observations: how many looks, in equal ratios of the step; the last one after the last step.

        Raises:
            StudyError: if the monitor was not given the optimizer.
        """
        if self._optimizer is None:
            raise StudyError(
                "watching needs the optimizer; pass optimizer= to the Monitor, or call observe yourself"
            )
        self._plan(total_steps, observations)
        taken = int(self._rows[-1]["step"]) if self._rows else 0

        def after_step(*_: Any) -> None:
            nonlocal taken
            taken += 1
            if self.due(taken, total_steps, observations):
                self.observe(taken)

        handle = self._optimizer.register_step_post_hook(after_step)
        try:
            yield self
        finally:
            handle.remove()

    def _plan(self, total_steps: int, observations: int) -> None:
        self._schedule = equal_ratio_steps(total_steps, observations)
        self._budget.plan(total_steps, len(self._schedule))

    # Results

    @property
    def columns(self) -> list[str]:
        """Names of the quantities."""
        return self._looks.columns

    @property
    def overhead(self) -> float:
        """Time of all observations as a fraction of the training's."""
        return self._budget.spent / self._budget.training if self._budget.training else math.nan

    def to_pandas(self) -> pd.DataFrame:
        """One row an observation: ``step`` and every quantity."""
        return record.frame(self._rows, self.columns)

    def by_layer(self) -> pd.DataFrame:
        """Where it moves: step, layer, parameter_change, kernel_change (the layer's share), signs_changed.

        Shares of the layers in the movement of the kernel add up to one. Signs are by the module that applies the
        nonlinearity, on the training probe.
        """
        return record.layer_frame(self._layers)

    def sampling_errors(self) -> pd.DataFrame:
        """Standard errors of kernel quantities where outputs are sampled; of kappa_max the relative residual."""
        return pd.DataFrame(self._errors) if self._errors else pd.DataFrame(columns=["step"])

    def plot(self) -> "Figure":
        """The quantities over the steps."""
        return record.plot(self.to_pandas())

    def __repr__(self) -> str:
        seen, notes = f"{len(self._rows)} observations", f"{len(self.notes)} notes"
        overhead = [f"overhead {self.overhead:.1%}"] if self._rows else []
        return line_of(self, type(self._model).__name__, seen, notes, *overhead)

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _number(loss: Any) -> float:
    try:
        return float(loss.detach() if isinstance(loss, Tensor) else loss)
    except (TypeError, ValueError, RuntimeError) as error:
        raise StudyError(f"loss= of observe takes one number, got {type(loss).__name__} ({error})") from error
