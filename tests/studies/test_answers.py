"""The four answers at the top of a report, from verdicts that are made up."""

import math

import pytest

import ntkgap as ng
from ntkgap.studies.optimization.answers import QUESTIONS, answers
from ntkgap.studies.verdict import judge

CLAIMS = {claim.key: claim for claim in ng.OptimizationStudy.preset("smoke").claims()}
WIDTHS = (8, 32, 128, 512)


def verdict(key, values, widths=WIDTHS):
    """Of one value a width, the same for three seeds but for a hair."""
    spread = (0.999, 1.0, 1.001)
    by_width = {w: {s: v * f for s, f in enumerate(spread)} for w, v in zip(widths, values, strict=True)}
    return judge(CLAIMS[key], "net", by_width)


def answered(path, ball=None, rate=(0.01,) * 4, seconds=None, steps=None, widths=WIDTHS):
    verdicts = [
        verdict("jacobian_stable", path, widths),
        verdict("jacobian_stable_in_ball", path if ball is None else ball, widths),
        verdict("ngd_rate", rate[: len(widths)], widths),
    ]
    if seconds is not None:
        verdicts += [
            verdict("natural_gradient_steps", steps, (8, 32)),
            verdict("natural_gradient_seconds", seconds, (8, 32)),
        ]
    table = answers(verdicts)
    assert table.columns[1:] == QUESTIONS
    (row,) = table.rows
    assert row[0] == "net"
    return row[1:]


FALLING = (6.0, 3.0, 1.5, 0.75)  # ∝ width^(−1/2): ½ at 1152; from here on ∝ width^(−1/4): at 2592


def test_a_condition_that_is_refuted_on_the_path():
    met, width, rate, pays = answered(FALLING)
    assert met == "No: C′ is at least 0.75 at width 512 on the path, the limit ½."
    assert width.startswith("On the path from 17")
    assert "extrapolated; the ball may want more" in width
    assert rate == "Yes: its error is 0.01 at width 512."
    assert pays.startswith("Not measured")


def test_a_condition_that_is_refuted_in_the_ball_alone():
    met, width, *_ = answered((0.4, 0.3, 0.2, 0.1), ball=(6.0, 5.0, 4.0, 3.0))
    assert met == "No: C′ is at least 3 at width 512 in the ball, the limit ½."
    assert width == "On the path from 8 or less; the ball may want more."


def test_a_condition_that_nothing_refutes_is_not_said_to_be_met():
    met, width, *_ = answered((2.0, 1.0, 0.3, 0.1), ball=(2.0, 1.0, math.nan, math.nan))
    assert met == "Not refuted: C′ is 0.1 at width 512 on the path."
    assert width == "On the path from 128; the ball may want more."


@pytest.mark.parametrize(
    ("path", "widths", "reason"),
    [
        ((1.0, 0.6), (8, 32), "too few widths or seeds to fit a power law"),
        ((1.0, 2.0, 4.0, 8.0), WIDTHS, "the measurements grow with width"),
        ((8.0, 7.9, 7.8, 7.7), WIDTHS, "it may be more than 10 times the largest"),
    ],
)
def test_why_no_width_can_be_named(path, widths, reason):
    _, width, *_ = answered(path, widths=widths)
    assert width.startswith(f"More than {widths[-1]}; how much more cannot be told from these widths: ")
    assert reason in width


def test_what_is_inconclusive_stays_so():
    met, width, rate, _ = answered((math.nan,) * 4, rate=(math.nan,) * 4)
    assert met.startswith("Inconclusive: 3 of 3 seeds")
    assert width == "Inconclusive."
    assert rate.startswith("Inconclusive: 3 of 3 seeds")


@pytest.mark.parametrize(
    ("seconds", "steps", "answer"),
    [
        (
            3.0,
            0.1,
            "No: it takes at least 3 times the seconds of the best first-order method with at most 0.1 times",
        ),
        (0.2, 0.1, "Yes: it takes at most 0.2 times the seconds"),
    ],
)
def test_whether_it_pays(seconds, steps, answer):
    *_, pays = answered(FALLING, seconds=(seconds,) * 2, steps=(steps,) * 2)
    assert pays.startswith(answer)
    assert pays.endswith("(width 32).")


def test_a_side_that_never_arrives_is_not_a_number():
    *_, pays = answered(FALLING, seconds=(0.0,) * 2, steps=(0.0,) * 2)
    assert pays == "Yes: no first-order method reached the target (width 32)."
    *_, pays = answered(FALLING, seconds=(math.inf,) * 2, steps=(math.inf,) * 2)
    assert pays == "No: natural gradient did not reach the target (width 32)."
