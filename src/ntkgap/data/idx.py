"""The IDX format of MNIST: a magic number, the lengths of the axes, then bytes."""

import struct
from pathlib import Path

import numpy as np

from ntkgap.data.files import damaged, read_bytes

UNSIGNED_BYTE = 0x08


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    The layout is two zero bytes, one byte for the type, one for the number of axes, the length of each axis as a
    big-endian 32-bit integer, and the entries in row-major order (LeCun, Cortes, Burges, *The MNIST database*).

    Args:
        path: the file.
        ndim: number of axes it must have.

    Returns:
        Array of uint8 with ``ndim`` axes.

    Raises:
        DataError: if the file cannot be read, or its magic number or its length is wrong.
    """
    content = read_bytes(path)
    magic = bytes([0, 0, UNSIGNED_BYTE, ndim])
    if content[:4] != magic:
        raise damaged(path, f"it begins with {content[:4].hex() or 'nothing'}, not with {magic.hex()}")
    header = 4 + 4 * ndim
    if len(content) < header:
        raise damaged(path, f"it ends within its header, after {len(content)} bytes")
    shape = struct.unpack(f">{ndim}I", content[4:header])
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise damaged(
            path, f"its header says shape {shape}, which takes {expected} bytes, but it has {len(content)}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
