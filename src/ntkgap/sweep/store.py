"""Where results live: one directory a cell, readable without ntkgap.

::

    STORE/ntkgap.json                  which study wrote this, in which version, with which configuration
    STORE/workspace/<hash>/signac_statepoint.json     the cell's configuration; the hash is of it
    STORE/workspace/<hash>/result.json | failure.json  what came of it

A cell without either file has not been computed. Files appear whole or not at all, so a process may be
killed at any moment.
"""

import contextlib
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from ntkgap.errors import StoreError, reason
from ntkgap.paths import expanded
from ntkgap.sweep.cell_directory import (
    Damaged,
    has_configuration,
    name_and_text,
    names_in,
    parse_configuration,
    read_configuration,
    write_configuration,
)
from ntkgap.sweep.file_contents import fault_of_cell, fault_of_meta
from ntkgap.sweep.files import collector_paused, in_threads, write_json
from ntkgap.sweep.stored import REMEDY, StoredCell, read_checked, unreadable, writing_to
from ntkgap.sweep.study import Cell, Study, identity

FORMAT = 1
META, WORKSPACE = "ntkgap.json", "workspace"
LOCK, CHOOSING = ".lock", ".choosing"
REMEDY_OF_META = "restore it: the results are in the directories below workspace, and are not lost"


