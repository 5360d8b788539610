"""A built page loads nothing from the network, so that the site can be read without one."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

# What a browser fetches by itself; links that a reader may follow, and the canonical address, are no such thing.
LOADED = {"src", "srcset", "data", "poster"}
ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
STYLED = re.compile(r"(?:\burl\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


class NeedsNetwork(ValueError):
    """A page loads something from another place."""


class Page(HTMLParser):
    """Collects what a page loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at the attributes of an element."""
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        loaded = [value for name, value in values.items() if name in LOADED]
        if tag == "link" and values.get("rel", "").lower() != "canonical":
            loaded.append(values.get("href", ""))
        # A srcset has several addresses, each with a size: "small.png 1x, large.png 2x".
        parts = [part for value in loaded for part in value.split()]
        self.found += [part.rstrip(",") for part in parts if ELSEWHERE.match(part)]
        self.found += styled(values.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        """Leave a style sheet."""
        self._in_style = False

    def handle_data(self, data: str) -> None:
        """Look at a style sheet within the page."""
        if self._in_style:
            self.found += styled(data)


def addresses(page: str) -> list[str]:
    """What a page, as HTML, loads from elsewhere."""
    parser = Page()
    parser.feed(page)
    return parser.found


def styled(sheet: str) -> list[str]:
    """What a style sheet loads from elsewhere."""
    return STYLED.findall(sheet)


def check(site: Path) -> None:
    """Look at every page and style sheet of a built site.

    Raises:
        NeedsNetwork: naming the first such pages.
    """

    def found() -> Iterator[str]:
        for pattern, look in (("*.html", addresses), ("*.css", styled)):
            for page in sorted(site.rglob(pattern)):
                if loaded := look(page.read_text(encoding="utf-8")):
                    yield f"{page.relative_to(site)} loads {loaded[0]}"

    if wrong := list(found()):
        raise NeedsNetwork(f"{len(wrong)} pages need the network: {'; '.join(wrong[:3])}")
