"""What is drawn and listed of streams besides the claims."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ntkgap.practice.continual import AccuracyMatrix
from ntkgap.practice.continual.conventions import CONVENTIONS
from ntkgap.studies.continual.saved import saved_figure, saved_table
from ntkgap.studies.figures import CurveFigure, Matrix, MatrixFigure, StudyFigure, Table, WidthFigure
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import median_interval
from ntkgap.studies.verdict import Verdict, number

KERNELS = {
    "infinite": "theory: infinite width",
    "initial": "theory: kernel at the start",
    "task_start": "theory: kernel at each task's start",
}
PREDICTED_BY = {"infinite": "infinite width", "initial": "K(θ₀)", "task_start": "K at each task's start"}
METHODS = {
    "ogd": "orthogonal gradients",
    "ogd_label": "orthogonal gradients of labels",
    "ewc": "elastic weights",
    "replay": "replay",
}
FORGETTING = "forgetting (max − last)"


def figures() -> list[StudyFigure]:
    """What width saves over training time; forgetting over width and time, R, its predictions, and more."""
    return [
        saved_figure(),
        *_forgetting(),
        _over_time(),
        _matrices(),
        _gaps(),
        _drops(),
        _kernel(),
        _overlap(),
        _methods(),
    ]


def _forgetting() -> list[StudyFigure]:
    return [
        WidthFigure(
            key=f"forgetting_{when}",
            title=f"Forgetting after {word} training: predicted and observed",
            caption=f"After the {most} steps a task. Each network's prediction starts from its own function "
            "and is stopped after the same number of steps.",
            y_label=FORGETTING,
            measured=f"forgetting_{when}",
            references=tuple((f"forgetting_{name}_{when}", label) for name, label in KERNELS.items()),
            measured_label="observed",
            log_y=False,
        )
        for when, word, most in (("short", "brief", "fewest"), ("long", "long", "most"))
    ]


def _over_time() -> StudyFigure:
    return CurveFigure(
        key="forgetting_over_time",
        title="Forgetting grows with the time a task is trained for",
        caption="Every training budget is a training of its own. Dashed: predicted by the kernel at the start, of "
        "the same network; dotted: by infinite width.",
        x_label="steps a task",
        y_label=FORGETTING,
        measured="forgetting",
        predicted="forgetting_initial",
        predicted_label="theory: kernel at the start",
        limit="forgetting_infinite",
        log_y=False,
        x="stops",
    )


def _matrices() -> StudyFigure:
    return MatrixFigure(
        key="scores",
        title="What is left of every task after every task: predicted and observed",
        caption="Accuracies in per cent after the longest training, means over seeds; a row is a time, a column a "
        "task. What stands right of the diagonal is tested before it was learned.",
        x_label="tested on task",
        y_label="after task",
        matrices=(
            Matrix("infinite width", "scores_infinite_long", predicted=True),
            Matrix("K(θ₀), width {width}", "scores_initial_long", predicted=True),
            Matrix("observed, width {width}", "scores_long"),
            Matrix("observed, width {width}", "scores_long", widest=False),
            Matrix("K(θ₀), width {width}", "scores_initial_long", widest=False, predicted=True),
        ),
    )


def _gaps() -> StudyFigure:
    return WidthFigure(
        key="gaps_long",
        title="How far predictions are off after long training, and where it comes from",
        caption="Mean distance of predicted and observed accuracies. Within a task: every task is predicted from "
        "the function that the network has when it begins, so that errors of earlier tasks do not count. The "
        "linearized model does what the kernel at the start says, but for single precision.",
        y_label="mean |R predicted − R observed|",
        measured="gap_initial_long",
        references=(
            ("gap_infinite_long", KERNELS["infinite"]),
            ("gap_task_start_long", KERNELS["task_start"]),
            ("gap_within_task_long", "within a task alone"),
            ("gap_twin", "K(θ₀) of the linearized model: a control"),
        ),
        measured_label=KERNELS["initial"],
        log_y=False,
    )


def _drops() -> StudyFigure:
    return WidthFigure(
        key="drops_long",
        title="How much less wide networks forget than narrow ones, and why: long training",
        caption="Compared with the narrowest width that learns the tasks, or, where none narrower does, with the "
        "narrowest of all, and then not told apart. The whole difference, and its two "
        "parts: what comes from one having been trained to a lower loss, and what is left at the same loss.",
        y_label="forgetting, narrow − this width",
        measured="drop_total_long",
        references=(
            ("drop_training_long", "as it was trained less, or more"),
            ("drop_matched_long", "at the same training loss"),
        ),
        measured_label="whole difference",
        log_y=False,
    )


def _kernel() -> StudyFigure:
    return CurveFigure(
        key="kernel_change",
        title="How far the kernel moves while a task is learned",
        caption="Largest change over the tasks, on test inputs of all of them.",
        x_label="steps a task",
        y_label="‖K_t − K_{t−1}‖ / ‖K_{t−1}‖",
        measured="kernel_change",
        x="stops",
    )


def _overlap() -> StudyFigure:
    return WidthFigure(
        key="overlap",
        title="How far tasks share features, as the kernel sees it",
        caption="‖K_st‖ / √(‖K_ss‖ ‖K_tt‖) of training sets, mean over pairs of tasks (Doan et al. 2021): 0 where "
        "learning one task leaves the other alone, 1 where both are the same.",
        y_label="overlap of two tasks",
        measured="overlap_initial",
        references=(("overlap_infinite", KERNELS["infinite"]),),
        measured_label="K(θ₀)",
        log_y=False,
    )


def _methods() -> StudyFigure:
    return WidthFigure(
        key="methods",
        title="What helps against forgetting, over width",
        caption="After the most steps a task.",
        y_label=FORGETTING,
        measured="plain_forgetting",
        references=tuple((f"{name}_forgetting", label) for name, label in METHODS.items()),
        measured_label="plain training",
        log_y=False,
    )


def tables(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """Forgetting predicted and observed at every width; accuracies at the smallest and the largest.

    Args:
        cells: those that are done, by problem.
        verdicts: of all claims; not needed.
    """
    found = []
    for i, (problem, of_problem) in enumerate(cells.items()):
        found += [*saved_table(i, problem, of_problem), _predicted(i, problem, of_problem)]
        widths = sorted({c.width for c in of_problem})
        rows = [row for width in {widths[0]: 0, widths[-1]: 0} for row in _rows(of_problem, width)]
        found.append(
            Table(
                key=f"accuracies_{i}",
                title=f"Accuracies: {problem}",
                caption="In per cent, medians over seeds with intervals. Learned: accuracy on a task's test set "
                "right after it was learned, mean over tasks. In the end: after the last task. On training "
                "examples: score on a task's training set right after it was learned.",
                columns=("", "learned", "in the end", FORGETTING, "on training examples"),
                rows=tuple(rows),
            )
        )
        found.append(_by_convention(i, problem, of_problem))
    return found


def _predicted(i: int, problem: str, cells: Sequence[Measured]) -> Table:
    """What is forgotten at every width, beside what every kernel says will be."""
    columns = {
        name: label for name, label in _predicted_columns().items() if any(name in c.scalars for c in cells)
    }
    by_width = {
        width: [c.scalars for c in cells if c.width == width] for width in sorted({c.width for c in cells})
    }
    rows = [
        (f"width {width}", *(_entry([s.get(name, math.nan) for s in scalars]) for name in columns))
        for width, scalars in by_width.items()
    ]
    return Table(
        key=f"predicted_{i}",
        title=f"Forgetting predicted and observed, width by width: {problem}",
        caption="In per cent, medians over seeds with intervals; brief is the fewest steps a task, long the most. "
        "Each network's prediction starts from its own function and is stopped after the same steps, or never: "
        "without end. ∞ stands where training diverged, or where the kernel says that it diverges.",
        columns=("", *columns.values()),
        rows=tuple(rows),
    )


def _predicted_columns() -> dict[str, str]:
    """Headings by the name of the number below."""
    found = {}
    for when, word in (("short", "brief"), ("long", "long")):
        found[f"forgetting_{when}"] = f"{word}: observed"
        found |= {f"forgetting_{name}_{when}": f"{word}: by {label}" for name, label in PREDICTED_BY.items()}
    without_end = ("infinite", "initial")
    return found | {
        f"forgetting_{name}_converged": f"without end: by {PREDICTED_BY[name]}" for name in without_end
    }


def _by_convention(i: int, problem: str, cells: Sequence[Measured]) -> Table:
    """What "forgetting" is by every published definition, at the smallest and the largest width."""
    widths = sorted({c.width for c in cells})
    chosen = list({widths[0]: 0, widths[-1]: 0})
    rows = [(name, *(_entry(_forgotten(cells, width, name)) for width in chosen)) for name in CONVENTIONS]
    return Table(
        key=f"conventions_{i}",
        title=f"Forgetting by every convention: {problem}",
        caption="In per cent, after the longest training, medians over seeds with intervals. Numbers of papers "
        "compare with the row of their convention alone; everywhere else on this page it is max_minus_last.",
        columns=("", *(f"width {width}" for width in chosen)),
        rows=tuple(rows),
    )


def _forgotten(cells: Sequence[Measured], width: int, convention: str) -> list[float]:
    """Of every seed's R after the longest training; NaN where it diverged."""
    found = []
    for cell in cells:
        if cell.width == width:
            scores = np.array(cell.curves["scores_long"])
            tasks = math.isqrt(len(scores))
            finite = np.isfinite(scores).all()
            matrix = AccuracyMatrix(scores.reshape(tasks, tasks), kind="explained_variance") if finite else None
            found.append(math.nan if matrix is None else matrix.forgetting(convention))
    return found


