"""How verdicts look: one symbol, one word and one color each, in the terminal as on the page."""

from dataclasses import dataclass

from ntkgap.studies.axes import AxisVerdict
from ntkgap.studies.verdict import Verdict, WidthResult, width_text


@dataclass(frozen=True)
class Mark:
    """The look of a verdict.

    Attributes:
        symbol: says it without color.
        style: name of the color, a CSS class and a key of ``COLORS``.
    """

    symbol: str
    style: str


# Kinds of claims that refute nothing where they do not hold.
UNMET = ("condition", "requirement")

# Told apart by readers with any color vision; legible as text, on light ground and on dark.
COLORS = {
    "holds": "#0067a3",
    "partly": "#007480",
    "unmet": "#8a6100",
    "fails": "#b84300",
    "inconclusive": "#66666f",
}
DARK_COLORS = {
    "holds": "#63b5f0",
    "partly": "#4fc3c7",
    "unmet": "#dcb14c",
    "fails": "#ff9055",
    "inconclusive": "#a5a5b0",
}
TERMINAL = {
    "holds": "green",
    "partly": "yellow",
    "unmet": "dark_orange",
    "fails": "red",
    "inconclusive": "bright_black",
}


def mark(verdict: Verdict) -> Mark:
    """The look of a verdict over all widths."""
    if verdict.state == "inconclusive":
        return Mark("?", "inconclusive")
    if verdict.state == "holds":
        return Mark("✓", "holds") if verdict.holds_everywhere else Mark("◐", "partly")
    return Mark("✗", "unmet" if verdict.claim.kind in UNMET else "fails")


def width_mark(verdict: Verdict | AxisVerdict, result: WidthResult) -> Mark:
    """The look of one width, or of one value of another axis."""
    if result.state == "inconclusive":
        return Mark("?", "inconclusive")
    if result.state == "holds":
        return Mark("✓", "holds")
    return Mark("✗", "unmet" if verdict.claim.kind in UNMET else "fails")


def trend_text(verdict: Verdict) -> str:
    """The trend over width in a few words; empty where there are too few widths or seeds."""
    return "" if verdict.trend is None else verdict.trend.text


def outlook(verdict: Verdict) -> str:
    """The width from which a claim would hold, in three words; empty where it holds or nothing can be said."""
    return "" if verdict.extrapolated is None else f"extrapolated: from {width_text(verdict.extrapolated)}"
