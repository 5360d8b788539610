"""Which optimizers are compared, and how each is set: as the problem says, by the theorem, by itself, or tuned."""

import copy
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ntkgap.data import Dataset
from ntkgap.errors import DataError
from ntkgap.models import learning_rate_factor
from ntkgap.practice import (
    LogarithmicGrid,
    TrainingCurve,
    kfac_descent,
    natural_gradient_descent,
    train,
    tune,
)
from ntkgap.practice.training.losses import choose_loss
from ntkgap.studies.device import moved
from ntkgap.studies.optimization.comparison_spec import KFAC_RATES, ComparisonSpec, Method
from ntkgap.studies.optimization.finish import score
from ntkgap.studies.optimization.start import Start
from ntkgap.theory import critical_learning_rate

# Adam's steps do not depend on the size of gradients, so that the kernel says nothing about them.
ADAM_RATES = (1e-3, 1e-1)

# Of SGD, as fractions of the critical rate; of K-FAC's damping, as fractions of the kernel's mean eigenvalue.
SGD_RATES = (1 / 16, 1.0)
KFAC_DAMPINGS = (1e-2, 1.0)


# A run is repeated until its clock has been read over so many seconds, so many times at most. With five programs a
# core, the quickest of two runs of 0.2 s had a standard deviation of 7 %, that of four runs 4 %.
ENOUGH_SECONDS, MOST_RUNS = 0.3, 5


