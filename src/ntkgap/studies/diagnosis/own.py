"""The diagnosis of one's own network on one's own data, as a study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ntkgap.data.arrays import own_names, read_examples
from ntkgap.data.own import is_own
from ntkgap.errors import StudyError
from ntkgap.studies import given_data
from ntkgap.studies.diagnosis.study import DiagnosisStudy

# Where nobody says how many: a quarter for testing, and no more than these.
MOST_TRAIN, MOST_TEST = 800, 256


def diagnosis_of(
    model: Any,
    data: Any = None,
    *,
    widths: int | Sequence[int] | None = None,
    seeds: int | Sequence[int] | None = None,
    train: Any = None,
    tasks: Any = None,
    target: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    device: str | None = None,
    preset: str = "quick",
) -> DiagnosisStudy:
    """The study that diagnoses one network, checked: its data, its start, and an update of its training.

    Args:
        model: as of ``BaseStudy.preset``.
        data: as of ``BaseStudy.preset``.
        widths: those of the preset if not given.
        seeds: which, or how many; those of the preset if not given.
        train: as of ``BaseStudy.preset``; the preset's training if not given.
        tasks: data of tasks that are learned one after the other: a list with one entry a task, each a file or
            examples as ``data`` takes them, or names of files in one text; of each three quarters are for
            training, and no more than 800.
        target: name of the column of targets of a table.
        n_train: training examples; of one's own data three quarters if not given, and no more than 800.
        n_test: test examples; of one's own data a quarter if not given, and no more than 256.
        device: where cells are computed, as of ``BaseStudy.preset``.
        preset: of the study.

    Raises:
        NtkgapError: saying what does not fit.
    """
    if is_own(data) or (isinstance(data, str) and len(own_names(data)) == 1):
        rows = len(read_examples(data, target).x)
        if n_test is None:
            n_test = max(1, min(MOST_TEST, rows // 4 if n_train is None else rows - n_train))
        if n_train is None:
            n_train = max(1, min(MOST_TRAIN, rows - n_test))
    study = DiagnosisStudy.preset(
        preset,
        model=model,
        data=data,
        widths=widths,
        seeds=seeds,
        train=train,
        target=target,
        n_train=n_train,
        n_test=n_test,
        device=device,
    )
    if tasks is not None:
        given = _data_of(tasks, target)
        problems = [p | {"tasks": given} for p in study.configuration()["problems"]]
        with_tasks = DiagnosisStudy.build(study.configuration() | {"problems": problems}, "tasks=")
        study = with_tasks.model_copy(update={"device": study.device})
    study.check()
    return study


def _data_of(tasks: Any, target: str | None) -> dict[str, Any]:
    """Settings of a ``DataSpec`` of all tasks.

    Raises:
        NtkgapError: if they are no tasks.
    """
    each = own_names(str(tasks)) if isinstance(tasks, str | Path) else tasks
    if not isinstance(each, list | tuple) or len(each) < 2:
        raise StudyError(
            "tasks= takes at least two tasks, a list with a file or a pair (x, y) for each, or "
            f"'a.npz:x,y,b.npz:x,y'; got {len(each) if isinstance(each, list | tuple) else type(each).__name__}"
        )
    rows = min(len(read_examples(one, target).x) for one in each)
    n_test = max(1, min(MOST_TEST, rows // 4))
    found: dict[str, Any] = {"n_train": max(1, min(MOST_TRAIN, rows - n_test)), "n_test": n_test}
    files = [isinstance(one, str | Path) for one in each]
    if all(files):
        options = {} if target is None else {"target": target}
        return found | {"name": ",".join(map(str, each)), "options": options}
    if any(files):
        raise StudyError("tasks= takes files alone, or examples alone, not both")
    keys = [given_data.remember(one, target) for one in each]
    return found | {"name": given_data.GIVEN, "fingerprint": ",".join(keys)}
