"""One cell of a diagnosis: a network before and after its training, beside its linearized model."""

import copy
import math
from dataclasses import replace

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ntkgap.errors import KernelError, ModelError, NtkgapError
from ntkgap.kernels import infinite_width, jacobian, kernel_distance, relative_change, target_alignment
from ntkgap.linalg import as_matrix
from ntkgap.models.normalization import set_statistics
from ntkgap.practice import TrainingCurve, linearize, train
from ntkgap.practice.monitor.linearization_gap import gap
from ntkgap.practice.monitor.parameter_change import parameter_change
from ntkgap.practice.training.losses import LOSSES, Loss
from ntkgap.practice.training.network_modes import modes_differ
from ntkgap.studies.device import moved
from ntkgap.studies.diagnosis.ensemble import ASKED, compare_uncertainty
from ntkgap.studies.diagnosis.forgetting import measure_forgetting
from ntkgap.studies.diagnosis.pair import Pair
from ntkgap.studies.diagnosis.problem import DiagnosisProblem
from ntkgap.studies.diagnosis.quantities import (
    largest_eigenvalue,
    linearized_at,
    outputs_of,
)
from ntkgap.studies.diagnosis.regression import kernel_of, kernel_predictions
from ntkgap.studies.diagnosis.training_recipe import Recipe, recipe_of
from ntkgap.studies.findings import Findings
from ntkgap.studies.model import notes_on
from ntkgap.studies.uncertainty.ensembles.prediction import Kernel

PREDICTORS = ("network", "twin", "kernel_start", "kernel_end")
RATIOS = {name: f"{name}_test_ratio" for name in PREDICTORS[1:]}

OF_KERNEL = ("kernel_change", "kernel_distance", "alignment_end")
OF_GAP = ("linearization_gap", "linearization_gap_test")
PREDICTED = ("curve_gap", "prediction_gap")

# Kernel regression beside a loss of logits is stopped where this fraction of its squared residual is left.
LEFT = 0.01


def measure(problem: DiagnosisProblem, width: int, seed: int) -> Findings:
    """Train a network and its linearized model in the same way; compare them, and the kernels before and after."""
    findings = Findings()
    train_data, test_data = (moved(data) for data in problem.load(seed))
    # One stream a (seed, width): networks of different widths are independent draws.
    stream = int(np.random.SeedSequence([seed, width]).generate_state(1)[0])
    network = problem.network(train_data, width, Generator().manual_seed(stream))
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    train_data, test_data = train_data.to(dtype), test_data.to(dtype)
    set_statistics(network, train_data.x)
    network.eval()
    findings.notes += notes_on(network)
    recipe = recipe_of(problem, network, train_data.x, train_data.n_outputs)

    trained = copy.deepcopy(network)
    curve = train(trained, train_data, generator=Generator().manual_seed(seed), **recipe.settings)
    findings.add_stop("training", curve)
    trained.eval()
    lost = curve.stopped is not None
    pair = Pair(network, trained, train_data, test_data)
    if not lost:
        recipe = judged(problem, recipe, pair, curve)
    unit = abs(curve.losses[0]) or 1.0
    findings.curves["loss"] = [loss / unit for loss in curve.losses]
    findings.scalars |= {
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "steps": len(curve.losses) - 1,
        "loss_fall": -math.inf if lost else (curve.losses[0] - curve.losses[-1]) / unit,
    }
    watch_stability(recipe, pair, lost, findings)
    compare_kernels(problem, pair, lost, findings)
    compare_outputs(pair, lost, findings)
    linearized, reason = train_linearized(problem, recipe, pair, seed, findings)
    follow_prediction(pair, lost, curve, linearized, reason, findings)
    kernel = None if lost else generalize(recipe, pair, linearized, findings)
    if lost:
        findings.leave_out("training diverged, so that nothing is left to compare with", *RATIOS.values(), *ASKED)
    else:
        compare_uncertainty(problem, recipe, pair, kernel, (width, seed), findings)
    measure_forgetting(problem, width, seed, findings)
    return findings


