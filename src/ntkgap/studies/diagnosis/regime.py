"""In which regime a network was trained: a rule on the verdicts, with its reason and the width that matters.

The first of these that applies, all numbers with their intervals over seeds:

1. *not trained enough*: at the largest width it is not sure that the training loss fell by 10 % and that the
   outputs moved by 5 % of their distance from the targets. A network that learned nothing is close to its
   linearized model for that reason alone. A training that diverged is one of these.
2. *kernel*: at the largest width the kernel's change and the linearization gaps on training and test points are
   all below their limits (10 %), and the step is not past the edge of stability.
3. *feature learning*: at every width the change of the kernel, or at every width the linearization gap, is above
   one half, and does not fall clearly with width: theory's exponent −½ is outside the interval of the measured
   one, and −0.1 or more is inside, at which pace it would take ten million times the width to come from one half
   to the limit of 10 %.
4. *mixed*: everything else. Past the edge of stability, where the linearized model diverges, that is the reason.

The limits are conventions. With one seed intervals are points, and the sentence says so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ntkgap.studies.statistics import Interval
from ntkgap.studies.verdict import Verdict, WidthResult, number, width_text

Name = Literal["kernel", "mixed", "feature learning", "not trained enough"]

ONE_WIDTH = "a single width was tried"

# Above it a change is no perturbation.
RICH = 0.5

# An exponent of the width that is not told from zero in practice, and the one that theory says.
FLAT, THEORY = -0.1, -0.5

# Said of a training that tells nothing for that reason.
DIVERGED = "training diverged"

UNKNOWN = "from which width the kernel regime would hold"

# What the kernel regime says is small, with the words for it.
SMALL = {
    "kernel_constant": "the kernel's change",
    "linearization_gap": "the linearization gap",
    "linearization_gap_test": "the linearization gap on test points",
}


@dataclass(frozen=True)
class Regime:
    """What a diagnosis comes to.

    Attributes:
        name: the regime at the largest width.
        reason: why, with its number.
        outlook: from which width the kernel regime holds or would hold, or why that cannot be told.
        caution: what weakens all that; empty as a rule.
    """

    name: Name
    reason: str
    outlook: str
    caution: str = ""

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        name = {"kernel": "Kernel regime", "mixed": "Mixed regime", "feature learning": "Feature learning"}
        head = name.get(
            self.name, "Training diverged" if DIVERGED in self.reason else "Not trained enough to tell"
        )
        tail = f" ({self.caution})" if self.caution else ""
        return f"{head}: {self.reason}; {self.outlook}{tail}."


def regime_of(verdicts: Mapping[str, Verdict]) -> Regime:
    """The regime of one network on one data set.

    Args:
        verdicts: of the claims of a diagnosis, by key; those that were not asked are missing.
    """
    small = {key: verdicts[key] for key in SMALL if key in verdicts}
    n_seeds = verdicts["learned"].widths[-1].n_seeds
    cautions = ["from a single seed, without an interval"] if n_seeds < 2 else []
    if "linearization_gap" not in small:
        cautions.append("the linearization gap was not measured")
    caution = "; ".join(cautions)
    if reason := _not_trained(verdicts):
        return Regime("not trained enough", reason, f"{UNKNOWN} cannot be told", caution)
    unstable = _unstable(verdicts)
    below = {key: _high(v.widths[-1]) < v.claim.threshold for key, v in small.items()}
    if all(below.values()) and not unstable:
        shown = " and ".join(
            _shown(key, v.widths[-1]) for key, v in small.items() if key != "linearization_gap_test"
        )
        limits = ", ".join(sorted({number(v.claim.threshold) for v in small.values()}))
        return Regime("kernel", f"{_at(small)}{shown}, below the limit {limits}", _found(small), caution)
    if rich := _rich(small):
        key, verdict = rich
        trend = "" if verdict.trend is None else f" and does not fall with width (exponent {_slope(verdict)})"
        several = len(verdict.widths) > 1
        reason = f"{_at(small)}{_shown(key, verdict.widths[-1])}{trend}" + (f"; {unstable}" if unstable else "")
        never = "no width would change that, as far as these tell" if several else ONE_WIDTH
        return Regime("feature learning", reason, never, caution)
    if unstable:
        return Regime("mixed", unstable, "no width is named, for the step size decides, not the width", caution)
    above = [key for key, is_below in below.items() if not is_below]
    worst = max(above, key=lambda key: _value(small[key].widths[-1]))
    limit = small[worst].claim.threshold
    state = "its limit" if small[worst].state == "fails" else "inconclusive beside its limit"
    reason = f"{_at(small)}{_shown(worst, small[worst].widths[-1])} ({state}: {number(limit)})"
    return Regime("mixed", reason, _would_hold([small[key] for key in above]), caution)


def _not_trained(verdicts: Mapping[str, Verdict]) -> str:
    """Why nothing can be said; empty if the network learned."""
    learned, moved = verdicts["learned"].widths[-1], verdicts["moved"].widths[-1]
    at = f"at width {learned.width} "
    if learned.interval is None or math.isinf(_low(learned)):
        unstable = _unstable(verdicts)
        why = (
            f", and {unstable.removeprefix(at)}" if unstable else "; take a smaller step, for the kernel may grow"
        )
        return f"{at}{DIVERGED}{why}"
    if _low(learned) <= verdicts["learned"].claim.threshold:
        fell = f"{at}the training loss fell by {_percent(learned)}"
        return f"{fell}, where {verdicts['learned'].claim.threshold:.0%} is asked for"
    if _low(moved) <= verdicts["moved"].claim.threshold:
        return f"{at}the outputs moved by {_percent(moved)} of their distance from the targets"
    return ""


def _unstable(verdicts: Mapping[str, Verdict]) -> str:
    """That the step is past the edge of stability; empty if that is not sure."""
    stable = verdicts.get("stable")
    if stable is None or not _low(stable.widths[-1]) > stable.claim.threshold:
        return ""
    last = stable.widths[-1]
    assert last.interval is not None
    times = f"{_text(last.interval)} times the largest"
    return f"at width {last.width} the step is {times} at which the kernel regime is stable"


def _rich(small: Mapping[str, Verdict]) -> tuple[str, Verdict] | None:
    """What is above one half at every width and does not fall clearly, if anything is."""
    for key in ("kernel_constant", "linearization_gap"):
        verdict = small.get(key)
        if verdict is None or not all(RICH < _low(result) < math.inf for result in verdict.widths):
            continue
        if _stays(verdict):
            return key, verdict
    return None


def _stays(verdict: Verdict) -> bool:
    """Whether a quantity does not clearly fall: theory's exponent is excluded, and a flat one is not."""
    if verdict.trend is not None:
        slope = verdict.trend.slope
        return slope.low > THEORY and slope.high > FLAT
    first, last = verdict.widths[0], verdict.widths[-1]
    if first is last:
        return True
    # Too few seeds for an interval: the medians are nearer to a flat law than to theory's.
    return math.log(_value(last) / _value(first)) / math.log(last.width / first.width) > THEORY / 2


