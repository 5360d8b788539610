"""One cell of the optimization study: one network of one width from one seed, predicted and measured."""

import copy
import math
from itertools import pairwise

import torch
from torch import Tensor

from ntkgap.errors import DataError, NtkgapError
from ntkgap.kernels import Jacobian, jacobian, jacobian_change, kernel_distance, relative_change
from ntkgap.linalg import as_matrix
from ntkgap.models import learning_rate_factor
from ntkgap.practice import natural_gradient_descent, train
from ntkgap.studies.findings import Findings
from ntkgap.studies.optimization.ball import Inside, may_search, search_ball
from ntkgap.studies.optimization.claims import RATE_STEPS
from ntkgap.studies.optimization.comparison import compare_optimizers
from ntkgap.studies.optimization.drift import PathDrift
from ntkgap.studies.optimization.own_training import OF_OWN_TRAINING, follow_own_training
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.optimization.start import Start, distance, initialize, norm
from ntkgap.theory import (
    STABILITY_LIMIT,
    critical_learning_rate,
    guaranteed_decay,
    largest_learning_rate,
    stability_constant,
    theorem_radius,
)

# Below this fraction of its start the squared residual is rounding error, and its decay says nothing.
SQUARED_RESIDUAL_FLOOR = 1e-24

# Gradient descent is followed down to this fraction of the squared residual: further on, units that end up on the
# kink of a ReLU are switched by rounding errors, and with them the kernel.
KERNEL_FLOOR = 1e-12


def measure(problem: OptimizationProblem, width: int, seed: int) -> Findings:
    """Measure one network of one width from one seed. Losses are relative to the initial one."""
    findings = Findings()
    start = initialize(problem, width, seed, findings)
    follow_natural_gradient(problem, start, seed, findings)
    follow_gradient_descent(problem, start, findings)
    compare_optimizers(problem, start, seed, findings)
    if problem.train is not None:
        try:
            follow_own_training(problem.train, start, seed, problem.gradient_descent.observations, findings)
        except NtkgapError as error:  # it costs nothing of what was measured before
            findings.leave_out(f"your training failed: {error}", *OF_OWN_TRAINING)
    return findings


def follow_natural_gradient(problem: OptimizationProblem, start: Start, seed: int, findings: Findings) -> None:
    """Run exact natural gradient descent; measure its rate and the Jacobian's drift along the path."""
    settings = problem.natural_gradient
    network = copy.deepcopy(start.network)
    drift: list[float] = []
    moved: list[float] = []
    radius = theorem_radius(start.residual_norm, start.lambda_min)
    inside = Inside(network, keep=may_search(problem, network))

    def observe(step: int, at: Jacobian, gram: Tensor) -> None:
        drift.append(jacobian_change(gram, as_matrix(at.gram(start.at)), start.gram) if step else 0.0)
        moved.append(distance(network, start.network))
        if moved[-1] <= radius:
            inside.note(drift[-1])

    curve = natural_gradient_descent(network, start.train, observe=observe, **settings.model_dump())
    findings.add_stop("natural gradient", curve)

    steps = torch.arange(settings.steps + 1)
    decay = start.dynamics.natural_gradient_decay(settings.learning_rate, steps, settings.damping)
    measured, predicted = relative(curve.losses), relative(start.dynamics.losses(decay).tolist())
    c_prime = [stability_constant(change, start.lambda_min) for change in drift]
    largest = max(c_prime, default=math.nan)
    guaranteed = guaranteed_decay(settings.learning_rate)
    finished = curve.stopped is None
    errors = rate_errors(measured, predicted)[:RATE_STEPS] if finished else []
    # Undamped steps on a Gram matrix that may be singular: the theory has not promised anything there.
    broken = math.nan if math.isnan(start.lambda_min) else math.inf
    findings.curves |= {"ngd_loss": measured, "ngd_loss_predicted": predicted, "ngd_c_prime": c_prime}
    # A path that ended early can still refute the condition, not speak for it.
    decided = largest if finished or largest >= STABILITY_LIMIT else math.nan
    findings.scalars |= {
        "c_prime": decided,
        "c_prime_end": c_prime[-1] if finished else math.nan,
        "initial_norm": norm(p for p in start.network.parameters() if p.requires_grad),
        "theorem_learning_rate": largest_learning_rate(decided),
        "theorem_radius": radius,
        "ngd_learning_rate": settings.learning_rate,
        "ngd_distance": moved[-1] if finished else math.nan,
        "ngd_path_in_ball": max(moved) <= radius if moved and not math.isnan(radius) else None,
        "ngd_decay": decay_rate(measured) if finished else broken,
        "ngd_decay_guaranteed": guaranteed,
        "ngd_decay_predicted": decay_rate(predicted),
        "ngd_rate_error": rate_error(measured[: RATE_STEPS + 1], predicted) if finished else broken,
        "ngd_rate_error_first": errors[0] if errors else broken,
        "ngd_rate_error_worst": max(errors) if errors else broken,
        "ngd_guarantee_kept": finished
        and all(loss <= guaranteed**k * (1 + 1e-9) + SQUARED_RESIDUAL_FLOOR for k, loss in enumerate(measured)),
    }
    search_ball(problem, start, seed, radius, inside, findings)


