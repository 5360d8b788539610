"""From scores of tasks to the numbers of a cell."""

import math

import torch
from torch import Tensor

from ntkgap.data import Dataset
from ntkgap.practice.continual import AccuracyMatrix, TaskRuns
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.prediction import PredictedScores
from ntkgap.studies.continual.task_start import TaskStart
from ntkgap.studies.findings import Findings

CONVENTION = "max_minus_last"

# Scores are multiples of 1/n and their means differ by far more than this, or by rounding alone.
DECIMALS = 12

# Of the means that scores are.
ROUNDING = 1e-9
# A training score that is no further above that of the most frequent class counts as nothing learned.
GUESSED = 0.02


def record_stop(learner: Learner, stop: int, runs: TaskRuns, seen: TaskStart, findings: Findings) -> None:
    """Append to the curves over training budgets what plain training of one training budget has shown."""
    scores, diverged = runs.scores[0], bool(runs.diverged[0])
    if diverged:
        findings.add_divergence(f"training for {stop} steps a task diverged after {int(runs.steps.sum())}")
    _append(findings, summary("", scores, diverged))
    targets = sum(0.5 * float(task.train.y.square().sum()) for task in learner.stream.tasks)
    change, change_total = seen.changes()
    _append(
        findings,
        {
            "train_score": math.nan if diverged else float(runs.train_scores[0].diagonal().mean()),
            "start_loss": float(runs.initial_losses[0].sum()) / targets,
            "train_loss": math.inf if diverged else float(runs.train_losses[0].sum()) / targets,
            "train_forgetting": _forgetting(runs.train_scores[0], diverged),
            "kernel_change": math.inf if diverged else change,
            "kernel_change_total": math.inf if diverged else change_total,
            "moved": float(runs.distance[0, -1]),
        },
    )
    findings.curves[f"scores_{len(findings.curves['forgetting']) - 1}"] = scores.flatten().tolist()
    if seen.test and not diverged:
        place = len(findings.curves["forgetting"]) - 1
        _compare("task_start", torch.stack(seen.test), scores, findings)
        _append(findings, {"gap_within_task": score_gap(torch.stack(seen.within), scores)})
        findings.curves[f"scores_task_start_{place}"] = torch.stack(seen.test).flatten().tolist()
    elif "task_start" in learner.kernels:
        _append(findings, dict.fromkeys((*_names("task_start"), "gap_within_task"), math.inf))


def note_nothing_learned(learner: Learner, findings: Findings) -> None:
    """Remark a longest training after which no task is known better than its most frequent class would score.

    What such networks forget says nothing. A regression that predicts the mean scores 0.
    """
    tasks = [task.train for task in learner.stream.tasks]
    guess = sum(0.0 if data.n_classes is None else _most_frequent(data) for data in tasks) / len(tasks)
    score = findings.curves["train_score"][-1]
    if score <= guess + GUESSED:
        findings.notes.append(
            f"nothing was learned: after {learner.plan.stops[-1]} steps a task training sets score {score:.2f}, "
            f"and their most frequent class alone {guess:.2f}; try another learning rate or more steps"
        )


def _most_frequent(data: Dataset) -> float:
    """The fraction of the most frequent class."""
    classes = data.y.argmax(dim=1) if data.y.shape[1] > 1 else (data.y[:, 0] > 0).long()
    return float(classes.bincount().max()) / len(classes)


def record_accuracy(accuracy: float, runs: TaskRuns, findings: Findings) -> None:
    """Append to curves over training scores what was forgotten when every task was left at such a score.

    NaN where a task did not get there.
    """
    own = runs.train_scores[0].diagonal()
    reached = bool((own >= accuracy - ROUNDING).all())  # NaN where training diverged
    scores = {
        "scores_wanted": accuracy,
        "forgetting_at_score": _forgetting(runs.scores[0], bool(runs.diverged[0])) if reached else math.nan,
        "train_score_at_score": float(own.mean()),
        "steps_to_score": float(runs.steps[0].double().mean()) if reached else math.nan,
    }
    for name, value in scores.items():
        findings.curves.setdefault(name, []).append(value)


def record_prediction(name: str, prediction: PredictedScores, findings: Findings) -> None:
    """Compare what a kernel predicted with what was recorded at every training budget.

    Args:
        name: of the kernel.
        prediction: for all training budgets, and without end; of the overlap of tasks the mean over pairs is
            noted.
        findings: with what was observed.
    """
    size = prediction.test.shape[-1]
    for i, predicted in enumerate(prediction.test[:-1]):
        observed = torch.tensor(findings.curves[f"scores_{i}"], dtype=torch.float64).reshape(size, size)
        _compare(name, predicted, observed, findings)
        findings.curves[f"scores_{name}_{i}"] = predicted.flatten().tolist()
    findings.scalars |= {
        f"{key}_{name}_converged": value for key, value in summary("", prediction.test[-1], False).items()
    }
    pairs = ~torch.eye(size, dtype=torch.bool)
    findings.scalars[f"overlap_{name}"] = float(prediction.overlap[pairs].mean())


