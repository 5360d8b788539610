"""A device for tests: tensors report ``sim:0``, hold the CPU's numbers and refuse to be mixed with CPU tensors.

Torch's private-use backend, registered from Python. Memory is the CPU's, handed over by DLPack, so that views,
saved tensors and `torch.func` work as on any device. Every operation ends in ``_on_the_cpu`` below, which computes
with the CPU's kernel after it has checked that all tensors lie on one device: numbers are those of the CPU, and
what a GPU would refuse (a tensor or generator of the CPU, ``.numpy()``) is refused here as well.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "sim"
CPU, PRIVATE_USE = 1, 12  # of DLPack: kDLCPU, kDLExtDev
CROSSING = {"aten::_copy_from", "aten::_copy_from_and_resize"}  # what carries numbers between devices
INDEXING = {
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
}  # take indices of the CPU
CODES = {torch.bool: 6, torch.bfloat16: 4}
PLAIN = {type(None), bool, int, float, str, torch.dtype}  # arguments that lie on no device
SIZES = [ctypes.c_int64 * n for n in range(16)]  # arrays, by their length


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


class _Memory:
    """What the memory of tensors belongs to, until torch lets go of them.

    Torch tells of that by a call of a C function with the address of the struct. No Python may run there, in the
    midst of whatever else: C's ``time`` writes over the struct's first field, ``data``, and that is seen later on.
    """

    let_go = ctypes.cast(ctypes.CDLL(None).time, ctypes.c_void_p)

    def __init__(self) -> None:
        self._held: list[tuple[_DLTensor, int | None, tuple[Any, ...]]] = []
        self._limit = 512
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._held))  # some live to the end of the process

    def hold(self, managed: _DLTensor, *owners: Any) -> None:
        self._held.append((managed, managed.data, owners))
        if len(self._held) >= self._limit:
            self._held[:] = [entry for entry in self._held if entry[0].data == entry[1]]
            self._limit = 2 * len(self._held) + 512


_memory = _Memory()
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype, _capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


def _code(dtype: torch.dtype) -> int:
    if dtype in CODES:
        return CODES[dtype]
    if dtype.is_complex:
        return 5
    if dtype.is_floating_point:
        return 2
    return 0 if dtype.is_signed else 1


def _seen_as(tensor: Tensor, device: int) -> Tensor:
    """The same memory as a tensor of another device."""
    storage = tensor.untyped_storage()
    if device == CPU and not storage.nbytes():
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)  # which can be resized
    n, bits = tensor.dim(), 8 * tensor.element_size()
    shape, strides = SIZES[n](*tensor.shape), SIZES[n](*tensor.stride())
    start, code = tensor.data_ptr() or None, _code(tensor.dtype)
    managed = _DLTensor(start, device, 0, n, code, bits, 1, shape, strides, 0, None, _memory.let_go)
    _memory.hold(managed, shape, strides, storage)
    return torch._C._from_dlpack(_capsule(ctypes.addressof(managed), b"dltensor", None))


_refused: dict[str, Any] = {"float64": False, "bytes": None}
_told: list[tuple[int, int]] = [(2**34, 2**34)]  # bytes that are free, and all


@contextmanager
def without_float64() -> Iterator[None]:
    """Within, the device has no float64, as Apple's."""
    _refused["float64"] = True
    try:
        yield
    finally:
        _refused["float64"] = False


@contextmanager
def with_memory(size: int) -> Iterator[None]:
    """Within, a tensor of more bytes than this is out of memory."""
    _refused["bytes"] = size
    try:
        yield
    finally:
        _refused["bytes"] = None


@contextmanager
def telling_of_memory(free: int, total: int) -> Iterator[None]:
    """Within, the device says that it has so much memory."""
    _told.append((free, total))
    try:
        yield
    finally:
        _told.pop()


def _to_sim(tensor: Tensor) -> Tensor:
    if _refused["float64"] and tensor.dtype in (torch.float64, torch.complex128):
        raise TypeError(f"Cannot convert a tensor to float64: {NAME} does not support it, as mps")
    if _refused["bytes"] is not None and tensor.nbytes > _refused["bytes"]:
        raise torch.OutOfMemoryError(f"{NAME} out of memory. Tried to allocate {tensor.nbytes} bytes")
    return _seen_as(torch.zeros_like(tensor) if tensor._is_zerotensor() else tensor, PRIVATE_USE)


