"""Links of pages to files outside of the site, and pages of the repository that the site takes over."""

import os
import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
REPOSITORY = "https://github.com/ntkgap/ntkgap/blob/main"
# Pages outside of docs that the site shows as pages of its own.
TAKEN = {
    "benchmarks/README.md": "generated/benchmarks.md",
    "CHANGELOG.md": "generated/changelog.md",
    "CONTRIBUTING.md": "generated/contributing.md",
}
LINK = re.compile(r"(\]\()(?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


class BrokenLink(ValueError):
    """A link of a page that leads nowhere."""


def rewritten(text: str, folder: Path, place: Path) -> str:
    """The text with links that work on the site.

    Args:
        text: a page.
        folder: where it lies in the repository.
        place: the folder in which the site has it.

    Raises:
        BrokenLink: naming the first link that leads to no file.
    """

    def target(found: re.Match[str]) -> str:
        to, anchor = found[2], found[3] or ""
        path = Path(os.path.normpath(folder / to))
        if not path.exists() and not path.is_relative_to(DOCS / "generated"):  # those are checked by Sphinx
            raise BrokenLink(f"a link in {folder.relative_to(ROOT)} leads to {to}, which is not there")
        name = path.relative_to(ROOT).as_posix()
        if name in TAKEN:
            path = DOCS / TAKEN[name]
        elif not path.is_relative_to(DOCS) or path.suffix not in {".md", ".png", ".ipynb"}:
            return f"{found[1]}{REPOSITORY}/{name}{anchor})"
        return f"{found[1]}{Path(os.path.relpath(path, place)).as_posix()}{anchor})"

    return LINK.sub(target, text)


def take_over() -> None:
    """Write the pages of ``TAKEN`` into the site."""
    for name, page in TAKEN.items():
        source, copy = ROOT / name, DOCS / page
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(
            rewritten(source.read_text(encoding="utf-8"), source.parent, copy.parent), encoding="utf-8"
        )
