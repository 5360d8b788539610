"""The scorecard on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntkgap.reporting.marks import TERMINAL, mark, outlook, trend_text, width_mark
from ntkgap.reporting.summary import Scorecard, bottom_line, seeds_note
from ntkgap.reporting.variations import axis_line, axis_sections
from ntkgap.studies.assess import NotAsked
from ntkgap.studies.axes import AxisVerdict
from ntkgap.studies.claim import Claim
from ntkgap.studies.discoveries import control
from ntkgap.studies.verdict import Verdict
from ntkgap.texts import terminal_text


def print_scorecard(
    verdicts: list[Verdict],
    console: Console,
    title: str,
    variations: Sequence[AxisVerdict] = (),
    unasked: Sequence[NotAsked] = (),
) -> None:
    """Print claims × problems, a strip of widths from narrow to wide under each verdict, then other axes."""
    if verdicts:
        _print_card(verdicts, console, title)
    elif variations:
        console.print("No cell of a problem as it stands is done yet, only variations of it.")
    else:
        console.print("No cell is done yet, so there is nothing to judge.")
    for claim in unasked:
        console.print(
            _text(f"{claim.problem}: {claim.claim.title}: {claim.sentence}", style="dim"), soft_wrap=True
        )
    for section in axis_sections(variations, {}):
        console.print(
            _text(f"{section.along.problem}, ", style="bold").append(terminal_text(axis_line(section)), "not bold")
        )
    if verdicts:
        console.print(Text(f"{seeds_note(verdicts)} {control(verdicts).sentence}".strip(), style="dim"))


def _print_card(verdicts: list[Verdict], console: Console, title: str) -> None:
    """Print claims × problems, and a sentence a problem."""
    card = Scorecard.of(verdicts)
    table = Table(title=Text(title), title_justify="left", title_style="bold", show_lines=True, expand=False)
    table.add_column("theory says")
    for problem in card.problems:
        narrowest, widest = card.widths(problem)
        widths = f"width {widest}" if narrowest == widest else f"width {narrowest} … {widest}"
        table.add_column(_text(f"{problem}\n{widths}"))
    for claim in card.claims:
        table.add_row(_text(claim.title), *(_cell(card, claim, problem) for problem in card.problems))
    console.print(table)
    for problem in card.problems:
        console.print(_text(f"{problem}: ", style="bold").append(bottom_line(card, problem), "not bold"))


def _cell(card: Scorecard, claim: Claim, problem: str) -> Text:
    verdict = card.cells.get((claim.key, problem))
    if verdict is None:
        return Text("not measured", style="dim")
    look = mark(verdict)
    text = Text(f"{look.symbol} {verdict.status}", style=f"bold {TERMINAL[look.style]}")
    for note in filter(None, (card.reservation(verdict), trend_text(verdict))):
        text.append(f"\n  {note}", style="not bold")
    if beyond := outlook(verdict):
        text.append(f"\n  {beyond}", style="not bold")
    if reach := card.reach(verdict):
        text.append(f"\n  {reach}", style="not bold")
    text.append("\n  ")
    for result in verdict.widths:
        width_look = width_mark(verdict, result)
        text.append(width_look.symbol, style=TERMINAL[width_look.style])
    return text


def _text(text: str, style: str = "") -> Text:
    """What users call things, whatever is in it."""
    return Text(terminal_text(text), style=style)