class Labeled(Protocol):
    """Whatever a store can be of."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def version(self) -> int: ...  # noqa: D102


class Store:
    """A directory of results of one study.

    Args:
        path: the directory; it must have been made by ``Store.create``.

    Raises:
        StoreError: if there is no store at ``path``, or another version of ntkgap wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        if not self.exists(path):
            raise StoreError(
                f"there is no ntkgap store at {self.path.absolute()} (no {META}); "
                "'ntkgap run --store DIRECTORY' makes one"
            )
        self.meta = read_checked(self.path / META, fault_of_meta, REMEDY_OF_META)
        if self.meta.get("format") != FORMAT:
            raise StoreError(
                f"the store {self.path} has format {self.meta.get('format')!r}, this version of ntkgap reads "
                f"format {FORMAT}; use a new store, or the version that wrote it"
            )
        self._workspace = self.path.absolute() / WORKSPACE

    @classmethod
    def create(cls, path: str | Path, study: Labeled) -> "Store":
        """Open the store of a study, making it if there is none.

        Raises:
            StoreError: if the directory holds something else, another study's results or those of
                another version of this study, or cannot be written to.
        """
        path = expanded(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
        except (OSError, ValueError) as error:  # a ValueError of a zero byte in the name
            raise StoreError(
                f"cannot make the store {path}: {error}; choose a directory you can write to"
            ) from error
        if strangers and META not in strangers:
            raise StoreError(
                f"{path} is no ntkgap store but is not empty (it holds {', '.join(strangers[:3])}); "
                "choose a new or an empty directory"
            )
        if not strangers:
            with writing_to(path):
                write_json(path / META, {"format": FORMAT, "study": study.name, "version": study.version})
        return cls.open_for(path, study)

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Whether there is a store at ``path``.

        Raises:
            StoreError: if one may not look there.
        """
        meta = expanded(path) / META
        try:
            os.stat(meta)
        except PermissionError as error:
            raise unreadable(meta, error) from error
        except (OSError, ValueError):  # none, a name that is too long, or a zero byte in it
            return False
        return meta.is_file()

    @classmethod
    def open_for(cls, path: str | Path, study: Labeled) -> "Store":
        """Open the store at ``path`` for more results of a study.

        Raises:
            StoreError: if there is none, or it holds another study's results or those of another version.
        """
        store = cls(path)
        if store.meta["study"] != study.name:
            raise StoreError(
                f"the store {path} holds the study {store.meta['study']!r}, not {study.name!r}; "
                "give each study a store of its own"
            )
        if store.meta["version"] != study.version:
            raise StoreError(
                f"the store {path} holds version {store.meta['version']} of the study {study.name!r}, this "
                f"ntkgap computes version {study.version}: their numbers do not mix; use a new store"
            )
        return store

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store while cells are planned; the operating system lets go of it if the process dies.

        Raises:
            StoreError: if another run holds it for too long.
        """
        with self._held(LOCK, 60.0, "is being planned by another run, or used by an earlier version of ntkgap"):
            yield

    @contextlib.contextmanager
    def choosing(self) -> Iterator[None]:
        """Be the one run that chooses cells as results come in.

        Raises:
            StoreError: if there is another.
        """
        with self._held(CHOOSING, 0.0, "is being decided by another run"):
            yield

    @contextlib.contextmanager
    def _held(self, name: str, timeout: float, why: str) -> Iterator[None]:
        lock = FileLock(self.path / name)
        with self.writing():
            try:
                lock.acquire(timeout=timeout)
            except Timeout as error:
                raise StoreError(
                    f"the store {self.path} {why}; wait for it to end or use another store"
                ) from error
            except NotImplementedError as error:
                raise StoreError(
                    f"the file system of {self.path} has no locks; put the store elsewhere, such as a folder of "
                    "this machine, and join stores by 'ntkgap merge'"
                ) from error
        try:
            yield
        finally:
            lock.release()

    @collector_paused()
    def look_up(self, cells: Iterable[Cell]) -> list[StoredCell]:
        """Cells as the store has them, without writing anything."""
        return [self.find(cell) for cell in cells]

    @collector_paused()
    def plan(self, study: Study, cells: Iterable[Cell]) -> list[StoredCell]:
        """Note cells of a study in the store, so that they show as pending until they are computed."""
        self.note(study)
        planned = [self._named(cell) for cell in cells]
        with self.writing():
            whole = in_threads(lambda one: has_configuration(one[0].directory, one[1]), planned)
            for (stored, text), is_whole in zip(planned, whole, strict=True):
                if not is_whole:
                    write_configuration(stored.directory, text)
        return [stored for stored, _ in planned]

    def note(self, study: Study, **more: Any) -> None:
        """Write down what the study was asked to do, and more that readers of the store must know."""
        self.describe_as({"axes": list(study.axes), "configuration": dict(study.configuration()), **more})

    def describe_as(self, meta: Mapping[str, Any]) -> None:
        """Write down what readers of the store must know."""
        with self.writing():
            # Another run may have written since this one has read.
            self.meta = read_checked(self.path / META, fault_of_meta, REMEDY_OF_META) | dict(meta)
            write_json(self.path / META, self.meta)

    def add(self, cell: Cell) -> StoredCell:
        """Note a single cell, so that it shows as pending until it is computed."""
        stored, text = self._named(cell)
        with self.writing():
            write_configuration(stored.directory, text)
        return stored

    def find(self, cell: Cell) -> StoredCell:
        """A cell as the store has it, without writing anything."""
        return self._named(cell)[0]

    @collector_paused()
    def cells(self, known: Mapping[str, StoredCell] | None = None) -> list[StoredCell]:
        """Every cell the store knows, computed or not, ordered along the study's axes.

        Args:
            known: those that were read before, by name of their directory; they are not read again.

        Raises:
            StoreError: if a cell's configuration is damaged.
        """
        known = known or {}
        axes = self.meta.get("axes", [])
        names = self._names()
        found = [known[name] for name in names if name in known]
        found += self._read(name for name in names if name not in known)
        return sorted(found, key=lambda c: ([_sortable(c.cell.get(a)) for a in axes], c.directory.name))

    @collector_paused()
    def beside(self, known: Container[str]) -> list[StoredCell]:
        """Every cell the store knows but those in directories of these names, in no order.

        Raises:
            StoreError: as of ``cells``.
        """
        return self._read(name for name in self._names() if name not in known)

    def _read(self, names: Iterable[str]) -> list[StoredCell]:
        found, axes = [], self.meta.get("axes", [])
        paths = [self._workspace / name for name in names]
        for path, text in zip(paths, in_threads(_text, paths), strict=True):
            if text is None:
                continue
            try:
                cell = parse_configuration(text, path.name)
            except Damaged as error:
                raise StoreError(f"the configuration of the cell in {path} is damaged; {REMEDY}") from error
            if fault := fault_of_cell(cell, axes, text):
                raise StoreError(f"the configuration of the cell in {path} is damaged ({fault}); {REMEDY}")
            found.append(StoredCell(cell, path))
        return found

    def _names(self) -> list[str]:
        try:
            return names_in(self._workspace)
        except PermissionError as error:
            raise unreadable(self._workspace, error) from error
        except OSError as error:
            raise StoreError(f"the cells in {self.path} cannot be listed: {reason(error)}; {REMEDY}") from error

    def _named(self, cell: Cell) -> tuple[StoredCell, bytes]:
        """A cell with its directory, and what its file has to hold."""
        name, text = name_and_text(identity(cell))
        return StoredCell(cell, self._workspace / name), text

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Name the store where the operating system refuses to write."""
        return writing_to(self.path)


def _text(directory: Path) -> bytes | None:
    try:
        return read_configuration(directory)
    except OSError as error:
        raise unreadable(directory, error) from error


def _sortable(value: Any) -> tuple[bool, float, str]:
    if isinstance(value, int | float):
        return False, float(value), ""
    return True, 0.0, str(value)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested configuration: ``{"data": {"dim": 32}}`` becomes ``{"data.dim": 32}``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
