"""Files of this machine that cells need, packed by content for machines that share no disk with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any

from ntkgap.errors import StudyError
from ntkgap.sweep.study import WHERE, Cell, Supplies
from ntkgap.sweep.user_files import source_files

FILES = "files"
"""Key of supplies under which a study lists files of the user's: folder -> paths in it. Cells name the folder."""


@dataclass(frozen=True)
class Parcel:
    """Files, and which paths of this machine they stand for.

    Attributes:
        contents: by path within the parcel.
        places: path on this machine (of a file or a folder) -> path within the parcel.
    """

    contents: dict[str, bytes] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def unpack(self, folder: Path) -> None:
        """Write the files into a folder.

        Raises:
            OSError: if it cannot be written to.
        """
        for name, content in self.contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def moved(self, value: Any, folder: Path) -> Any:
        """The same value with paths of the packing machine replaced by those below a folder."""
        if isinstance(value, Mapping):
            return {self.moved(key, folder): self.moved(part, folder) for key, part in value.items()}
        if isinstance(value, list):
            return [self.moved(part, folder) for part in value]
        if not isinstance(value, str):
            return value
        if value in self.places:
            return str(folder / self.places[value])
        path, colon, name = value.rpartition(":")
        return f"{folder / self.places[path]}:{name}" if colon and path in self.places else value

    def moved_cell(self, cell: Cell, folder: Path) -> Cell:
        """A cell that finds its files below a folder; all else is what it was."""
        return {
            key: self.moved(value, folder)
            if key == WHERE
            else (self.moved_cell(value, folder) if isinstance(value, dict) else value)
            for key, value in cell.items()
        }


def pack(compute: str, supplies: Supplies) -> Parcel:
    """What the cells of a run need of this machine's files: those that these name.

    Raises:
        StudyError: if one cannot be read.
    """
    parcel = Parcel()
    try:
        for folder, names in supplies.get(FILES, {}).items():
            _add(parcel, Path(folder), [Path(folder, name) for name in names], folder)
        rest = {key: value for key, value in supplies.items() if key != FILES}
        for text in (compute, *_texts(rest)):
            for path in (text, text.rpartition(":")[0]):
                if (
                    path not in parcel.places
                    and Path(path).is_absolute()
                    and len(path) < 4096
                    and Path(path).is_file()
                ):
                    files = source_files(Path(path)) if path.endswith(".py") else [Path(path)]
                    _add(parcel, Path(commonpath([file.parent for file in files])), files, path)
    except OSError as error:
        raise StudyError(f"cannot send a file to the workers: {error}") from error
    return parcel


def _add(parcel: Parcel, root: Path, files: list[Path], named: str) -> None:
    """Add files; each set has a folder of its own, so that nothing lies beside what it did not lie beside here."""
    own = str(len(parcel.places))
    for file in files:
        parcel.contents[f"{own}/{file.relative_to(root)}"] = file.read_bytes()
    parcel.places[named] = str(Path(own, Path(named).relative_to(root)))


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []
