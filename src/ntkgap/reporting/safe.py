"""Texts that users choose, made harmless where they are shown: in spreadsheets and on terminals."""

import unicodedata

# What makes a spreadsheet compute a cell, or read it as more than one.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def spreadsheet_text(text: str) -> str:
    """A text that a spreadsheet shows as it is: an apostrophe goes before one that it would compute.

    Source: OWASP, CSV injection.
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def terminal_text(text: str) -> str:
    """A text without control characters, which would move a terminal's cursor or change its colours."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _controls(c) else c for c in text)


def _controls(character: str) -> bool:
    """Whether a character is a control character, or turns the direction in which text is read."""
    return character not in "\n" and (
        unicodedata.category(character) == "Cc"
        or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )
