"""The advice in one sentence: it says what the verdicts say, all of it and no more."""

import itertools
import math
import re
from dataclasses import replace

import pytest

from ntkgap.studies.continual.answers import QUESTIONS, answers
from ntkgap.studies.continual.claims import claims
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import Interval
from ntkgap.studies.verdict import Verdict, WidthResult

STATES = ("holds", "fails", "inconclusive")
WORDS = {"holds": "yes", "fails": "no", "inconclusive": "inconclusive"}
WHEN = ("converged", "after_10", "at_score_92_5", "matched")
CONDITIONS = (
    "where training has converged",
    "after 10 steps",
    "at a training score of 92.5 %",
    "at the same training loss",
)
CLAIMS = {claim.key: claim for claim in claims([1, 10], [0.925], own_function=True)}
REASONS = "Inconclusive: see the reasons in this row."


def verdict(when, state, interval=None):
    claim = CLAIMS[f"width_helps_{when}"]
    last = WidthResult(64, state, interval, 5, "of a reason")
    return Verdict(claim, "tiny", state, (last,), 64 if state == "holds" else None, None, None, 1.0)


def advice(states, intervals=(None,) * 4):
    """The sentence for these states, in the order of ``WHEN``; None is a claim that was not judged."""
    verdicts = [verdict(*known) for known in zip(WHEN, states, intervals, strict=True) if known[1]]
    (table,) = answers({"tiny": []}, verdicts)
    return dict(zip(table.columns, table.rows[0], strict=True))[QUESTIONS[-1]]


@pytest.mark.parametrize("states", list(itertools.product(STATES, repeat=4)))
def test_the_advice_says_every_state_in_its_word_and_convergence_first(states):
    sentence = advice(states)
    if set(states) == {"inconclusive"}:
        assert sentence == REASONS
        return
    said = {}
    for clause in sentence.removesuffix(".").split("; "):
        word, _, rest = clause.partition(" ")
        said |= {condition: word.lower() for condition in re.split(", | and ", rest)}
    assert said == {condition: WORDS[state] for condition, state in zip(CONDITIONS, states, strict=True)}
    assert sentence.count(";") == len(set(states)) - 1  # one clause an answer
    assert sum(map(sentence.count, CONDITIONS)) == len(CONDITIONS)  # none is said twice
    first = sentence[0].lower() + sentence[1:]
    assert first.startswith(f"{WORDS[states[0]]} {CONDITIONS[0]}")


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        (("holds",) * 4, "Yes {}, {}, {} and {}."),
        (("holds", "holds", "fails", "fails"), "Yes {} and {}; no {} and {}."),
        (("holds", "fails", "inconclusive", "inconclusive"), "Yes {}; no {}; inconclusive {} and {}."),
        (("fails", "holds", "holds", "holds"), "No {}; yes {}, {} and {}."),
        (("inconclusive", "fails", "holds", "fails"), "Inconclusive {0}; no {1} and {3}; yes {2}."),
    ],
)
def test_the_advice_in_full(states, sentence):
    assert advice(states) == sentence.format(*CONDITIONS)


def test_of_claims_that_were_not_judged_nothing_is_said():
    assert advice((None, "holds", None, None)) == f"Yes {CONDITIONS[1]}."


@pytest.mark.parametrize(
    ("low", "high", "between"),
    [
        (-0.067, 0.0774, "between 6.7 points more and 7.7 less"),
        (0.008, 0.071, "0.8 to 7.1 points less"),
        (-0.03, -0.002, "0.2 to 3 points more"),
    ],
)
def test_what_is_inconclusive_throughout_lies_within_bounds(low, high, between):
    known = Interval((low + high) / 2, low, high)
    sentence = f"Do not count on it: inconclusive, {between} {{}}."
    assert advice(("inconclusive",) * 4, (known, None, None, None)) == sentence.format(CONDITIONS[0])
    assert advice(("inconclusive",) * 4, (None, None, known, None)) == sentence.format(CONDITIONS[2])


def test_bounds_that_are_infinite_are_none():
    assert advice(("inconclusive",) * 4, (None, Interval(0.0, -math.inf, 0.1), None, None)) == REASONS


def row(verdicts, cells=()):
    (table,) = answers({"tiny": list(cells)}, verdicts)
    return dict(zip(table.columns, table.rows[0], strict=True))


def test_what_width_saves_is_said_beside_a_width():
    scalars = {"compared_with": 4.0, "compared_learns": 0.0}
    cell = Measured({"width": 64, "seed": 0, "problem": "tiny"}, scalars, {}, [], False, 0.0)
    known = [
        verdict("after_10", "holds", Interval(0.05, 0.02, 0.064)),
        verdict("after_1", "fails", Interval(-0.0104, -0.05, -0.0)),
    ]
    by_time = (
        "after 1 step: no: 1 points more forgotten [0, 5]. after 10 steps: yes: 5 points less forgotten [2, 6.4]."
    )
    said = row(known, [cell])[QUESTIONS[0]]
    assert said == f"Compared with width 4, which does not learn the tasks: {by_time}"
    cell = replace(cell, scalars={"compared_with": 16.0, "compared_learns": 1.0})
    assert row(known, [cell])[QUESTIONS[0]] == f"Compared with width 16: {by_time}"


def test_training_scores_and_own_training_have_answers_of_their_own():
    known = [verdict("at_score_92_5", "holds", Interval(0.05, 0.02, 0.064)), verdict("own", "inconclusive")]
    said = row(known)
    assert said[QUESTIONS[1]] == "at 92.5 %: yes: 5 points less forgotten [2, 6.4]."
    assert said[QUESTIONS[0]] == "under your training: inconclusive: of a reason."
    assert row(known[1:])[QUESTIONS[1]] == "Not asked."


def test_a_single_seed_decides_nothing():
    known = verdict("converged", "inconclusive", Interval(0.03, 0.03, 0.03))
    single = replace(known, widths=(replace(known.widths[0], n_seeds=1),))
    others = [verdict("after_10", "inconclusive")]
    assert row([single, *others])[QUESTIONS[-1]] == REASONS
    assert row([single, *others])[QUESTIONS[3]] == "Inconclusive: of a reason."


@pytest.mark.parametrize(
    ("name", "which"), [("initial", "The kernel at the start"), ("infinite", "That of infinite width")]
)
def test_the_kernel_that_predicts_has_a_name(name, which):
    predicted = [
        Verdict(
            CLAIMS[f"{name}_predicts_{when}"],
            "tiny",
            "fails",
            (WidthResult(64, "fails", Interval(value, value, value), 5),),
            None,
            None,
            None,
            1.0,
        )
        for when, value in (("short", 0.1), ("long", math.inf))
    ]
    said = row([verdict("after_1", "fails"), *predicted])[QUESTIONS[4]]
    assert (
        said == f"{which}: no after brief training: 10 points off; no after long training: one of both diverges."
    )