def _rows(cells: Sequence[Measured], width: int) -> list[tuple[str, ...]]:
    of_width = [c for c in cells if c.width == width]
    names = ("learning", "average", "forgetting", "train_score")
    stops = of_width[0].curves["stops"]
    rows = [
        (
            f"width {width}, {_after(of_width[0], stop)}",
            *(_entry([c.curves[name][i] for c in of_width]) for name in names),
        )
        for i, stop in enumerate(stops)
    ]
    for method, label in METHODS.items():
        if all(f"{method}_forgetting" in c.scalars for c in of_width):
            numbers = [[c.scalars[f"{method}_{name}"] for c in of_width] for name in names[:3]]
            rows.append((f"width {width}, {_after(of_width[0], stops[-1])}, {label}", *map(_entry, numbers), "–"))
    if all("joint_accuracy" in c.scalars for c in of_width):
        joint = _entry([c.scalars["joint_accuracy"] for c in of_width])
        rows.append((f"width {width}, all tasks at once", "–", joint, "–", "–"))
    for name, label in (("infinite", "infinite width"), ("initial", "K(θ₀)")):
        if all(f"forgetting_{name}_converged" in c.scalars for c in of_width):
            numbers = [[c.scalars[f"{key}_{name}_converged"] for c in of_width] for key in names[:3]]
            rows.append((f"width {width}, without end, as {label} predicts", *map(_entry, numbers), "–"))
    return rows


def _after(cell: Measured, stop: float) -> str:
    """A training budget in words."""
    own_function = (cell.cell.get("train") or {}).get("fit")
    return "own training" if own_function else f"{stop:g} steps a task"


def _entry(values: Sequence[float]) -> str:
    """Median and interval, in per cent."""
    if any(map(math.isnan, values)):
        return "–"
    interval = median_interval([100 * v for v in values])
    texts = [
        number(round(v, 1)) if math.isfinite(v) else number(v)
        for v in (interval.value, interval.low, interval.high)
    ]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} [{texts[1]}, {texts[2]}]"
