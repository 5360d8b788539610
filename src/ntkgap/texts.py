"""Texts that users choose, shown as they are: spreadsheets do not compute them, terminals do not obey them."""

import unicodedata
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# What makes a spreadsheet compute a cell, or read it as more than one.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
REVERSING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def spreadsheet_text(text: str) -> str:
    """A text that a spreadsheet shows as it is: an apostrophe goes before one that it would compute.

    Source: OWASP, CSV injection.
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def terminal_text(text: str) -> str:
    """A text with � for control characters, which move the cursor or change colors, but for ends of lines."""
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _controls(c) else c for c in text)


def _controls(character: str) -> bool:
    """Whether a character is a control character, or turns the direction in which text is read."""
    return character in REVERSING or (unicodedata.category(character) == "Cc" and character != "\n")


class PlainConsole(Console):
    """A console on which nothing that is printed is markup, a picture or a command to the terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The same segments without control characters in their texts."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(terminal_text(segment.text), segment.style)
