"""One cell of the optimization study: one network of one width from one seed, predicted and measured."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import DataError, KernelError, ModelError
from ntkgap.kernels import (
    Jacobian,
    as_matrix,
    infinite_width,
    jacobian,
    kernel_distance,
    relative_change,
    spectrum,
    target_alignment,
)
from ntkgap.practice import TrainingCurve, jacobian_change, natural_gradient_descent, train
from ntkgap.studies.optimization.study import OptimizationProblem
from ntkgap.theory import (
    STABILITY_LIMIT,
    KernelDynamics,
    critical_learning_rate,
    guaranteed_decay,
    largest_learning_rate,
    stability_constant,
    theorem_radius,
)

# Below this part of its start the squared residual is rounding error, and its decay says nothing.
SQUARED_RESIDUAL_FLOOR = 1e-24

# Gradient descent is followed down to this part of the squared residual: further on, units that end up on the
# kink of a ReLU are switched by rounding errors, and with them the kernel.
KERNEL_FLOOR = 1e-12


@dataclass
class Start:
    """The network at initialisation and the kernel there, shared by all measurements of a cell."""

    network: nn.Module
    train: Dataset
    test: Dataset
    at: Jacobian
    gram: Tensor  # [nC, nC]
    lambda_min: float  # NaN where it is below the noise floor
    dynamics: KernelDynamics
    limit_dynamics: KernelDynamics | None  # of the infinite-width kernel, where there is one

    @property
    def residual_norm(self) -> float:
        """‖f(θ₀) − y‖₂ on the training set."""
        return (self.at.outputs - self.train.y).norm().item()


@dataclass
class Findings:
    """What a cell yields, gathered measurement by measurement."""

    scalars: dict[str, float | int | bool | None] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    diverged: bool = False

    def add_stop(self, what: str, curve: TrainingCurve) -> None:
        """Note why a training ended early, if it did."""
        if curve.stopped:
            self.notes.append(f"{what}: {curve.stopped}")
            self.diverged |= "diverged" in curve.stopped


def compute(cell: dict[str, Any]) -> dict[str, Any]:
    """Measure one cell; the same configuration always gives the same numbers.

    Args:
        cell: configuration made by ``OptimizationStudy.cells``.

    Returns:
        ``scalars``, ``curves``, ``notes`` and ``diverged``. A scalar is NaN where it could not be decided
        and infinite where training diverged. Losses are relative to the initial one.
    """
    width, seed = cell["width"], cell["seed"]
    settings = {k: v for k, v in cell.items() if k not in ("problem", "width", "seed")}
    problem = OptimizationProblem(name=cell["problem"], widths=[width], **settings)
    findings = Findings()
    start = initialise(problem, width, seed, findings)
    follow_natural_gradient(problem, start, findings)
    follow_gradient_descent(problem, start, findings)
    return {
        "scalars": findings.scalars,
        "curves": findings.curves,
        "notes": findings.notes,
        "diverged": findings.diverged,
    }


def initialise(problem: OptimizationProblem, width: int, seed: int, findings: Findings) -> Start:
    """Draw data and network, and describe the kernel at initialisation."""
    train_data, test_data = (d.to(torch.float64) for d in problem.data.load(seed))
    # One stream a (seed, width): networks of different widths are independent draws.
    stream = int(np.random.SeedSequence([seed, width]).generate_state(1)[0])
    network = problem.model.build(train_data, width, torch.Generator().manual_seed(stream)).double()
    at = jacobian(network, train_data.x)
    gram = as_matrix(at.gram())
    found = spectrum(gram)
    n_parameters = sum(p.numel() for p in network.parameters())
    if found.positive_definite:
        margin = found.lambda_min / found.noise_floor
    else:
        # Fewer parameters than rows make K singular for certain; otherwise arithmetic cannot tell.
        margin = 0.0 if n_parameters < len(gram) else math.nan
        findings.notes.append(f"λ_min = {found.lambda_min:.2e} is below the noise floor {found.noise_floor:.2e}")
    residual = at.outputs - train_data.y
    limit = infinite_width_gram(network, train_data, findings)
    start = Start(
        network,
        train_data,
        test_data,
        at,
        gram,
        found.lambda_min if found.positive_definite else math.nan,
        KernelDynamics(gram, residual),
        None if limit is None else KernelDynamics(limit, residual),
    )
    findings.scalars |= {
        "n_parameters": n_parameters,
        "gram_rows": len(gram),
        "lambda_min": found.lambda_min,
        "lambda_max": found.lambda_max,
        "noise_floor": found.noise_floor,
        "gram_margin": margin,
        "condition_number": found.condition_number,
        "effective_rank": found.effective_rank,
        "target_alignment": target_alignment(gram, train_data.y),
        "initial_residual": start.residual_norm,
    }
    findings.scalars |= compare_with_limit(gram, limit)
    return start


def infinite_width_gram(network: nn.Module, data: Dataset, findings: Findings) -> Tensor | None:
    """Gram matrix of the infinitely wide network, Θ ⊗ I over outputs, [nC, nC]; None where no limit is known."""
    try:
        ntk = infinite_width(network).ntk(data.x)
    except (KernelError, ModelError) as error:
        findings.notes.append(f"no infinite-width kernel: {error}")
        return None
    return torch.kron(ntk, torch.eye(data.y.shape[1], dtype=ntk.dtype))


def compare_with_limit(gram: Tensor, limit: Tensor | None) -> dict[str, float]:
    """Extreme eigenvalues at infinite width, and how far the kernel at initialisation is from it."""
    if limit is None:
        return dict.fromkeys(("limit_lambda_min", "limit_condition_number", "limit_distance"), math.nan)
    found = spectrum(limit)
    return {
        "limit_lambda_min": found.lambda_min if found.positive_definite else math.nan,
        "limit_condition_number": found.condition_number,
        "limit_distance": relative_change(gram, limit) if gram.any() and limit.any() else math.nan,
    }


def follow_natural_gradient(problem: OptimizationProblem, start: Start, findings: Findings) -> None:
    """Run exact natural gradient descent; measure its rate and the Jacobian's drift along the path."""
    settings = problem.natural_gradient
    network = copy.deepcopy(start.network)
    drift: list[float] = []
    moved: list[float] = []

    def observe(step: int, at: Jacobian, gram: Tensor) -> None:
        drift.append(jacobian_change(gram, as_matrix(at.gram(start.at)), start.gram) if step else 0.0)
        moved.append(distance(network, start.network))

    curve = natural_gradient_descent(network, start.train, observe=observe, **settings.model_dump())
    findings.add_stop("natural gradient", curve)

    steps = torch.arange(settings.steps + 1)
    decay = start.dynamics.natural_gradient_decay(settings.learning_rate, steps, settings.damping)
    measured, predicted = relative(curve.losses), relative(start.dynamics.losses(decay).tolist())
    c_prime = [stability_constant(change, start.lambda_min) for change in drift]
    largest = max(c_prime, default=math.nan)
    radius = theorem_radius(start.residual_norm, start.lambda_min)
    guaranteed = guaranteed_decay(settings.learning_rate)
    finished = curve.stopped is None
    # Undamped steps on a Gram matrix that may be singular: the theory has not promised anything there.
    broken = math.nan if math.isnan(start.lambda_min) else math.inf
    findings.curves |= {"ngd_loss": measured, "ngd_loss_predicted": predicted, "ngd_c_prime": c_prime}
    findings.scalars |= {
        # A path that ended early can still refute the condition, not speak for it.
        "c_prime": largest if finished or largest >= STABILITY_LIMIT else math.nan,
        "c_prime_end": c_prime[-1] if finished else math.nan,
        "theorem_learning_rate": largest_learning_rate(largest),
        "theorem_radius": radius,
        "ngd_learning_rate": settings.learning_rate,
        "ngd_distance": moved[-1] if finished else math.nan,
        "ngd_path_in_ball": max(moved) <= radius if moved and not math.isnan(radius) else None,
        "ngd_decay": decay_rate(measured) if finished else broken,
        "ngd_decay_guaranteed": guaranteed,
        "ngd_decay_predicted": decay_rate(predicted),
        "ngd_rate_error": rate_error(measured, predicted) if finished else broken,
        "ngd_guarantee_kept": finished
        and all(loss <= guaranteed**k * (1 + 1e-9) + SQUARED_RESIDUAL_FLOOR for k, loss in enumerate(measured)),
    }


