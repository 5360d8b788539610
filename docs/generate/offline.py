"""A built page loads nothing from the network, so that the site can be read without one."""

import re
from collections.abc import Iterator
from pathlib import Path

LOADED = re.compile(
    r"<(?:script|link(?![^>]*canonical)|img|iframe|source|object)\b[^>]*?\b(?:src|srcset|href|data)=[\"']?((?:https?:)?//[^\"'\s>]+)",
    re.IGNORECASE,
)
STYLED = re.compile(r"(?:\burl\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


class NeedsNetwork(ValueError):
    """A page loads something from another place."""


def addresses(page: str) -> list[str]:
    """What a page, as HTML, loads from elsewhere; links that a reader may follow are no such thing."""
    return LOADED.findall(page)


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
