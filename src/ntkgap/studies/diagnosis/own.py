"""The diagnosis of one's own network on one's own data, as a study."""

from collections.abc import Sequence
from typing import Any

from ntkgap.data.arrays import own_names, read_examples
from ntkgap.data.own import is_own
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
    target: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    preset: str = "quick",
) -> DiagnosisStudy:
    """The study that diagnoses one network, checked: its data, its start, and an update of its training.

    Args:
        model: as of ``BaseStudy.preset``.
        data: as of ``BaseStudy.preset``.
        widths: those of the preset if not given.
        seeds: which, or how many; those of the preset if not given.
        train: as of ``BaseStudy.preset``; the preset's training if not given.
        target: name of the column of targets of a table.
        n_train: training examples; of one's own data three quarters if not given, and no more than 800.
        n_test: test examples; of one's own data a quarter if not given, and no more than 256.
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
    )
    study.check()
    return study