def follow_gradient_descent(problem: OptimizationProblem, start: Start, findings: Findings) -> None:
    """Run gradient descent; compare losses, kernel and test outputs with the constant kernel at the same step."""
    settings = problem.gradient_descent
    learning_rate = settings.fraction_of_critical * critical_learning_rate(start.gram)
    test_at = jacobian(start.network, start.test.x)
    cross_gram = as_matrix(test_at.gram(start.at))
    decay = start.dynamics.gradient_descent_decay(learning_rate, torch.arange(settings.steps + 1))
    predicted = relative(start.dynamics.losses(decay).tolist())
    steps = resolved_steps(predicted, KERNEL_FLOOR)
    predicted, decay = predicted[: steps + 1], decay[: steps + 1]
    predicted_outputs = start.dynamics.predictions(decay[-1:], cross_gram, test_at.outputs)[0]

    network = copy.deepcopy(start.network)
    curve = train(network, start.train, learning_rate=learning_rate, steps=steps)
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
        findings.scalars |= missing | {"gd_distance": math.inf}
        return
    final_gram = as_matrix(jacobian(network, start.train.x).gram())
    with torch.no_grad():
        outputs = network(start.test.x)
    findings.scalars |= {
        "gd_loss_end": measured[-1],
        "gd_discrepancy": max(abs(math.sqrt(a) - math.sqrt(b)) for a, b in zip(measured, predicted, strict=True)),
        "gd_distance": distance(network, start.network),
        "kernel_change": relative_change(final_gram, start.gram),
        "kernel_distance": kernel_distance(final_gram, start.gram),
        "linearization_error": (
            (outputs - predicted_outputs).norm() / (predicted_outputs - test_at.outputs).norm()
        ).item(),
    }


def relative(losses: list[float]) -> list[float]:
    """Losses as parts of the initial one.

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


def rate_error(measured: list[float], predicted: list[float]) -> float:
    """Relative error of the logarithm of the decay over the steps that arithmetic resolves in both curves."""
    k = min(resolved_steps(measured), resolved_steps(predicted))
    return abs(math.log(measured[k]) / math.log(predicted[k]) - 1) if k > 0 else math.inf


def distance(network: nn.Module, initial: nn.Module) -> float:
    """‖θ − θ₀‖₂."""
    pairs = zip(network.parameters(), initial.parameters(), strict=True)
    return math.sqrt(sum((p - q).detach().square().sum().item() for p, q in pairs))
