"""The empirical tangent kernel beyond memory: rows go to a file block by block, and an interrupted run goes on.

Several processes may fill one file. Each claims a block of rows by the lock of a file of its own, which the
operating system releases when the process dies, and computes it. To write it, it opens the kernel's file while no
other process has it open, so that caches of network file systems are no danger.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.kernel_job import KernelJob, check_options
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.network.selection import ParameterSelection
from ntkgap.kernels.memory import free_memory
from ntkgap.kernels.progress import tracked

# Rows of a block at most: more would lose more work where a run is interrupted.
MOST_ROWS = 1024

# Bytes that are hashed at a time.
HASHED_AT_ONCE = 1 << 24

# Seconds after which a process that has nothing to begin looks again at what others do.
PATIENCE = 0.5


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

    Several processes may make the same call at once, on one machine or on several that see the file (their file
    system must have locks): they share the blocks, each of which is computed once, and all return when the kernel
    is whole. A process that is killed loses the block in hand, which another one takes over.

    Args:
        model: as for ``empirical_ntk``; its parameters must not change between calls.
        x1: n1 inputs, as for ``empirical_ntk``.
        path: the file, ``.npy``; its folder exists.
        x2: other inputs; x1 if not given.
        outputs: ``"mean"`` [n1, n2], ``"sum"`` [n1, n2], ``"diagonal"`` [n1, n2, C] or ``"full"`` [n1, n2, C, C].
        parameters: as for ``empirical_ntk``.
        memory_budget: bytes beyond the model and the inputs; by default half of what is free.
        dtype: of the computation and of the file, float32 or float64; by default the model's own.
        rows: rows of a block; as many as fit the budget if not given, at most 1024. A file that is begun keeps
            its own.
        progress: show a progress bar over blocks.

    Returns:
        The kernel, opened for reading as by ``np.load(path, mmap_mode="r")``.

    Raises:
        KernelError: if an option is out of range, the file cannot be written or locked, it is not this kernel (the
            message says what differs), or the disk has too little room.
        ModelError, DataError: as ``empirical_ntk``.

    Example:
        >>> kernel = ng.empirical_ntk_to_file(nn.Linear(5, 3), torch.randn(8, 5), "kernel.npy")
        >>> kernel.shape, kernel.dtype.name
        ((8, 8), 'float32')
    """
    check_options(outputs, memory_budget)
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
    settings = (outputs, parameters, max(1, budget * 3 // 4), dtype)
    try:
        kernel = _File(file, identity, one_row * len(left), height)
        with contextlib.closing(kernel.claimed()) as blocks:  # an error, too, gives the block in hand back
            for block in tracked(blocks, "empirical NTK", progress, kernel.left):
                others = right[block.stop :] if symmetric and block.stop < len(left) else None
                kernel.write(block, list(_row_blocks(model, left[block], others, right, symmetric, settings)))
    except NotImplementedError as error:
        raise KernelError(f"{file} cannot be shared: {error}; choose a disk of this machine") from error
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
    """The kernel on disk, and the note of which blocks of its rows are done.

    Rows are written and reach the disk before the note does, which is replaced in one step: what it says is there.
    """

    def __init__(self, path: Path, identity: dict[str, Any], size: int, height: int) -> None:
        self._path, self._identity, self._symmetric = path, identity, identity["x2"] is None
        self._note, self._claims = Path(f"{path}.progress.json"), Path(f"{path}.claims")
        self._lock = FileLock(f"{path}.lock")
        with self._lock:
            if not self._note.exists():
                self._check_place(size)
                self._say(height, set())
            self._height, done = self._look(height)
            if not self._path.exists():
                self._make()
        self._starts = range(0, identity["shape"][0], self._height)
        self.left = len(self._starts) - len(done)

    def claimed(self) -> Generator[slice, None, None]:
        """Blocks that nobody else computes, until all are done; each is ours until the next is asked for."""
        while left := self._undone():
            begun = False
            for start in left:
                with contextlib.suppress(Timeout), FileLock(self._claims / str(start), timeout=0):
                    if start in self._undone():
                        begun = True
                        yield slice(start, min(start + self._height, self._identity["shape"][0]))
            if not begun:
                time.sleep(PATIENCE)
        shutil.rmtree(self._claims, ignore_errors=True)

    def _undone(self) -> list[int]:
        """Where blocks begin that are not done."""
        done = self._noted()[2]
        return [start for start in self._starts if start not in done]

    def _check_place(self, size: int) -> None:
        """Refuse to begin a kernel where something else is, or where it has no room.

        Raises:
            KernelError: saying which.
        """
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

    def _look(self, height: int) -> tuple[int, set[int]]:
        """Rows of a block, and which blocks are done.

        Args:
            height: of blocks where the note does not say.

        Raises:
            KernelError: if what is there is not this kernel.
        """
        before, noted, done = self._noted(height)
        differing = [name for name, value in self._identity.items() if before.get(name) != value]
        if differing:
            raise KernelError(
                f"{self._path} was begun with another {', '.join(differing)}; choose another path, or remove it "
                f"and {self._note.name}"
            )
        if done and not self._path.exists():
            raise KernelError(
                f"{self._path} is gone, but {self._note} says that {len(done)} blocks are done; remove that"
            )
        if noted is None:
            self._say(height, done)
        return noted or height, done

    def _noted(self, height: int = 1) -> tuple[dict[str, Any], int | None, set[int]]:
        """What kernel the note is of, the rows of a block if it says so, and where the blocks begin that are done.

        Raises:
            KernelError: if it cannot be read.
        """
        try:
            noted = json.loads(self._note.read_text())
            identity = dict(noted["identity"])
            if "rows_done" not in noted:
                return identity, int(noted["rows"]), {int(start) for start in noted["done"]}
            # Written by a process that filled the file alone, from the first row on.
            rows, n = int(noted["rows_done"]), identity["shape"][0]
            return identity, None, {s for s in range(0, rows, height) if min(s + height, n) <= rows}
        except (ValueError, KeyError, TypeError) as error:
            raise KernelError(f"{self._note} cannot be read ({error}); remove it and {self._path}") from error

    def write(self, block: slice, parts: list[tuple[bool, Tensor]]) -> None:
        """Rows of a block; of a symmetric kernel the columns below them, too."""
        arrays = [(mirrored, part.detach().cpu().numpy()) for mirrored, part in parts]
        start = block.start if self._symmetric else 0
        with self._lock:
            kernel = self._open(self._path, "r+")
            for mirrored, found in arrays:
                columns = slice(start, start + found.shape[1])
                kernel[block, columns] = found
                if mirrored:
                    kernel[columns, block] = (
                        found.swapaxes(0, 1).swapaxes(2, 3) if found.ndim == 4 else found.swapaxes(0, 1)
                    )
                start = columns.stop
            kernel.flush()
            del kernel
            self._say(self._height, self._noted()[2] | {block.start})

    def _make(self) -> None:
        """The file, all its room taken: writing to a hole of a mapped file on a full disk kills the process.

        It has another name until then: a process that dies meanwhile leaves nothing that passes for whole.
        """
        beside = Path(f"{self._path}.new")
        try:
            self._open(beside, "w+")
            with beside.open("r+b") as file:
                _take_room(file.fileno())
            os.replace(beside, self._path)
        finally:
            beside.unlink(missing_ok=True)

    def _open(self, path: Path, mode: str) -> np.memmap:
        shape, dtype = tuple(self._identity["shape"]), self._identity["dtype"]
        return np.lib.format.open_memmap(path, mode=mode, dtype=dtype, shape=shape)

    def _say(self, height: int, done: set[int]) -> None:
        beside = Path(f"{self._note}.{os.getpid()}")
        noted = {"identity": self._identity, "rows": height, "done": sorted(done)}
        beside.write_text(json.dumps(noted, indent=1) + "\n")
        os.replace(beside, self._note)


def _take_room(descriptor: int) -> None:
    """Have the file system reserve what a file holds, where it can."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise


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
