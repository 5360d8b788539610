"""Where a report goes: a folder of its own, where it overwrites earlier reports of the same stores alone."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ntkgap.errors import StoreError
from ntkgap.paths import expanded
from ntkgap.sweep import Runs, Store

PAGE, TABLES, FIGURES = "report.html", ("results.csv", "verdicts.json"), "figures"
MOST_NAMES = 3  # of stores in that of a folder
_MARK = re.compile(r'<meta name="ntkgap-stores" content="([0-9a-f ]*)">')
_HEAD = 4000  # characters in which the mark is, near the beginning
_FOOT = "Made with ntkgap"  # in pages of versions that did not mark them


def page_of(path: str | os.PathLike[str]) -> Path:
    """The page that a path names: itself, or ``report.html`` in a folder."""
    path = expanded(path)
    return path if path.suffix.lower() in (".html", ".htm") else path / PAGE


def own_page(stores: Sequence[Path]) -> Path:
    """Where the report of stores goes if nobody says: of one into itself, of several beside the first."""
    if len(stores) == 1:
        return stores[0] / PAGE
    names = dict.fromkeys(store.resolve().name for store in stores)
    return stores[0].resolve().parent / f"report_of_{'_and_'.join([*names][:MOST_NAMES])}" / PAGE


def mark(page: Path, stores: Sequence[Path]) -> str:
    """What says in a page of which stores it is: where they lie beside it, so that all can be moved."""
    return " ".join(sorted({_fingerprint(page.parent, store) for store in stores}))


def check_own(page: Path, stores: Sequence[Path]) -> None:
    """Refuse a page beside which tables are that belong to something else.

    Args:
        page: to be written.
        stores: of which it is.

    Raises:
        StoreError: naming what is in the way.
    """
    folder = page.parent
    if Store.exists(folder):
        if {store.resolve() for store in stores} == {folder.resolve()}:
            return
        raise StoreError(
            f"{folder} is a store, and a report of others would overwrite its own; write into a folder of its own"
        )
    # Links are replaced: what they lead to is left alone.
    taken = [name for name in TABLES if (folder / name).exists() and not (folder / name).is_symlink()]
    if not taken or set(mark(page, stores).split()) & _marks(folder):
        return
    if _is_unmarked(page) and all(store.resolve().parent == folder.resolve() for store in stores):
        return
    raise StoreError(f"{folder / taken[0]} is of something else; write this report into a folder of its own")


def _marks(folder: Path) -> set[str]:
    """Fingerprints in the pages of a folder."""
    heads = (_read(file)[:_HEAD] for file in folder.glob("*.htm*"))
    return {each for head in heads if (found := _MARK.search(head)) for each in found[1].split()}


def _is_unmarked(page: Path) -> bool:
    text = _read(page)
    return _FOOT in text and not _MARK.search(text[:_HEAD])


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fingerprint(folder: Path, store: Path) -> str:
    try:
        place = Path(os.path.relpath(store.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        place = store.resolve().as_posix()
    return hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:16]


def stores_of(all_runs: Sequence[Runs]) -> list[Path]:
    """Where results lie, each once."""
    return list(dict.fromkeys(runs.path for runs in all_runs))
