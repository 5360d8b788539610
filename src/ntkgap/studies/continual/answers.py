"""What a reader in a hurry asks of forgetting, answered from the verdicts."""

import math
from collections.abc import Mapping, Sequence

from ntkgap.studies.continual.claims import steps
from ntkgap.studies.figures import Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import Interval
from ntkgap.studies.verdict import State, Verdict
from ntkgap.studies.words import YES_OR_NO, by_problem

QUESTIONS = (
    "do wider networks forget less, by training budget?",
    "at the same training score?",
    "at the same training loss?",
    "trained to convergence?",
    "does the kernel predict it?",
    "in short: do wider networks forget less?",
)

CONVERGED, AFTER, AT_SCORE, MATCHED = (
    f"width_helps_{when}" for when in ("converged", "after_", "at_score_", "matched")
)


def answers(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """One row a problem, one column a question; no table where nothing was judged."""
    rows = tuple(
        (
            problem,
            _by_time(found, _beside(cells[problem])),
            _at_scores(found),
            _helps(found.get(MATCHED)),
            _helps(found.get(CONVERGED)),
            _predicted(found),
            _advice(found),
        )
        for problem, found in by_problem(verdicts).items()
        if problem in cells and any(key.startswith("width_helps") for key in found)
    )
    if not rows:
        return []
    caption = (
        "At the largest width tested, beside the narrowest that learns the tasks; medians over seeds, in points "
        "(hundredths) of accuracy, or of explained variance where tasks are regressions. Yes: it saves more than "
        "a point. A kernel predicts where predicted and observed scores differ by less than 2 points in the mean."
    )
    return [Table("continual_answers", "Forgetting in six questions", caption, ("", *QUESTIONS), rows)]


def _by_time(found: Mapping[str, Verdict], beside: str) -> str:
    """The answer at every training budget."""
    parts = [f"after {steps(stop)}: {_lower(_helps(verdict))}" for stop, verdict in _stops(found).items()]
    if "width_helps_own" in found:
        parts.append(f"under your training: {_lower(_helps(found['width_helps_own']))}")
    if not parts:
        return "Inconclusive."
    return f"Compared with width{beside}: {' '.join(parts)}" if beside else " ".join(parts)


def _stops(found: Mapping[str, Verdict]) -> dict[int, Verdict]:
    """Verdicts by training budget, ascending."""
    known = {int(key.removeprefix(AFTER)): v for key, v in found.items() if key.startswith(AFTER)}
    return dict(sorted(known.items()))


def _scores(found: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Verdicts by training score in per cent, ascending."""
    known = {key.removeprefix(AT_SCORE): v for key, v in found.items() if key.startswith(AT_SCORE)}
    in_per_cent = {text.replace("_", "."): verdict for text, verdict in known.items()}
    return dict(sorted(in_per_cent.items(), key=lambda item: float(item[0])))


def _at_scores(found: Mapping[str, Verdict]) -> str:
    """The answer at every training score."""
    parts = [f"at {score} %: {_lower(_helps(verdict))}" for score, verdict in _scores(found).items()]
    return " ".join(parts) or "Not asked."


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _beside(cells: Sequence[Measured]) -> str:
    """Which network those of the largest width were compared with."""
    widest = max(cells, key=lambda cell: cell.width, default=None)
    if widest is None or "compared_with" not in widest.scalars:
        return ""
    stands_in = "" if widest.scalars["compared_learns"] else ", which does not learn the tasks"
    return f" {widest.scalars['compared_with']:g}{stands_in}"


def _helps(verdict: Verdict | None) -> str:
    if verdict is None:
        return "Not asked."
    interval = _known(verdict)
    if interval is None:
        return f"Inconclusive: {verdict.widths[-1].reason}."
    less = interval.value >= 0
    value, low, high = (
        map(_points, (interval.value, interval.low, interval.high))
        if less
        else map(_points, (-interval.value, -interval.high, -interval.low))
    )
    word = YES_OR_NO[verdict.state]
    return f"{word}: {value} points {'less' if less else 'more'} forgotten [{low}, {high}]."


def _known(verdict: Verdict) -> Interval | None:
    """What was measured at the largest width; None where it is not known, or of a single seed."""
    last = verdict.widths[-1]
    return last.interval if last.n_seeds > 1 else None


def _points(score: float) -> str:
    """Hundredths, of which none is −0."""
    return f"{round(100 * score, 1) + 0.0:g}".replace("inf", "∞")


def _predicted(found: Mapping[str, Verdict]) -> str:
    """Of the kernel at the start, or where that was not asked of infinite width's: brief and long training."""
    name = next((k for k in ("initial", "infinite") if f"{k}_predicts_long" in found), None)
    if name is None:
        return "Not asked."
    parts = []
    for when, word in (("short", "brief"), ("long", "long")):
        verdict = found.get(f"{name}_predicts_{when}")
        if verdict is None:
            continue
        interval = _known(verdict)
        if interval is None:
            parts.append(f"inconclusive after {word} training")
            continue
        start = f" (from width {verdict.holds_from})" if verdict.holds_from else ""
        far = f"{_points(interval.value)} points off" if math.isfinite(interval.value) else "one of both diverges"
        parts.append(f"{YES_OR_NO[verdict.state].lower()} after {word} training{start}: {far}")
    text = "; ".join(parts)
    which = "The kernel at the start" if name == "initial" else "That of infinite width"
    return f"{which}: {text}."


def _conditions(found: Mapping[str, Verdict]) -> list[tuple[str, Verdict | None]]:
    """Every condition under which width was judged; what readers need most comes first."""
    return [
        ("where training has converged", found.get(CONVERGED)),
        *((f"after {steps(stop)}", verdict) for stop, verdict in _stops(found).items()),
        *([("under your training", found["width_helps_own"])] if "width_helps_own" in found else []),
        *((f"at a training score of {score} %", verdict) for score, verdict in _scores(found).items()),
        ("at the same training loss", found.get(MATCHED)),
    ]


def _advice(found: Mapping[str, Verdict]) -> str:
    """One sentence of all verdicts on width, those of the same answer together."""
    conditions: dict[State, list[str]] = {}
    for condition, verdict in _conditions(found):
        if verdict is not None:
            conditions.setdefault(verdict.state, []).append(condition)
    if list(conditions) in ([], ["inconclusive"]):
        return _inconclusive(found)
    text = "; ".join(
        f"{YES_OR_NO[state].lower()} {_enumerated(of_state)}" for state, of_state in conditions.items()
    )
    return text[0].upper() + text[1:] + "."


def _inconclusive(found: Mapping[str, Verdict]) -> str:
    """Within what width may save or cost, where that is known and readers need it most."""
    for condition, verdict in _conditions(found):
        interval = None if verdict is None else _known(verdict)
        if interval is not None and math.isfinite(interval.low) and math.isfinite(interval.high):
            return f"Do not count on it: inconclusive, {_between(interval.low, interval.high)} {condition}."
    return "Inconclusive: see the reasons in this row."


def _between(low: float, high: float) -> str:
    """The ends of an interval of what is saved."""
    if low < 0 < high:
        return f"between {_points(-low)} points more and {_points(high)} less"
    if low >= 0:
        return f"{_points(low)} to {_points(high)} points less"
    return f"{_points(-high)} to {_points(-low)} points more"


def _enumerated(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
