"""Stores of several machines, joined into one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntkgap.errors import StoreError
from ntkgap.paths import expanded
from ntkgap.sweep.compute_cell import FAILURE, RESULT
from ntkgap.sweep.files import write_bytes_atomically
from ntkgap.sweep.run import warn_of_unjudged
from ntkgap.sweep.store import Store
from ntkgap.sweep.stored import StoredCell, unreadable
from ntkgap.sweep.study import Result, describe

Configuration = Mapping[str, Any]
SHOWN = 5  # conflicts that a message names


@dataclass(frozen=True)
class _Label:
    """What a store is called by."""

    name: str
    version: int


def merge_stores(
    sources: Sequence[str | Path],
    into: str | Path,
    join: Callable[[Configuration, Configuration], Configuration] = lambda first, second: {**first, **second},
) -> Path:
    """Join stores of one study: every cell once, and nothing of what is there lost or overwritten.

    A cell that is done in one store and has failed in another, or was not computed, is done. Of a cell that is
    done in several the numbers must be the same, but for those read from a clock. All is compared before anything
    is written. Merging again goes on where a merge was interrupted, and adds what has been computed since.

    Args:
        sources: directories of the stores; they are read alone.
        into: directory of the joined one; made if there is none, else it must be a store of the same study.
        join: makes one configuration of two, the second of which is that of the later source.

    Returns:
        The directory.

    Raises:
        StoreError: if a store cannot be read, they are of different studies or versions, were filled by looks at
            different seeds, or hold different numbers of the same configuration; or if nothing can be written.
    """
    into = expanded(into)
    stores = [Store(path) for path in ([into] if Store.exists(into) else []) + [expanded(p) for p in sources]]
    if not stores:
        raise StoreError("there is nothing to merge; name at least one store")
    meta = _joined_meta(stores, join)
    chosen = _chosen(stores, meta["axes"])
    target = Store.create(into, _Label(meta["study"], meta["version"]))
    with target.locked():
        target.describe_as({key: value for key, value in meta.items() if value is not None})
        for stored in chosen.values():
            _copy(stored, target)
    warn_of_unjudged(target, (stored.cell for stored in chosen.values()))
    return target.path


def _joined_meta(
    stores: Sequence[Store], join: Callable[[Configuration, Configuration], Configuration]
) -> dict[str, Any]:
    """What the stores say of themselves, in one.

    Raises:
        StoreError: if that does not go together.
    """
    first, *others = stores
    joined: dict[str, Any] = {"axes": [], "configuration": {}, "looks": None, **first.meta}
    for store in others:
        for key, what in (
            ("study", "the study"),
            ("version", "version"),
            ("axes", "the axes"),
            ("looks", "looks"),
        ):
            ours, theirs = joined.get(key), store.meta.get(key)
            if ours and theirs and ours != theirs:
                advice = (
                    "seeds added by different looks cannot be judged together"
                    if key == "looks"
                    else "their numbers do not mix: give each a store of its own"
                )
                raise StoreError(
                    f"{first.path} holds {what} {_short(ours)}, and {store.path} {_short(theirs)}; {advice}"
                )
            joined[key] = ours or theirs
        joined["configuration"] = dict(join(joined["configuration"], store.meta.get("configuration", {})))
    return joined


def _short(value: Any) -> str:
    text = repr(value["seeds"] if isinstance(value, dict) else value)
    return text if len(text) < 80 else f"{text[:80]}…"


def _chosen(stores: Sequence[Store], axes: Sequence[str]) -> dict[str, StoredCell]:
    """Of every cell the one to keep, by the name of its directory.

    Raises:
        StoreError: naming cells whose numbers differ.
    """
    rank = {"pending": 0, "failed": 1, "done": 2}
    chosen: dict[str, StoredCell] = {}
    states: dict[str, str] = {}
    conflicts = []
    for store in stores:
        for stored in store.cells():
            name, state = stored.directory.name, stored.state
            if state == states.get(name) == "done":
                if different := _difference(chosen[name].result(), stored.result()):
                    places = f"{chosen[name].directory} and {stored.directory}"
                    conflicts.append(f"{describe(stored.cell, axes)} ({different} in {places})")
            elif rank[state] > rank.get(states.get(name, ""), -1):
                chosen[name], states[name] = stored, state
    if conflicts:
        more = f", and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
        raise StoreError(
            f"{len(conflicts)} cells of the same configuration hold different numbers: "
            f"{'; '.join(conflicts[:SHOWN])}{more}. Nothing was merged; find out why they differ (another version "
            "of torch, another processor), and remove the directories that are not to be trusted"
        )
    return chosen


def _difference(one: Result, other: Result) -> str:
    """The first part in which two results differ that were not read from a clock; empty if there is none."""
    for part in sorted({*one, *other} - {"seconds"}):
        ours, theirs = one.get(part), other.get(part)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for name in [*ours, *(n for n in theirs if n not in ours)]:
                if ours.get(name) != theirs.get(name) and not name.startswith("seconds"):
                    return name
        elif ours != theirs:
            return part
    return ""


def _copy(stored: StoredCell, target: Store) -> None:
    """Put a cell into a store, byte by byte as it is."""
    there = target.add(stored.cell)
    state = stored.state
    if state == "pending" or there.directory == stored.directory or there.state == "done":
        return
    name = RESULT if state == "done" else FAILURE
    try:
        content = (stored.directory / name).read_bytes()
    except OSError as error:
        raise unreadable(stored.directory / name, error) from error
    with target.writing():
        write_bytes_atomically(there.directory / name, content)
        if state == "done":
            there.forget_failure()
