"""Forgetting by every convention, on a matrix worked out by hand."""

import numpy as np
import pytest

import ntkgap as ng
from ntkgap.errors import DataError
from ntkgap.practice.continual.conventions import CONVENTIONS
from tests.tolerances import EXACT

# Task 1 is best before it is learned; task 0 recovers at the end above all earlier scores; task 2 is best in
# between, in the row before the last.
SCORES = np.array(
    [
        [0.80, 0.95, 0.10, 0.20],
        [0.50, 0.90, 0.30, 0.25],
        [0.60, 0.40, 0.70, 0.30],
        [0.85, 0.70, 0.50, 0.99],
    ]
)
BY_HAND = {
    "max_minus_last": (-0.05 + 0.25 + 0.20) / 3,
    "max_since_learned_minus_last": (-0.05 + 0.20 + 0.20) / 3,
    "max_with_last_minus_last": (0 + 0.20 + 0.20) / 3,
    "max_minus_last_all": (-0.05 + 0.25 + 0.20) / 4,
    "learned_minus_last": (-0.05 + 0.20 + 0.20) / 3,
    "relative": (-0.05 / 0.80 + 0.20 / 0.90 + 0.20 / 0.70) / 3,
    "learned_minus_later": (0.30 + 0.20 - 0.05 + 0.50 + 0.20 + 0.20) / 6,
    "first_task": -0.05,
    # Rows 0 and 1, tasks 0 and 1 only.
    "continuum_code": (-0.05 + 0.20) / 3,
}


def test_every_convention_is_worked_out():
    assert set(BY_HAND) == set(CONVENTIONS)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_forgetting_equals_that_by_hand(convention):
    assert ng.continual.AccuracyMatrix(SCORES).forgetting(convention) == pytest.approx(
        BY_HAND[convention], abs=EXACT
    )


def test_learned_and_best_scores_differ_where_a_task_improves_later():
    scores = np.array([[0.5, np.nan, np.nan], [0.8, 0.6, np.nan], [0.4, 0.7, 0.9]])
    matrix = ng.continual.AccuracyMatrix(scores)
    assert matrix.forgetting("max_minus_last") == pytest.approx((0.4 - 0.1) / 2, abs=EXACT)
    assert matrix.forgetting("learned_minus_last") == pytest.approx((0.1 - 0.1) / 2, abs=EXACT)
    assert matrix.forgetting("max_with_last_minus_last") == pytest.approx((0.4 + 0) / 2, abs=EXACT)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_missing_zero_shot_scores_change_only_the_maximum_over_all_rows(convention):
    missing = np.where(np.tri(4, dtype=bool), SCORES, np.nan)
    found = ng.continual.AccuracyMatrix(missing).forgetting(convention)
    if convention in ("max_minus_last", "max_minus_last_all"):
        n = 3 if convention == "max_minus_last" else 4
        assert found == pytest.approx((-0.05 + 0.20 + 0.20) / n, abs=EXACT)
    else:
        assert found == pytest.approx(BY_HAND[convention], abs=EXACT)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_weighted_tasks_add_up_and_nothing_is_forgotten_if_nothing_changes(convention):
    matrix = ng.continual.AccuracyMatrix(SCORES)
    weights = CONVENTIONS[convention].weights(4)
    assert np.nansum(weights * matrix.per_task(convention)) == pytest.approx(matrix.forgetting(convention))
    assert ng.continual.AccuracyMatrix(np.full((3, 3), 0.7)).forgetting(convention) == 0
    assert np.isfinite(ng.continual.AccuracyMatrix(SCORES[:2, :2]).forgetting(convention))


def test_summaries_by_hand():
    matrix = ng.continual.AccuracyMatrix(SCORES, joint=[0.9, 0.9, 0.8, 0.8], initial=[0.1, 0.15, 0.1, 0.2])
    assert matrix.average_accuracy == pytest.approx((0.85 + 0.70 + 0.50 + 0.99) / 4)
    assert matrix.learning_accuracy == pytest.approx((0.80 + 0.90 + 0.70 + 0.99) / 4)
    assert matrix.joint_accuracy == pytest.approx(0.85)
    assert matrix.intransigence == pytest.approx(0.85 - (0.80 + 0.90 + 0.70 + 0.99) / 4)
    assert matrix.backward_transfer == pytest.approx((0.05 - 0.20 - 0.20) / 3)
    assert matrix.forward_transfer == pytest.approx((0.80 + 0.20 + 0.10) / 3)
    assert matrix.after(2) == pytest.approx((0.20 + 0.55) / 2)
    assert matrix.after(3) == matrix.forgetting()
    assert list(matrix.table()["forgetting"]) == [matrix.forgetting(name) for name in CONVENTIONS]


@pytest.mark.parametrize(
    ("scores", "keywords", "message"),
    [
        ([[0.5]], {}, "at least two"),
        (np.zeros((2, 3)), {}, "square"),
        ([[0.5, 0.1], [np.nan, 0.5]], {}, r"scores\[1, 0\] is nan"),
        ([[0.5, np.inf], [0.1, 0.5]], {}, r"scores\[0, 1\] is inf"),
        ([[50.0, 1.0], [10.0, 50.0]], {}, "percent=True"),
        ([[-0.5, 0.1], [0.1, 0.5]], {}, "explained_variance"),
        ([[0.5, 0.1], [0.1, 0.5]], {"joint": [0.5]}, "one score for each"),
        ([[0.5, 0.1], [0.1, 0.5]], {"initial": [0.5, np.nan]}, r"initial\[1\]"),
        ([[0.5, 0.1], [0.1, 0.5]], {"names": ["a"]}, "names"),
        ([[0.5, 0.1], [0.1, 0.5]], {"names": 5}, "names must be a list"),
        ([[0.5, 0.1], [0.1]], {}, "numbers"),
        ([[0.5, 0.1j], [0.1, 0.5]], {}, "complex"),
    ],
)
def test_matrices_that_are_none(scores, keywords, message):
    with pytest.raises(DataError, match=message):
        ng.continual.AccuracyMatrix(scores, **keywords)


def test_questions_without_an_answer():
    matrix = ng.continual.AccuracyMatrix([[0.5, np.nan], [0.1, 0.5]], initial=[0.1, 0.1])
    with pytest.raises(DataError, match="joint="):
        _ = matrix.joint_accuracy
    with pytest.raises(DataError, match="missing"):
        _ = matrix.forward_transfer
    with pytest.raises(DataError, match="known are"):
        matrix.forgetting("most")
    with pytest.raises(DataError, match="known are"):
        matrix.forgetting(["x"])
    with pytest.raises(DataError, match="after tasks 1 to 1"):
        matrix.after(0)
    for t in (1.5, "1", True):
        with pytest.raises(DataError, match="t must be an integer"):
            matrix.after(t)


def test_explained_variance_may_be_negative():
    assert ng.continual.AccuracyMatrix(
        [[0.5, -3], [-2, 0.5]], kind="explained_variance"
    ).forgetting() == pytest.approx(2.5)