def judged(problem: DiagnosisProblem, recipe: Recipe, pair: Pair, curve: TrainingCurve) -> Recipe:
    """The recipe with the loss by which a training function is judged, which nobody says that it descends.

    Of classes it is the one of squared loss and cross-entropy that fell by the larger part, unless the user names
    another; the curve, its values before and after, is then of that loss.
    """
    spec = problem.train
    classes = pair.train.n_classes is not None and pair.train.n_outputs > 1
    if spec is None or spec.fit is None or spec.loss != "squared" or not classes:
        return recipe
    loss = LOSSES["cross_entropy"]
    first, last = _loss(loss, pair.start, pair.y), _loss(loss, pair.end, pair.y)
    if first <= 0 or last / first >= curve.losses[-1] / (curve.losses[0] or 1.0):
        return recipe
    curve.losses[:] = [first, last]
    return replace(recipe, loss=loss, squared=False, settings=recipe.settings | {"loss": "cross_entropy"})


def watch_stability(recipe: Recipe, pair: Pair, lost: bool, findings: Findings) -> None:
    """η·κ_max/(2(1 + μ)) at the start and at the end; past 1 the linearized model diverges."""
    if recipe.unknown:
        findings.leave_out(recipe.unknown, "stability", "stability_end")
        return
    first = recipe.kappa_start / recipe.critical_start
    if lost:  # with a step that was stable at the start: the kernel grew, or something else went wrong
        last, largest = math.nan, first if first > 1 else math.nan
    else:
        last = largest_eigenvalue(pair.trained, pair.train.x) / recipe.critical_end
        largest = max(first, last)
    findings.scalars |= {"stability": largest, "stability_start": first, "stability_end": last}


def compare_kernels(problem: DiagnosisProblem, pair: Pair, lost: bool, findings: Findings) -> None:
    """The kernel on a few training examples: at infinite width, at the start, at the end."""
    x, y = pair.x[: problem.probe], pair.y[: problem.probe]
    at = jacobian(pair.before, x)
    gram = as_matrix(at.gram())
    findings.scalars["alignment_start"] = target_alignment(gram, y)
    try:
        ntk = infinite_width(pair.before).ntk(x)
        limit = torch.kron(ntk, torch.eye(y.shape[1], dtype=ntk.dtype, device=ntk.device))
        findings.scalars["limit_distance"] = relative_change(gram, limit) if limit.any() else math.nan
    except (KernelError, ModelError) as error:
        findings.leave_out(f"no infinite-width kernel: {error}", "limit_distance")
    if lost:
        findings.scalars |= dict.fromkeys(OF_KERNEL, math.inf)
        return
    end = as_matrix(jacobian(pair.after, x, recipe=at.recipe).gram())
    findings.scalars |= {
        "kernel_change": relative_change(end, gram),
        # A kernel that has vanished, of a network whose units have all died, has no direction.
        "kernel_distance": kernel_distance(end, gram) if end.any() else math.nan,
        "alignment_end": target_alignment(end, y) if end.any() else math.nan,
    }


def compare_outputs(pair: Pair, lost: bool, findings: Findings) -> None:
    """How far outputs moved, and which fraction of that is not linear in the parameters."""
    if lost:
        findings.scalars |= dict.fromkeys((*OF_GAP, "moved", "parameter_change"), math.inf)
        return
    findings.scalars |= {
        "moved": float((pair.end - pair.start).norm() / (pair.y - pair.start).norm()),
        "parameter_change": parameter_change(pair.network, pair.trained),
    }
    try:
        linear = linearized_at(pair.before, pair.after)
        findings.scalars |= {
            "linearization_gap": gap(pair.end - pair.start, outputs_of(linear, pair.x) - pair.start),
            "linearization_gap_test": gap(
                pair.end_test - pair.start_test, outputs_of(linear, pair.x_test) - pair.start_test
            ),
        }
    except NtkgapError as error:
        findings.leave_out(f"the network cannot be linearized: {error}", *OF_GAP)