@dataclass(frozen=True)
class OptimizerRun:
    """One method's run.

    Attributes:
        curve: of the run; of several equal ones the quickest.
        settings: what it was run with, as far as numbers say so.
        at_edge: settings whose best value is at an end of what was searched.
    """

    curve: TrainingCurve
    settings: Mapping[str, float]
    at_edge: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A method that is ready to run.

    Attributes:
        run: called with the settings by name.
        settings: what it is run with.
        curve: of a run that was made in choosing them, if there was one.
        at_edge: as of ``OptimizerRun``.
    """

    run: Callable[..., TrainingCurve]
    settings: Mapping[str, float]
    curve: TrainingCurve | None = None
    at_edge: tuple[str, ...] = ()

    def quickest(self) -> TrainingCurve:
        """The quickest of some equal runs: what else a machine does only ever adds to the clock."""
        found = self.run(**self.settings) if self.curve is None else self.curve
        clocks = [found.seconds]
        while len(clocks) < MOST_RUNS and math.fsum(clock[-1] for clock in clocks) < ENOUGH_SECONDS:
            clocks.append(self.run(**self.settings, test=None).seconds)  # its losses are known
        return replace(found, seconds=min(clocks, key=lambda clock: clock[-1]))


@dataclass
class Comparison:
    """Where all optimizers start, and what they have to reach.

    Attributes:
        spec: of the comparison.
        start: the network in float64, in which natural gradient is trained.
        natural_gradient: η and λ of plain natural gradient.
        learning_rate: η of gradient descent, before the factor of the parametrization.
        theorem_learning_rate: η that the theorem allows; 0 or NaN if it allows none.
        seed: of the order of examples.
        unit: training loss of the function that is zero, in which losses are counted: that of the initial network
            depends on its random outputs.
        test_unit: the same on the test set.
        network: the network in float32, in which the other methods are trained.
        train: training set in float32.
        test: test set in float32.
    """

    spec: ComparisonSpec
    start: Start
    natural_gradient: Mapping[str, float]
    learning_rate: float
    theorem_learning_rate: float
    seed: int

    def __post_init__(self) -> None:
        self.unit = loss_of_zero(self.spec.loss, self.start.train)
        self.test_unit = loss_of_zero(self.spec.loss, self.start.test)
        self.network: nn.Module = moved(copy.deepcopy(self.start.network).float())
        self.train = moved(self.start.train.to(torch.float32))
        self.test = moved(self.start.test.to(torch.float32))

    @property
    def target(self) -> float:
        """The training loss to reach."""
        return self.spec.target * self.unit

    def run(self, method: Method) -> OptimizerRun | None:
        """Run a method as well as it can; None where the theorem allows no step."""
        entry = _ENTRIES[method](self)
        return None if entry is None else OptimizerRun(entry.quickest(), entry.settings, entry.at_edge)

    def first_order(self, optimizer: str, network: nn.Module | None = None, **settings: Any) -> TrainingCurve:
        """Train by gradient descent, SGD or Adam, always with the same order of examples.

        Args:
            optimizer: its name.
            network: what is trained; a copy of ``network`` if not given.
            settings: η (of gradient descent and SGD as it compares with the kernel), and what ``train`` takes;
                the test set is looked at if not told otherwise.
        """
        factor = 1.0 if optimizer == "adam" else learning_rate_factor(self.network)
        settings["learning_rate"] /= factor
        return train(
            copy.deepcopy(self.network) if network is None else network,
            self.train,
            optimizer=optimizer,
            steps=self.spec.steps,
            batch_size=None if optimizer == "gd" else self.spec.batch_size,
            loss=self.spec.loss,
            keep_last=False,
            generator=torch.Generator().manual_seed(self.seed),
            **({"test": self.test} | settings),
        )

    def natural(self, **settings: Any) -> TrainingCurve:
        """Train by exact natural gradient."""
        return natural_gradient_descent(
            copy.deepcopy(self.start.network),
            self.start.train,
            steps=self.spec.second_order_steps,
            **({"test": self.start.test} | settings),
        )

    def kfac(self, **settings: Any) -> TrainingCurve:
        """Train by K-FAC."""
        return kfac_descent(
            copy.deepcopy(self.network),
            self.train,
            steps=self.spec.second_order_steps,
            **({"test": self.test} | settings),
        )

    def tuned(self, run: Callable[..., TrainingCurve], grid: Mapping[str, Any]) -> Entry:
        """The settings of a grid with which the target is reached in the fewest steps.

        Steps, not seconds: a choice by the clock would not be the same twice.
        """
        found = tune(run, grid, score=lambda curve: score(curve, self.target))
        return Entry(run, found.best.settings, found.best.curve, found.at_edge)

    def grid(self, ends: tuple[float, float], scale: float = 1.0) -> LogarithmicGrid:
        """A search that begins between the ends, times a scale."""
        return LogarithmicGrid(scale * ends[0], scale * ends[1], self.spec.tuning_points)


def loss_of_zero(loss: str, data: Dataset) -> float:
    """The loss of the function that is zero everywhere.

    Raises:
        DataError: if it is zero: there is nothing to learn.
    """
    found = choose_loss(loss, data)(torch.zeros_like(data.y), data.y).item()
    if found == 0:
        raise DataError("all targets are zero, so that there is nothing to learn and no target to reach")
    return found


def _gradient_descent(comparison: Comparison) -> Entry:
    run = functools.partial(comparison.first_order, "gd")
    if comparison.spec.loss == "squared":
        return Entry(run, {"learning_rate": comparison.learning_rate})
    # The critical rate is that of the squared loss: elsewhere it is a place to begin.
    return comparison.tuned(run, {"learning_rate": _sgd_rates(comparison)})


def _sgd(comparison: Comparison) -> Entry:
    grid = {"learning_rate": _sgd_rates(comparison), "momentum": comparison.spec.momenta}
    return comparison.tuned(functools.partial(comparison.first_order, "sgd"), grid)


def _sgd_rates(comparison: Comparison) -> LogarithmicGrid:
    return comparison.grid(SGD_RATES, critical_learning_rate(comparison.start.gram))


def _adam(comparison: Comparison) -> Entry:
    return comparison.tuned(
        functools.partial(comparison.first_order, "adam"), {"learning_rate": comparison.grid(ADAM_RATES)}
    )


def _natural_gradient(comparison: Comparison) -> Entry:
    return Entry(comparison.natural, comparison.natural_gradient)


def _theorem(comparison: Comparison) -> Entry | None:
    if not comparison.theorem_learning_rate > 0:  # NaN too
        return None
    return Entry(comparison.natural, {"learning_rate": comparison.theorem_learning_rate, "damping": 0.0})


def _searched(comparison: Comparison) -> Entry:
    damping = comparison.natural_gradient["damping"]
    return Entry(functools.partial(comparison.natural, learning_rate="search"), {"damping": damping})


def _adaptive(comparison: Comparison) -> Entry:
    return Entry(functools.partial(comparison.natural, damping="adaptive"), {"learning_rate": 1.0})


def _kfac(comparison: Comparison) -> Entry:
    mean_eigenvalue = comparison.start.gram.diagonal().mean().item()
    return comparison.tuned(
        comparison.kfac, {"learning_rate": KFAC_RATES, "damping": comparison.grid(KFAC_DAMPINGS, mean_eigenvalue)}
    )


_ENTRIES: Mapping[Method, Callable[[Comparison], Entry | None]] = {
    "gd": _gradient_descent,
    "sgd": _sgd,
    "adam": _adam,
    "ngd": _natural_gradient,
    "ngd_theorem": _theorem,
    "ngd_search": _searched,
    "ngd_adaptive": _adaptive,
    "kfac": _kfac,
}
