"""What a reader in a hurry asks of exploration, answered for every bandit."""

from collections.abc import Mapping, Sequence

from ntkgap.studies.figures import Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import median_interval
from ntkgap.studies.uncertainty.bandits.claims import SCHEDULE
from ntkgap.studies.uncertainty.bandits.rules import LABELS, scalar_name
from ntkgap.studies.uncertainty.bandits.show import ranked
from ntkgap.studies.verdict import Verdict, number
from ntkgap.studies.words import YES_OR_NO, ByClaim, by_problem

QUESTIONS = (
    "does theory's exploration schedule pay?",
    "would its infinite-width limit?",
    "does the schedule come down to that limit?",
    "does evidence?",
    "does the network explore as its kernel would?",
    "which rule to use?",
)


def answers(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """One row a bandit, one column a question; no table where there is no bandit.

    Args:
        cells: those that are done, by problem.
        verdicts: of all claims on all problems.
    """
    rows, judged = [], by_problem(verdicts)
    for problem, found in cells.items():
        games = [c for c in found if c.cell.get("kind") == "bandit"]
        if games:
            own = judged.get(problem, ByClaim())
            rows.append(
                (
                    problem,
                    _pays(own.get("schedule_of_theory")),
                    _pays(own.get("schedule_of_limit")),
                    _comes_down(games),
                    _pays(own.get("evidence_explores")),
                    _follows(own.get("network_follows_kernel_bandit")),
                    _best(games),
                )
            )
    if not rows:
        return []
    return [
        Table(
            key="exploration",
            title="Exploration",
            caption="At the largest width tested; medians over seeds. Regret is a fraction of that of uniform "
            "choice. Tuned constants were the best on the other seeds: an oracle's choice, to compare with; "
            "intervals reach over all constants that these seeds cannot tell from the best.",
            columns=("", *QUESTIONS),
            rows=tuple(rows),
        )
    ]


def _pays(verdict: Verdict | None) -> str:
    if verdict is None:
        return "Not played."
    last = verdict.widths[-1]
    if last.interval is None:
        return f"Inconclusive: {last.reason}."
    word = YES_OR_NO[last.state]
    i = last.interval
    return f"{word}: {number(i.value)} [{number(i.low)}, {number(i.high)}] times the tuned constant's regret."


def _comes_down(games: Sequence[Measured]) -> str:
    """How far above its limit the schedule is at the largest width, and would be at one that nobody can build."""
    width = max(c.width for c in games)
    found = [
        median_interval([c.scalars[name] for c in games if c.width == width]).value
        for name in ("bandit_schedule_factor", "bandit_schedule_factor_far")
        if all(name in c.scalars for c in games if c.width == width)
    ]
    if not found:
        return "Not played."
    here = f"{'Yes' if found[0] <= SCHEDULE else 'No, it stays above'}: {number(found[0])} times"
    return here + (f", and at width 10⁶⁰ still {number(found[1])} times." if len(found) > 1 else ".")


def _follows(verdict: Verdict | None) -> str:
    if verdict is None:
        return "Not played."
    last = verdict.widths[-1]
    if last.interval is None:
        return f"Inconclusive: {last.reason}."
    word = YES_OR_NO[last.state]
    return f"{word}: its regret is {last.interval.value:.0%} off that of NTK-UCB (width {last.width})."


def _best(games: Sequence[Measured]) -> str:
    """The rule with the least regret of those without an oracle, and the best with one if that is better."""
    order = ranked(games)
    width = max(c.width for c in games)
    widest = [c.scalars for c in games if c.width == width]
    untuned = [rule for rule in order if scalar_name(rule, "constant") not in widest[0]]
    if not order:
        return "Inconclusive."

    def named(rule: str) -> str:
        value = median_interval([s[scalar_name(rule, "regret")] for s in widest]).value
        return f"{LABELS[rule]} ({number(value)})"

    if not untuned:
        return f"{named(order[0])}."
    if order[0] == untuned[0]:
        return f"{named(untuned[0])}: nothing that was tuned does better."
    return f"{named(untuned[0])} if nothing can be tuned; {named(order[0])} at best."