def record_linearized(runs: TaskRuns, findings: Findings) -> None:
    """Compare what the linearized model has come to with what the kernel at the start predicted for it.

    Args:
        runs: of the linearized model alone, for the largest training budget.
        findings: with that prediction.
    """
    scores, last = runs.scores[0], len(findings.curves["forgetting"]) - 1
    predicted = torch.tensor(findings.curves[f"scores_initial_{last}"], dtype=torch.float64).reshape(scores.shape)
    findings.scalars["gap_twin"] = score_gap(predicted, scores)
    findings.scalars["forgetting_twin"] = _forgetting(scores, bool(runs.diverged[0]))
    if runs.diverged[0]:
        findings.add_divergence("the linearized model diverged")


def record_method(name: str, runs: TaskRuns, stored: Tensor | None, findings: Findings) -> None:
    """Note what a method against forgetting has come to.

    Args:
        name: of the method.
        runs: of one network.
        stored: scores on stored examples after every task, [T, T], where these are promised to be kept.
        findings: of the cell.
    """
    diverged = bool(runs.diverged[0])
    scores = runs.scores[0]
    if diverged:
        findings.add_divergence(f"{name} diverged")
    if name == "joint":
        findings.scalars["joint_accuracy"] = math.nan if diverged else float(scores[-1].mean())
        return
    findings.scalars |= summary(f"{name}_", scores, diverged)
    findings.scalars[f"{name}_train_forgetting"] = _forgetting(runs.train_scores[0], diverged)
    if stored is not None:
        findings.scalars[f"{name}_stored_forgetting"] = _forgetting(stored, diverged)


def ends(findings: Findings) -> None:
    """Name what was found with the smallest and the largest training budget; a single one is the last."""
    last = len(findings.curves["forgetting"]) - 1
    places = ({0: "short"} if last else {}) | {last: "long"}
    for name, curve in list(findings.curves.items()):
        stem, _, place = name.rpartition("_")
        if not place.isdigit():
            findings.scalars |= {f"{name}_{when}": curve[i] for i, when in places.items()}
        elif int(place) in places:
            findings.curves[f"{stem}_{places[int(place)]}"] = curve


def summary(prefix: str, scores: Tensor, diverged: bool) -> dict[str, float]:
    """Forgetting, average and learning accuracy of R, [T, T]."""
    if diverged or not torch.isfinite(scores).all():
        return {f"{prefix}forgetting": math.inf, f"{prefix}average": math.nan, f"{prefix}learning": math.nan}
    # Of regressions too, whose scores may be negative.
    matrix = AccuracyMatrix(scores.double().numpy(), kind="explained_variance")
    return {
        f"{prefix}forgetting": matrix.forgetting(CONVENTION),
        f"{prefix}average": matrix.average_accuracy,
        f"{prefix}learning": matrix.learning_accuracy,
    }


def _forgetting(scores: Tensor, diverged: bool) -> float:
    return summary("", scores, diverged)["forgetting"]


def _names(kernel: str) -> tuple[str, str, str]:
    return f"forgetting_{kernel}", f"gap_{kernel}", f"forgetting_gap_{kernel}"


def _compare(kernel: str, predicted: Tensor, observed: Tensor, findings: Findings) -> None:
    """Forgetting as predicted; the mean distance of the two R; the distance of both forgettings."""
    if not (torch.isfinite(observed).all() and torch.isfinite(predicted).all()):
        values = (_forgetting(predicted, False), math.inf, math.inf)
    else:
        expected, seen = _forgetting(predicted, False), _forgetting(observed, False)
        values = (expected, score_gap(predicted, observed), round(abs(expected - seen), DECIMALS))
    _append(findings, dict(zip(_names(kernel), values, strict=True)))


def score_gap(predicted: Tensor, observed: Tensor) -> float:
    """Mean |R predicted − R observed| over tasks s ≤ t; infinite where one of them is not finite."""
    learned = torch.ones_like(observed, dtype=torch.bool).tril()
    gap = round(float((predicted - observed)[learned].abs().mean()), DECIMALS)
    return gap if math.isfinite(gap) else math.inf


def _append(findings: Findings, values: dict[str, float]) -> None:
    for name, value in values.items():
        findings.curves.setdefault(name, []).append(value)