def train_linearized(
    problem: DiagnosisProblem, recipe: Recipe, pair: Pair, seed: int, findings: Findings
) -> tuple[tuple[nn.Module, TrainingCurve] | None, str]:
    """The linearized model after the same steps on the same batches, and why there is none or it says nothing."""
    reason = ""
    if modes_differ(pair.network, pair.train.x):
        reason = "what the network does in train mode alone, such as batch statistics, is no part of its kernel"
    try:
        linearized = linearize(pair.network)
        curve = train(linearized, pair.train, generator=Generator().manual_seed(seed), **recipe.settings)
    except NtkgapError as error:
        own = problem.train is not None and problem.train.fit is not None
        cause = "your function does not train the linearized model" if own else "there is no linearized model"
        return None, f"{cause}: {error}"
    if curve.stopped:
        findings.notes.append(f"the linearized model: {curve.stopped}")
    return (linearized.eval(), curve), reason


def follow_prediction(
    pair: Pair,
    lost: bool,
    curve: TrainingCurve,
    linearized: tuple[nn.Module, TrainingCurve] | None,
    reason: str,
    findings: Findings,
) -> None:
    """Training curve and test outputs beside those of the linearized model, at matched training time."""
    if linearized is None or reason:
        findings.leave_out(reason, *PREDICTED)
        return
    model, predicted = linearized
    unit = abs(curve.losses[0]) or 1.0
    findings.curves["loss_predicted"] = [loss / unit for loss in predicted.losses]
    if lost or predicted.stopped:
        findings.scalars |= dict.fromkeys(PREDICTED, math.inf)
        return
    gaps = [abs(seen - said) for seen, said in zip(curve.losses, predicted.losses, strict=True)]
    # The linearized model was trained in the network's own precision, and so both are compared in it.
    said, seen = outputs_of(model, pair.test.x), outputs_of(pair.trained, pair.test.x)
    moved = (said - outputs_of(pair.network, pair.test.x)).norm()
    findings.scalars |= {
        "curve_gap": max(gaps) / unit,
        "prediction_gap": float((seen - said).norm() / moved) if moved > 0 else math.nan,
    }


def generalize(
    recipe: Recipe, pair: Pair, linearized: tuple[nn.Module, TrainingCurve] | None, findings: Findings
) -> Kernel | None:
    """Test loss and score of network, linearized model, and kernel regression with K(θ₀) and K(θ_T).

    Returns:
        K(θ₀) on all examples; None if it takes too many operations.
    """
    y_test = pair.test.y.double()
    predictions = {"network": pair.end_test}
    if linearized is None or linearized[1].stopped:
        findings.leave_out("there is no trained linearized model", RATIOS["twin"])
    else:
        predictions["twin"] = outputs_of(linearized[0], pair.test.x).double()
    left = float((pair.end - pair.y).square().sum() / pair.y.square().sum()) if recipe.squared else LEFT
    train_data, test_data = pair.train.to(torch.float64), pair.test.to(torch.float64)
    kernels: dict[str, Kernel] = {}
    for name, model in (("kernel_start", pair.before), ("kernel_end", pair.after)):
        try:
            kernels[name] = kernel_of(model, train_data, test_data)
            predictions[name] = kernel_predictions(kernels[name], pair.y, left)
        except NtkgapError as error:
            findings.leave_out(str(error), RATIOS[name])
    losses = {name: _loss(recipe.loss, found, y_test) for name, found in predictions.items()}
    for name, found in predictions.items():
        if pair.test.n_classes is not None:
            findings.scalars[f"{name}_test_score"] = _score(found, y_test)
        if name.startswith("kernel") and not recipe.squared:
            reason = "kernel regression descends the squared loss, which is not yours"
            findings.leave_out(reason, RATIOS[name])
            continue
        findings.scalars[f"{name}_test_loss"] = losses[name]
        if name != "network":
            positive = losses[name] > 0 and losses["network"] > 0
            findings.scalars[RATIOS[name]] = losses[name] / losses["network"] if positive else math.nan
    return kernels.get("kernel_start")


def _loss(loss: Loss, outputs: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(loss(outputs, y))


def _score(outputs: Tensor, y: Tensor) -> float:
    """Part of the examples whose class is told: by the largest output, or by the sign of the only one."""
    if y.shape[1] == 1:
        return float(((outputs > 0) == (y > 0)).double().mean())
    return float((outputs.argmax(dim=1) == y.argmax(dim=1)).double().mean())
