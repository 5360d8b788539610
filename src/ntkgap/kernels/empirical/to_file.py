"""The empirical tangent kernel beyond memory: rows go to a file block by block, and an interrupted run goes on."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.inputs import Inputs
from ntkgap.kernels.empirical.ntk import OUTPUTS, KernelJob
from ntkgap.kernels.empirical.point import Point
from ntkgap.kernels.empirical.selection import ParameterSelection
from ntkgap.kernels.memory import check_budget, free_memory
from ntkgap.kernels.progress import tracked

# Rows of a block at most: more would lose more work where a run is interrupted.
MOST_ROWS = 1024

# Bytes that are hashed at a time.
HASHED_AT_ONCE = 1 << 24


def empirical_ntk_to_file(
    model: nn.Module,
    x1: Any,
    path: str | Path,
    x2: Any = None,
    outputs: str = "mean",
    *,
    parameters: ParameterSelection = None,
    memory_budget: int | None = None,
    dtype: torch.dtype | None = None,
    rows: int | None = None,
    progress: bool = False,
) -> np.memmap:
    r"""The kernel of :func:`empirical_ntk`, written to a file of NumPy's format that need not fit the memory.

    A block of rows is computed at a time, on the model's device; of a symmetric kernel from its diagonal on, and
    the rest is mirrored. After each block what is done is noted in ``path`` + ``.progress.json``: the same call
    goes on where an earlier one was interrupted, and of a finished kernel just opens the file.

    Args:
        model: as for ``empirical_ntk``; its parameters must not change between calls.
        x1: n1 inputs, as for ``empirical_ntk``.
        path: the file, ``.npy``; its folder exists.
        x2: other inputs; x1 if not given.
        outputs: ``"mean"`` [n1, n2], ``"sum"`` [n1, n2], ``"diagonal"`` [n1, n2, C] or ``"full"`` [n1, n2, C, C].
        parameters: as for ``empirical_ntk``.
        memory_budget: bytes beyond the model and the inputs; by default half of what is free.
        dtype: of the computation and of the file, float32 or float64; by default the model's own.
        rows: rows of a block; as many as fit the budget if not given, at most 1024.
        progress: show a progress bar over blocks.

    Returns:
        The kernel, opened for reading as by ``np.load(path, mmap_mode="r")``.

    Raises:
        KernelError: if an option is out of range, the file cannot be written, another process writes it, it is not
            this kernel (the message says what differs), or the disk has too little room.
        ModelError, DataError: as ``empirical_ntk``.

    Example:
        >>> kernel = ng.empirical_ntk_to_file(nn.Linear(5, 3), torch.randn(8, 5), "kernel.npy")
        >>> kernel.shape, kernel.dtype.name
        ((8, 8), 'float32')
    """
    if outputs not in OUTPUTS:
        raise KernelError(f"unknown outputs={outputs!r}; choose one of {', '.join(OUTPUTS)}")
    check_budget(memory_budget)
    if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
        raise KernelError(f"rows must be an integer of at least 1, got {rows!r}")
    point = Point(model, parameters, dtype)
    if point.float_dtype not in (torch.float32, torch.float64):
        raise KernelError(f"a kernel in {point.float_dtype} has no file format; pass dtype=torch.float32")
    symmetric = x2 is None or x2 is x1
    left = Inputs.of(x1, "x1", point.order)
    right = left if symmetric else Inputs.of(x2, "x2", point.order)
    classes = _classes(point, left)
    shape = (len(left), len(right), *{"full": (classes, classes), "diagonal": (classes,)}.get(outputs, ()))
    identity = {
        "model": _hash_of(model, point),
        "x1": _hash(left.tensors),
        "x2": None if symmetric else _hash(right.tensors),
        "parameters": list(point.leaves),
        "outputs": outputs,
        "dtype": str(point.float_dtype).removeprefix("torch."),
        "shape": list(shape),
    }
    budget = memory_budget or free_memory(point.device) // 2
    one_row = int(np.prod(shape[1:])) * point.float_dtype.itemsize
    height = rows or max(1, min(MOST_ROWS, len(left), budget // 4 // max(one_row, 1)))
    file = Path(path)
    if not file.parent.is_dir():
        raise KernelError(f"{file} cannot be written: there is no folder {file.parent}; make it first")
    try:
        with FileLock(f"{file}.lock", timeout=0), _File(file, identity, one_row * len(left)) as kernel:
            starts = [start for start in range(0, len(left), height) if start + height > kernel.done]
            for start in tracked(starts, "empirical NTK", progress):
                block = slice(max(start, kernel.done), min(start + height, len(left)))
                others = right[block.stop :] if symmetric and block.stop < len(left) else None
                settings = (outputs, parameters, max(1, budget * 3 // 4), dtype)
                kernel.write(block, _row_blocks(model, left[block], others, right, symmetric, settings))
    except Timeout:
        raise KernelError(f"another process writes {file}; wait for it, or choose another path") from None
    except OSError as error:
        raise KernelError(f"{file} cannot be written: {error}") from error
    return np.load(file, mmap_mode="r")


def _row_blocks(
    model: nn.Module, mine: Inputs, later: Inputs | None, right: Inputs, symmetric: bool, settings: tuple[Any, ...]
) -> Iterator[tuple[bool, Tensor]]:
    """Blocks of these rows, with whether they are mirrored: the square at the diagonal, and what is beyond it."""

    def computed(others: Inputs | None) -> Tensor:
        outputs, parameters, budget, dtype = settings
        found = KernelJob(model, mine, others, outputs, parameters, budget, dtype).run(False, False)
        assert isinstance(found, Tensor)
        return found

    if not symmetric:
        yield False, computed(right)
        return
    yield False, computed(None)
    if later is not None:
        yield True, computed(later)


class _File:
    """The kernel on disk, and the note of how many of its rows are done.

    Rows are written and reach the disk before the note does, which is replaced in one step: what it says is there.
    """

    def __init__(self, path: Path, identity: dict[str, Any], size: int) -> None:
        self._path, self._identity = path, identity
        self._note = Path(f"{path}.progress.json")
        self.done = self._look(size)
        self._symmetric = identity["x2"] is None

    def __enter__(self) -> "_File":
        mode = "r+" if self.done or self._path.exists() else "w+"
        shape, dtype = tuple(self._identity["shape"]), self._identity["dtype"]
        self._array = np.lib.format.open_memmap(self._path, mode=mode, dtype=dtype, shape=shape)
        if mode == "w+":
            self._say(0)
        return self

    def __exit__(self, *error: object) -> None:
        del self._array

    def _look(self, size: int) -> int:
        """How many rows an earlier call has left.

        Raises:
            KernelError: if what is there is not this kernel, or there is no room for it.
        """
        if not self._note.exists():
            if self._path.exists():
                raise KernelError(
                    f"{self._path} exists and is no kernel that was begun here (there is no {self._note.name}); "
                    "choose another path, or remove it"
                )
            if (room := shutil.disk_usage(self._path.parent).free) < size:
                raise KernelError(
                    f"the kernel takes {size / 1e9:.3g} GB, and {self._path.parent} has {room / 1e9:.3g} GB left; "
                    "choose another disk, fewer inputs or outputs='mean'"
                )
            return 0
        try:
            noted = json.loads(self._note.read_text())
            before, done = dict(noted["identity"]), int(noted["rows_done"])
        except (ValueError, KeyError, TypeError) as error:
            raise KernelError(f"{self._note} cannot be read ({error}); remove it and {self._path}") from error
        differing = [name for name, value in self._identity.items() if before.get(name) != value]
        if differing:
            raise KernelError(
                f"{self._path} was begun with another {', '.join(differing)}; choose another path, or remove it "
                f"and {self._note.name}"
            )
        if not self._path.exists():
            raise KernelError(
                f"{self._path} is gone, but {self._note} says that {done} rows are done; remove that"
            )
        return done

    def write(self, block: slice, parts: Iterator[tuple[bool, Tensor]]) -> None:
        """Rows of a block; of a symmetric kernel the columns below them, too."""
        start = block.start if self._symmetric else 0
        for mirrored, part in parts:
            found = part.detach().cpu().numpy()
            columns = slice(start, start + found.shape[1])
            self._array[block, columns] = found
            if mirrored:
                self._array[columns, block] = (
                    found.swapaxes(0, 1).swapaxes(2, 3) if found.ndim == 4 else (found.swapaxes(0, 1))
                )
            start = columns.stop
        self._array.flush()
        self._say(block.stop)

    def _say(self, done: int) -> None:
        self.done = done
        beside = Path(f"{self._note}.{os.getpid()}")
        beside.write_text(json.dumps({"identity": self._identity, "rows_done": done}, indent=1) + "\n")
        os.replace(beside, self._note)


def _classes(point: Point, x: Inputs) -> int:
    return point.values(point.inputs(x[:1])).shape[1]


def _hash_of(model: nn.Module, point: Point) -> str:
    """Of what the network is made of, and of its numbers; what its forward does beyond that is not seen."""
    tensors = {**point.leaves, **point.constants}
    return _hash([tensors[name] for name in sorted(tensors)], f"{model}{sorted(tensors)}")


def _hash(tensors: list[Tensor], text: str = "") -> str:
    """Of the numbers of some tensors, wherever they are."""
    found = hashlib.sha256(text.encode())
    for tensor in tensors:
        found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        flat = tensor.detach().to_dense().reshape(-1).contiguous().view(torch.uint8)
        for part in flat.split(HASHED_AT_ONCE):
            found.update(part.cpu().numpy().data)
    return found.hexdigest()
