"""Texts, trees and bytes with a few places changed by a source of random numbers."""

import copy
from random import Random
from typing import Any

from ntkgap.reporting import preview, report  # noqa: F401 - matplotlib looks for caches before the home is another

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 2.5, -0.0, 1e-300, 1e300, 10**9, 10**10, 10**30, 10**400),
    *("", "64", "true", "[/red]", "$x^{", "<b>", "~", "~/a", "a\nb", "\ud800", "x" * 3000, "ä", "../a", "digits"),
    *([], {}, [[]], [1, "a"], {"a": 1}, {"kind": "split"}, [True], ["64"], [10**30], "2024-01-01", float("inf")),
)


def mutated_text(random: Random, text: str) -> str:
    """A text with a few places cut, doubled, or replaced."""
    for _ in range(random.randint(1, 4)):
        i, j = sorted(random.randint(0, len(text)) for _ in range(2))
        j = min(j, i + 40)
        piece = random.choice(
            ["", text[i:j] * 2, random.choice("[]{}:,-&*!|>'\"#%@`\t\n ~.0123456789"), "\x00", "é"]
        )
        text = text[:i] + piece + text[j:]
    return text


def junk(random: Random) -> Any:
    """Something out of place, not shared with others."""
    return copy.deepcopy(random.choice(JUNK))


def mutated_tree(random: Random, tree: Any) -> Any:
    """A tree of mappings and lists with one value replaced, removed or added."""
    here, place = tree, None
    while isinstance(here, dict | list) and here and (place is None or random.random() < 0.8):
        parent, place = here, random.choice(list(here) if isinstance(here, dict) else range(len(here)))
        here = here[place]
    if place is None:
        return junk(random)
    kind = random.random()
    if kind < 0.1:
        del parent[place]
    elif kind < 0.2 and isinstance(parent, dict):
        parent[random.choice(["depth", "alpha", "options", "root", "where", "x", "fingerprint"])] = junk(random)
    else:
        parent[place] = junk(random)
    return tree


def mutated_bytes(random: Random, content: bytes) -> bytes:
    """Bytes with a few changed, cut, or doubled."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 6)):
        i = random.randrange(len(changed) + 1)
        match random.randrange(5):
            case 0:
                del changed[i:]
            case 1:
                del changed[i : i + random.randint(1, 20)]
            case 2:
                changed[i:i] = changed[max(0, i - 30) : i]
            case _:
                if i < len(changed):
                    changed[i] = random.choice(
                        [0, 0xFF, changed[i] ^ (1 << random.randrange(8)), random.randrange(256)]
                    )
    return bytes(changed)
