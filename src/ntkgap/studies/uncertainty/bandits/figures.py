"""What the study draws of its bandits."""

from ntkgap.studies.figures import ComparisonFigure, CurveFigure, Line, StudyFigure, WidthFigure
from ntkgap.studies.uncertainty.bandits.rules import LABELS, scalar_name

SHOWN = ("ucb", "theory", "limit", "evidence", "thompson", "ntk_ucb", "lin_ucb", "greedy")
TERMS = {
    "log_determinant": "ν√(log det Z_t/det λI − 2 log δ) + √λ S, the limit",
    "inflation": "√(1 + C₁ …), inflation of the first product",
}
DIAGNOSED = "bandit_diagnosed"


def figures() -> list[StudyFigure]:
    """Regret over rounds and over width, the terms of γ_t, coverage, and what explains them."""
    return [
        ComparisonFigure(
            key="regret",
            title="Regret over the rounds",
            caption="Cumulative expected regret as a part of what uniform choice loses in all rounds; median and "
            "range over seeds at the largest width. Tuned rules play with the constant that was best on the other "
            "seeds.",
            x_label="round",
            y_label="regret / total regret of uniform choice",
            lines=tuple(
                Line(LABELS[rule], scalar_name(rule, "regret_curve"), seconds="bandit_rounds") for rule in SHOWN
            ),
            floor=1e-4,
        ),
        WidthFigure(
            key="regret_over_width",
            title="Regret over width",
            caption="Total regret in parts of that of uniform choice, medians and intervals over seeds.",
            y_label="relative regret",
            measured=scalar_name("theory", "regret"),
            measured_label=LABELS["theory"],
            references=tuple(
                (scalar_name(rule, "regret"), LABELS[rule]) for rule in ("limit", "evidence", "ucb", "ntk_ucb")
            ),
        ),
    ]
