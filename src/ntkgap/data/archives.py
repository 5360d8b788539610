"""Reading ``.npz`` archives: what they claim is checked before memory is taken for it."""

import zipfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ntkgap.data.limits import check_bytes
from ntkgap.errors import DataError, reason
from ntkgap.paths import is_file

ENDING = ".npy"


def read_npz(path: str | Path, keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read every array of an ``.npz`` file, or those of some keys.

    Raises:
        DataError: if the file is missing, is not an ``.npz`` file, holds what is not an array, or unpacks to more
            than data may take (see ``limits``).
    """
    path = Path(path)
    if not is_file(path):
        raise DataError(f"no data file at {path.absolute()}; give the path of an .npz file with arrays x and y")
    try:
        with path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                raise ValueError("it is a single array, as of .npy")
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(ENDING): info for info in archive.infolist()}
            if absent := [key for key in keys if key not in members]:
                raise DataError(
                    f"{path} has no array {', '.join(map(repr, absent))}; it has {', '.join(sorted(members))}"
                )
            chosen = {name: members[name] for name in keys or members}
            check_bytes(f"the arrays in {path}", sum(info.file_size for info in chosen.values()))
            if others := [name for name, info in chosen.items() if not _is_array(archive, info)]:
                raise ValueError(f"it holds files that are no arrays: {', '.join(others)}")
            return {name: _read_member(archive, info) for name, info in chosen.items()}
    except DataError:
        raise
    # Of a damaged file zip, its four ways of packing, and NumPy's parser of headers raise a dozen kinds of error.
    except Exception as error:
        raise DataError(f"{path} cannot be read as .npz ({reason(error)}); write it with numpy.savez") from error


def _is_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    with archive.open(info) as file:
        return file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array; its header must claim no more than the archive says is there.

    Raises:
        ValueError: if it does, or the array holds Python objects.
    """
    with archive.open(info) as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, which are not read from files")
        claimed = prod(int(size) for size in shape) * dtype.itemsize
        if claimed > info.file_size or min(shape, default=0) < 0:
            raise ValueError(
                f"the header of {info.filename} claims shape {_short(shape)} of {dtype}, but the archive holds "
                f"{info.file_size} bytes of it"
            )
    with archive.open(info) as file:
        return npy.read_array(file, allow_pickle=False)


def _short(shape: tuple[int, ...]) -> str:
    text = str(shape)
    return text if len(text) <= 80 else f"{text[:80]}…"
