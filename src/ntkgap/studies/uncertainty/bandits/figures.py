"""What the study draws of its bandits."""

from ntkgap.studies.figures import ComparisonFigure, Line, StudyFigure, WidthFigure
from ntkgap.studies.uncertainty.bandits.rules import LABELS, scalar_name

SHOWN = ("ucb", "theory", "limit", "evidence", "thompson", "ntk_ucb", "lin_ucb", "greedy")

# Curves of a cell and what they are in the formula of γ_t.
SCHEDULE = (
    ("gamma", "γ_t"),
    ("limit", "γ_t for m, J → ∞"),
    ("inflation", "√(1 + C₁ …)"),
    ("noise", "ν√(log det + C₂ … − 2 log δ)"),
    ("norm", "√λ S"),
    ("confidence", "inflation · (noise + norm)"),
    ("optimization", "what training leaves over"),
    ("linearization", "what linearising costs"),
)


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
        ComparisonFigure(
            key="schedule",
            title="The terms of theory's exploration schedule",
            caption="γ_t = confidence + optimisation + linearisation (Zhou, Li, Gu 2020, algorithm 1, all "
            "constants one), along the determinants met at the largest width. Only the noise and the norm stay as "
            "the width grows; the others are what the theorem allows for a network that is not infinitely wide, "
            "nor trained to convergence.",
            x_label="round",
            y_label="term of γ_t",
            lines=tuple(
                Line(label, f"bandit_schedule_{name}", seconds="bandit_diagnosed", wide=name == "gamma")
                for name, label in SCHEDULE
            ),
            floor=1e-6,
            ceiling=None,
        ),
        WidthFigure(
            key="drift",
            title="What becomes of the reward network while it explores",
            caption="At the end of the game with the tuned constant: relative change of the kernel on seen arms, "
            "of the parameters, and the error of the linearised network's outputs.",
            y_label="relative change",
            measured=scalar_name("ucb", "kernel_drift"),
            measured_label="kernel",
            references=(
                (scalar_name("ucb", "parameter_drift"), "parameters"),
                (scalar_name("ucb", "linearization_error"), "outputs off the linearised network's"),
            ),
        ),
        WidthFigure(
            key="bounds",
            title="How often the true rewards lie in the intervals that rules explore with",
            caption="Over all arms and rounds. Theory's bounds are to hold with probability 1 − δ; those of "
            "evidence are one standard deviation wide, which a Gaussian keeps in 68 % of cases.",
            y_label="part inside",
            measured=scalar_name("limit", "coverage"),
            measured_label=LABELS["limit"],
            references=tuple(
                (scalar_name(rule, "coverage"), LABELS[rule]) for rule in ("theory", "evidence", "ucb")
            ),
        ),
    ]