class _Call:
    """Arguments of one operation, on the way to the CPU and back."""

    def __init__(self, name: str) -> None:
        self.name, self.pairs, self.foreign = name, [], []  # type: ignore[var-annotated]

    def moved(self, value: Any) -> Any:
        if type(value) in PLAIN:
            return value
        if isinstance(value, Tensor):
            if value.device.type != NAME:
                self.foreign.append(value)
                return value
            for outside, inside in self.pairs:
                if outside is value:
                    return inside
            alias = _seen_as(value, CPU)
            self.pairs.append((value, alias))
            return alias
        if isinstance(value, list | tuple):
            return type(value)(map(self.moved, value))
        if isinstance(value, torch.Generator):
            raise RuntimeError(f"{self.name}: expected a '{NAME}' device type for generator but found 'cpu'")
        return torch.device("cpu") if isinstance(value, torch.device) else value

    def fresh(self, out: Tensor) -> Tensor:
        """An empty tensor in the place of one that is written to."""
        found = torch.empty(0, dtype=out.dtype)
        self.pairs = [(o, found if o is out else i) for o, i in self.pairs]
        return found

    def check(self, args: Any) -> None:
        if self.name in CROSSING:
            return
        allowed = args[1] if self.name in INDEXING else ()
        for value in self.foreign:
            if not any(value is index for index in allowed) and (value.dim() or value.device.type != "cpu"):
                found = f"{NAME}:0 and {value.device}"
                raise RuntimeError(
                    f"{self.name}: expected all tensors to be on the same device, but found {found}"
                )

    def back(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            for outside, inside in self.pairs:
                if inside is value:
                    return outside
            return _to_sim(value)
        return type(value)(map(self.back, value)) if isinstance(value, list | tuple) else value


@functools.cache
def _schema(op: Any) -> tuple[str, list[str], bool]:
    """Name of an operation, names of what it writes into, and whether it writes into any argument."""
    found = op._schema
    return found.name, [argument.name for argument in found.arguments if argument.is_out], found.is_mutable


def _on_the_cpu(op: Any, *args: Any, **kwargs: Any) -> Any:
    name, outs, writes = _schema(op)
    call = _Call(name)
    inner, named = call.moved(args), {key: call.moved(value) for key, value in kwargs.items()}
    call.check(args)
    for out in outs:
        if isinstance(kwargs.get(out), Tensor):  # torch may resize it
            named[out] = call.fresh(kwargs[out])
    if call.name in CROSSING:
        (inner[1].resize_(inner[0].shape) if "resize" in call.name else inner[1]).copy_(inner[0])
        return args[1]
    result = op(*inner, **named)
    for outside, inside in call.pairs if writes else ():
        if outside.shape != inside.shape or not outside.numel():
            outside.data = _to_sim(inside)
        elif outside.data_ptr() != inside.data_ptr():
            _seen_as(outside, CPU).copy_(inside)
    return call.back(result)


_library, _aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")


def _whole() -> Iterator[tuple[str, Any]]:
    """Operations that torch would take apart, into an empty result and another operation that fills it.

    But for those that change the strides of their argument, or are about them alone.
    """
    for full in torch._C._dispatch_get_all_op_names():
        if torch._C._dispatch_has_kernel_for_dispatch_key(full, "CompositeExplicitAutogradNonFunctional"):
            space, _, name = full.partition("::")
            packet, _, overload = name.partition(".")
            if space == "aten" and "copy" not in packet and "strided" not in packet:
                yield name, getattr(getattr(torch.ops.aten, packet), overload or "default")


def _convolution(x: Tensor, *rest: Any) -> Tensor:
    return _on_the_cpu(torch.ops.aten.convolution.default, x, *rest)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Any:
    *sizes, mask = rest
    return _on_the_cpu(torch.ops.aten.convolution_backward.default, grad, x, weight, None, *sizes, mask)


def _lstm_cell(x: Tensor, h: Tensor, c: Tensor, b1: Any = None, b2: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    gates = x + h if b1 is None else x + b1 + h + b2
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    after = f * c + i * g
    return o * after.tanh(), after, torch.cat([i, f, g, o], 1)


def _gru_cell(x: Tensor, h: Tensor, before: Tensor, b1: Any = None, b2: Any = None) -> tuple[Tensor, Tensor]:
    (r, z, n), (hr, hz, hn) = (x if b1 is None else x + b1).chunk(3, 1), (h if b2 is None else h + b2).chunk(3, 1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    n = (n + r * hn).tanh()
    return (before - n) * z + n, torch.cat([r, z, n, before, hn], 1)


_deepcopy = torch.Tensor.__deepcopy__


def _copied(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """Torch copies the storage, which takes an allocator written in C++."""
    if self.device.type != NAME:
        return _deepcopy(self, memo)
    if id(self) not in memo:
        memo[id(self)] = self.detach().clone().requires_grad_(self.requires_grad)
    return memo[id(self)]


class _Module(_DummyBackendModule):  # type: ignore[misc]
    """What ``torch.get_device_module`` gives."""

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Nothing is drawn on the device itself."""

    @staticmethod
    def get_rng_state(device: Any = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    @staticmethod
    def set_rng_state(state: Tensor, device: Any = None) -> None:
        """There is none."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        """Asked for by ``torch.utils.checkpoint``, in tests that have nothing to do with the device, too."""
        return [torch.float16, torch.bfloat16]

    @staticmethod
    def mem_get_info(device: Any = None) -> tuple[int, int]:
        return _told[-1]

    def synchronize(self, device: Any = None) -> None:
        """There is nothing to wait for."""


def register() -> torch.device:
    """Once a process, before its first backward pass: the device ``sim:0``."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME, _Module())
        _library.fallback(_on_the_cpu, "PrivateUse1")
        torch.Tensor.__deepcopy__ = _copied  # type: ignore[method-assign]
        for name, op in _whole():
            _aten.impl(name, functools.partial(_on_the_cpu, op), "PrivateUse1")
        # Those that torch wants from a backend of its own.
        _aten.impl("convolution_overrideable", _convolution, "PrivateUse1")
        _aten.impl("convolution_backward_overrideable", _convolution_backward, "PrivateUse1")
        for name, cell in (("_thnn_fused_lstm_cell", _lstm_cell), ("_thnn_fused_gru_cell", _gru_cell)):
            _aten.impl(name, cell, "AutogradPrivateUse1")
            _aten.impl(name, cell, "PrivateUse1")
    return torch.device(NAME, 0)