def _found(small: Mapping[str, Verdict]) -> str:
    """The smallest width from which on all that is to be small is so."""
    widths = [result.width for result in next(iter(small.values())).widths]
    if len(widths) == 1:
        return ONE_WIDTH
    start = widths[-1]
    for width in reversed(widths):
        results = [r for v in small.values() for r in v.widths if r.width == width]
        limits = [v.claim.threshold for v in small.values() for r in v.widths if r.width == width]
        if not all(_high(r) < limit for r, limit in zip(results, limits, strict=True)):
            break
        start = width
    return (
        f"it holds from width {start} on"
        if start > widths[0]
        else f"it holds at every width tried, from {start} on"
    )


def _would_hold(above: list[Verdict]) -> str:
    """The width from which all that is too large would be small, by the extrapolation that verdicts have."""
    brackets: list[Interval] = []
    for verdict in above:
        # Of an inconclusive number the bracket begins at the largest width, where the limit may be met already.
        if verdict.beyond.width is None:
            is_open = "" if verdict.state == "fails" else f"{_open(verdict)}, and "
            return f"{UNKNOWN} cannot be told: {is_open}{verdict.obstacle}"
        brackets.append(verdict.beyond.width)
    latest = Interval(max(b.value for b in brackets), max(b.low for b in brackets), max(b.high for b in brackets))
    return f"extrapolated, the kernel regime would hold from width {width_text(latest)}"


def _open(verdict: Verdict) -> str:
    reason = verdict.widths[-1].reason or "a number is inconclusive"
    return f"{SMALL[verdict.claim.key]} is inconclusive ({reason})"


def _at(small: Mapping[str, Verdict]) -> str:
    return f"at width {next(iter(small.values())).widths[-1].width} "


def _shown(key: str, result: WidthResult) -> str:
    return f"{SMALL[key]} is {_text(result.interval)}"


def _slope(verdict: Verdict) -> str:
    assert verdict.trend is not None
    s = verdict.trend.slope
    return f"{s.value:z.2f} [{s.low:z.2f}, {s.high:z.2f}]"


def _text(interval: Interval | None) -> str:
    if interval is None:
        return "inconclusive"
    shown, low, high = map(number, (interval.value, interval.low, interval.high))
    return shown if low == high else f"{shown} [{low}, {high}]"


def _percent(result: WidthResult) -> str:
    i = result.interval
    if i is None:
        return "an unknown fraction"
    return f"{i.value:.2g}" if math.isinf(i.value) else f"{i.value:.1%} [{i.low:.1%}, {i.high:.1%}]"


def _value(result: WidthResult) -> float:
    return math.inf if result.interval is None else result.interval.value


def _low(result: WidthResult) -> float:
    return -math.inf if result.interval is None else result.interval.low


def _high(result: WidthResult) -> float:
    return math.inf if result.interval is None else result.interval.high
