"""The optimizer comparison of a cell: loss against steps and seconds, for every optimizer from the same start."""

import copy
import math

import torch

from ntkgap.errors import ModelError
from ntkgap.practice import TrainingCurve
from ntkgap.studies.findings import Findings
from ntkgap.studies.optimization.comparison_runs import Comparison, OptimizerRun
from ntkgap.studies.optimization.comparison_spec import FIRST_ORDER, NATURAL_GRADIENT, Method
from ntkgap.studies.optimization.drift import PathDrift
from ntkgap.studies.optimization.finish import Bounds, needed, ratio_of_best
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.optimization.start import Start


def compare_optimizers(problem: OptimizationProblem, start: Start, seed: int, findings: Findings) -> None:
    """Compare the optimizers of a problem, if it asks for that and the network is not too large.

    Where there is none, its numbers are missing from the findings, not inconclusive.
    """
    spec = problem.comparison
    if spec is None or findings.number("n_parameters") > spec.max_parameters:
        return
    findings.scalars["race_target"] = spec.target
    comparison = Comparison(
        spec,
        start,
        problem.natural_gradient.model_dump(include={"learning_rate", "damping"}),
        findings.number("gd_learning_rate"),
        findings.number("theorem_learning_rate"),
        seed,
    )
    ran: dict[Method, OptimizerRun] = {}
    for method in spec.optimizers:
        try:
            found = comparison.run(method)
        except ModelError as error:  # K-FAC knows few layers
            findings.notes.append(f"optimizer comparison, {method}: {error}")
            found = None
        if found is None:
            _add_absent(method, findings)
        else:
            ran[method] = found
            _add(method, found, comparison, findings)
    _compare(ran, comparison.target, findings)
    if spec.loss == "squared":
        _predict(comparison, findings)
    if "sgd" in ran:
        _drift_of_sgd(comparison, ran["sgd"], problem.gradient_descent.observations, findings)


def _add(method: Method, found: OptimizerRun, comparison: Comparison, findings: Findings) -> None:
    """Curves in units of the loss of a function that is zero, and what the target took."""
    curve, what = found.curve, f"optimizer comparison, {method}"
    if found.at_edge:
        findings.notes.append(f"{what}: the best {', '.join(found.at_edge)} may lie further out")
    findings.add_stop(what, curve)
    losses = _in_units(curve.losses, comparison.unit)
    test_losses = _in_units(curve.test_losses, comparison.test_unit)
    findings.curves |= {
        f"race_{method}_loss": losses,
        f"race_{method}_test": test_losses,
        f"seconds_race_{method}": curve.seconds,
    }
    findings.scalars |= {
        f"race_{method}_steps": _steps(curve, comparison.target).high,
        f"seconds_race_{method}": _seconds(curve, comparison.target).high,
        f"race_{method}_final": math.inf if curve.diverged else losses[-1],
        f"race_{method}_test_final": math.inf if curve.diverged else test_losses[-1],
    }
    findings.scalars |= {f"race_{method}_{name}": value for name, value in found.settings.items()}


def _add_absent(method: Method, findings: Findings) -> None:
    """A method that cannot be run here: nothing is known of it."""
    names = (f"race_{method}_steps", f"seconds_race_{method}", f"race_{method}_final", f"race_{method}_test_final")
    findings.scalars |= dict.fromkeys(names, math.nan)


def _steps(curve: TrainingCurve, target: float) -> Bounds:
    return needed(curve, target, range(len(curve.losses)))


def _seconds(curve: TrainingCurve, target: float) -> Bounds:
    return needed(curve, target, curve.seconds)


def _compare(ran: dict[Method, OptimizerRun], target: float, findings: Findings) -> None:
    """What the best natural gradient needs by what the best first-order method needs."""
    ours = [ran[method].curve for method in NATURAL_GRADIENT if method in ran]
    theirs = [ran[method].curve for method in FIRST_ORDER if method in ran]
    if ours and theirs:
        for name, cost in (("ngd_steps_ratio", _steps), ("seconds_ratio_ngd", _seconds)):
            findings.scalars[name] = ratio_of_best(
                [cost(c, target) for c in ours], [cost(c, target) for c in theirs]
            )


def _predict(comparison: Comparison, findings: Findings) -> None:
    """The curves that the kernel at initialization and that of infinite width predict for the stated settings."""
    spec = comparison.spec
    steps = {"gd": torch.arange(spec.steps + 1), "ngd": torch.arange(spec.second_order_steps + 1)}
    for kernel, dynamics in (("predicted", comparison.start.dynamics), ("limit", comparison.start.limit_dynamics)):
        if dynamics is None:
            continue
        decays = {
            "gd": dynamics.gradient_descent_decay(comparison.learning_rate, steps["gd"]),
            "ngd": dynamics.natural_gradient_decay(steps=steps["ngd"], **comparison.natural_gradient),
        }
        for method in (m for m in decays if m in spec.optimizers):
            losses = dynamics.losses(decays[method]).tolist()
            findings.curves[f"race_{method}_{kernel}"] = _in_units(losses, comparison.unit)


def _drift_of_sgd(comparison: Comparison, sgd: OptimizerRun, points: int, findings: Findings) -> None:
    """Walk SGD's path once more, looking at the Jacobian: looking would have slowed every run of its tuning."""
    network = copy.deepcopy(comparison.network)
    drift = PathDrift(network, comparison.start, comparison.spec.steps, points)
    curve = comparison.first_order("sgd", network, observe=drift.observe, **sgd.settings)
    drift.record("sgd", curve, findings)


def _in_units(losses: list[float], unit: float) -> list[float]:
    return [loss / unit for loss in losses]
