"""Regret of all rules, side by side: figures over rounds and widths, and tables."""

import math
from collections.abc import Mapping, Sequence

from ntkgap.studies.figures import ComparisonFigure, Line, StudyFigure, Table, WidthFigure
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import median_interval
from ntkgap.studies.uncertainty.bandits.rules import LABELS, scalar_name
from ntkgap.studies.verdict import Verdict, number
from ntkgap.studies.words import median_text

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
    ("linearization", "what linearizing costs"),
)


def figures() -> list[StudyFigure]:
    """Regret over rounds and over width, the terms of γ_t, coverage, and what explains them."""
    return [
        ComparisonFigure(
            key="regret",
            title="Regret over the rounds",
            caption="Cumulative expected regret as a fraction of what uniform choice loses in all rounds; median "
            "and range over seeds at the largest width. Tuned rules play with the constant that was best on the "
            "other seeds.",
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
            caption="Total regret as a fraction of that of uniform choice, medians and intervals over seeds.",
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
            caption="γ_t = confidence + optimization + linearization (Zhou, Li, Gu 2020, algorithm 1, all "
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
            "of the parameters, and the error of the linearized network's outputs.",
            y_label="relative change",
            measured=scalar_name("ucb", "kernel_drift"),
            measured_label="kernel",
            references=(
                (scalar_name("ucb", "parameter_drift"), "parameters"),
                (scalar_name("ucb", "linearization_error"), "outputs off the linearized network's"),
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


CAPTION = (
    "Expected regret as a fraction of that of uniform choice, medians over seeds with intervals, best rule at the "
    "largest width first. Tuned rules: each seed plays with the constant that was best on the other seeds, of "
    "those given and those that a search beyond the edges added; (edge): for some seeds it is still the smallest "
    "or largest that all of them tried, beyond which better may lie; so also for "
    "evidence that is greatest at a bound of precision or noise in the end. "
    "Coverage: fraction of arms and rounds at the largest width whose true mean reward lay in the interval the "
    "rule explored with; Thompson sampling has one standard deviation either way, upper confidence bounds their "
    "own factor: compare coverage among rules of one kind. "
    "Seconds: deciding and learning, one thread. ∞: diverged. –: not played."
)


def tables(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """One table a bandit problem: rules by widths, relative regret; and what each costs and covers.

    Args:
        cells: those that are done, by problem.
        verdicts: not needed.
    """
    found_tables = []
    for i, (problem, found) in enumerate(cells.items()):
        games = [c for c in found if c.cell.get("kind") == "bandit"]
        if not games:
            continue
        widths = sorted({c.width for c in games})
        rules = ranked(games)
        found_tables.append(
            Table(
                key=f"regret_{i}",
                title=f"Regret: {problem}",
                caption=CAPTION,
                columns=("rule", *(f"width {w}" for w in widths), "constant", "coverage", "seconds"),
                rows=tuple(
                    (
                        LABELS[rule],
                        *(_entry([c for c in games if c.width == w], rule, "regret") for w in widths),
                        _constant([c for c in games if c.width == widths[-1]], rule),
                        _entry([c for c in games if c.width == widths[-1]], rule, "coverage"),
                        _seconds([c for c in games if c.width == widths[-1]], rule),
                    )
                    for rule in rules
                ),
            )
        )
    return found_tables


def ranked(games: Sequence[Measured]) -> list[str]:
    """The rules that played at the largest width, least median regret first."""
    width = max(c.width for c in games)
    widest = [c.scalars for c in games if c.width == width]
    medians = {
        rule: median_interval([s[scalar_name(rule, "regret")] for s in widest]).value
        for rule in LABELS
        if all(scalar_name(rule, "regret") in s for s in widest)
    }
    return sorted(medians, key=lambda rule: medians[rule])


def _entry(cells: Sequence[Measured], rule: str, of: str) -> str:
    return median_text([c.scalars.get(scalar_name(rule, of), math.nan) for c in cells])


def _constant(cells: Sequence[Measured], rule: str) -> str:
    """The tuned constant, and whether it is the least or largest of those tried, beyond which better may lie."""
    at_bound = [c.scalars.get(scalar_name(rule, "evidence_at_edge")) for c in cells]
    if None not in at_bound:
        return "by evidence (edge)" if 1 in at_bound else "by evidence"
    at_edge = any(c.scalars.get(scalar_name(rule, "constant_at_edge")) == 1 for c in cells)
    return _entry(cells, rule, "constant") + (" (edge)" if at_edge else "")


def _seconds(cells: Sequence[Measured], rule: str) -> str:
    values = [c.scalars.get(f"seconds_{scalar_name(rule, 'play')}", math.nan) for c in cells]
    return "–" if any(map(math.isnan, values)) else number(median_interval(values).value)