def follow_gradient_descent(problem: OptimizationProblem, start: Start, findings: Findings) -> None:
    """Run gradient descent; compare losses, kernel and test outputs with the constant kernel at the same step."""
    settings = problem.gradient_descent
    # Parametrizations and scales have learning rates of their own: training moves by η times their factor.
    factor = learning_rate_factor(start.network)
    learning_rate = settings.fraction_of_critical * critical_learning_rate(start.gram)
    test_at = jacobian(start.network, start.test.x)
    cross_gram = as_matrix(test_at.gram(start.at))
    decay = start.dynamics.gradient_descent_decay(learning_rate, torch.arange(settings.steps + 1))
    predicted = relative(start.dynamics.losses(decay).tolist())
    steps = resolved_steps(predicted, KERNEL_FLOOR)
    predicted, decay = predicted[: steps + 1], decay[: steps + 1]
    predicted_outputs = start.dynamics.predictions(decay[-1:], cross_gram, test_at.outputs)[0]

    network = copy.deepcopy(start.network)
    drift = PathDrift(network, start, steps, settings.observations)
    curve = train(network, start.train, learning_rate=learning_rate / factor, steps=steps, observe=drift.observe)
    drift.record("gd", curve, findings)
    findings.add_stop("gradient descent", curve)
    measured = relative(curve.losses)
    findings.curves |= {"gd_loss": measured, "gd_loss_predicted": predicted}
    if start.limit_dynamics is not None:
        at_limit = start.limit_dynamics.gradient_descent_decay(learning_rate, torch.arange(steps + 1))
        findings.curves["gd_loss_limit"] = relative(start.limit_dynamics.losses(at_limit).tolist())
    findings.scalars |= {
        "gd_learning_rate": learning_rate,
        "gd_steps": steps,
        "gd_loss_predicted_end": predicted[-1],
    }
    if curve.stopped:
        missing = dict.fromkeys(
            ("gd_loss_end", "gd_discrepancy", "kernel_change", "kernel_distance", "linearization_error"),
            math.inf,
        )
        findings.scalars |= missing
        return
    with torch.no_grad():
        outputs = network(start.test.x)
    findings.scalars |= {
        "gd_loss_end": measured[-1],
        "gd_discrepancy": max(abs(math.sqrt(a) - math.sqrt(b)) for a, b in zip(measured, predicted, strict=True)),
        "kernel_change": relative_change(drift.gram, start.gram),
        # A kernel that has vanished, of a network whose units have all died, has no direction.
        "kernel_distance": kernel_distance(drift.gram, start.gram) if drift.gram.any() else math.nan,
        "linearization_error": (
            (outputs - predicted_outputs).norm() / (predicted_outputs - test_at.outputs).norm()
        ).item(),
    }


def relative(losses: list[float]) -> list[float]:
    """Losses as fractions of the initial one.

    Raises:
        DataError: if the initial one is zero.
    """
    if losses[0] == 0:
        raise DataError(
            "the network fits the training targets exactly before training; there is nothing to measure"
        )
    return [loss / losses[0] for loss in losses]


def resolved_steps(losses: list[float], floor: float = SQUARED_RESIDUAL_FLOOR) -> int:
    """Number of steps before the relative loss falls below a floor."""
    return next((k - 1 for k, loss in enumerate(losses) if loss < floor), len(losses) - 1)


def decay_rate(losses: list[float]) -> float:
    """Geometric mean of the factor by which the relative loss shrinks a step."""
    k = resolved_steps(losses)
    return losses[k] ** (1 / k) if k > 0 else 0.0


def rate_errors(measured: list[float], predicted: list[float]) -> list[float]:
    """Relative errors of the logarithm of the decay, step by step, as far as arithmetic resolves both curves."""
    k = min(resolved_steps(measured), resolved_steps(predicted))
    logs = [[math.log(b / a) for a, b in pairwise(losses[: k + 1])] for losses in (measured, predicted)]
    return [abs(found / expected - 1) for found, expected in zip(*logs, strict=True)]


def rate_error(measured: list[float], predicted: list[float]) -> float:
    """Relative error of the logarithm of the decay over the steps that arithmetic resolves in both curves."""
    k = min(resolved_steps(measured), resolved_steps(predicted))
    return abs(math.log(measured[k]) / math.log(predicted[k]) - 1) if k > 0 else math.inf
