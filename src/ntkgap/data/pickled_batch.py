"""Reading pickled CIFAR-10 batches without unpickling: only the opcodes and names that a batch needs are followed.

``pickle`` with a list of permitted names is not enough. Whoever may name ``numpy.dtype`` may also set its state,
and NumPy believes what a file says there: an object type without its flag makes pointers of the file's bytes. Here
the file's instructions are only read, and move plain values about. NumPy is only asked to see
bytes, whose number has been checked, as an array of unsigned bytes.

Source: what NumPy's ``__reduce__`` and ``__reduce_ex__`` of arrays and dtypes write.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkgap.data.pickle_opcodes import UnreadablePickle, instructions
from ntkgap.errors import reason

NAMES = {
    **{f"numpy.{core}.multiarray _reconstruct": "array" for core in ("core", "_core")},  # NumPy 1 and 2
    **{f"numpy.{core}.numeric _frombuffer": "buffer" for core in ("core", "_core")},  # protocol 5
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",  # how Python 3 writes bytes for Python 2
    **{f"{module} bytes": "bytes" for module in ("__builtin__", "builtins")},  # the same, of no bytes
}
# What follows version and byte order: subarray, names, fields, item size, alignment and flags, none of them set.
DTYPE_STATE = (None, None, None, -1, -1, 0)


@dataclass(frozen=True)
class _Name:
    """A permitted name; stands for the function, which is never looked up."""

    stands_for: str


class _Bytes1:
    """The one permitted dtype, unsigned bytes; holds nothing that a file could set."""


@dataclass
class _Array:
    """An array of unsigned bytes; empty-handed until its state has come."""

    values: np.ndarray | None = None


class _Mark:
    """The opcode MARK on the stack."""


MARK = _Mark()


def read_pickled_batch(content: bytes) -> dict[bytes, Any]:
    """The mapping in a pickled batch; its arrays [...] are uint8 and read-only.

    Args:
        content: of the file, in pickle protocol 2 to 5, from Python 2 or 3.

    Returns:
        Values by name; names that are text are encoded.

    Raises:
        UnreadablePickle: if it is anything but a mapping of plain values and arrays of unsigned bytes.
    """
    try:
        batch = _follow(content)
        if not isinstance(batch, dict):
            raise UnreadablePickle(f"it holds a {type(batch).__name__}, not a mapping")
        values = {key.encode() if isinstance(key, str) else key: value for key, value in batch.items()}
    # Values are not what an instruction expects: too few on the stack, of other kinds, too deep to compare.
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise UnreadablePickle(f"{type(error).__name__}: {reason(error)}") from error
    return {key: value.values if isinstance(value, _Array) else value for key, value in values.items()}


def _follow(content: bytes) -> Any:
    """What is on top of the stack when the file says stop."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    encodable = len(content)  # every byte of a batch is encoded once; more would let a small file fill the memory
    for does, argument in instructions(content):
        match does:
            case "value":
                stack.append(argument)
            case "put":
                if memo and argument != next(reversed(memo)) + 1:  # as every writer does
                    raise UnreadablePickle("its values are not numbered in order, so bytes are missing or wrong")
                memo[argument] = stack[-1]
            case "memoize":
                memo[len(memo)] = stack[-1]
            case "get":
                stack.append(memo[argument])
            case "mark":
                stack.append(MARK)
            case "dict":
                stack.append({})
            case "list":
                stack.append([])
            case "tuple":
                stack.append(tuple(_pop_to_mark(stack)))
            case "tuple 1" | "tuple 2" | "tuple 3":
                stack.append(tuple(_pop(stack, int(does[-1]))))
            case "append" | "appends":
                items = _pop(stack, 1) if does == "append" else _pop_to_mark(stack)
                _top(stack, list).extend(items)
            case "set item" | "set items":
                items = _pop(stack, 2) if does == "set item" else _pop_to_mark(stack)
                for key, value in zip(items[::2], items[1::2], strict=True):
                    _set_item(_top(stack, dict), key, value)
            case "name":
                stack.append(_permitted(argument))
            case "stack name":
                stack.append(_permitted(" ".join(_pop(stack, 2))))
            case "call":
                result = _call(*_pop(stack, 2))
                encodable -= len(result) if isinstance(result, bytes) else 0
                if encodable < 0:
                    raise UnreadablePickle("it has the same text encoded again and again")
                stack.append(result)
            case "build":
                (state,) = _pop(stack, 1)
                _build(stack[-1], state)
    (result,) = _pop(stack, 1)
    return result


def _pop(stack: list[Any], count: int) -> list[Any]:
    items = stack[-count:]
    if len(items) < count or any(item is MARK for item in items):
        raise UnreadablePickle("its instructions take more values than they have put")
    del stack[-count:]
    return items


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    for position in range(len(stack) - 1, -1, -1):
        if stack[position] is MARK:
            items = stack[position + 1 :]
            del stack[position:]
            return items
    raise UnreadablePickle("its instructions take values up to a mark that is not there")


def _top(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise UnreadablePickle(f"it fills a {type(stack[-1]).__name__} as if it were a {kind.__name__}")
    return stack[-1]


def _set_item(target: dict[Any, Any], key: Any, value: Any) -> None:
    if not isinstance(key, bytes | str):  # the hash of tuples in tuples would overflow C's stack
        raise UnreadablePickle(f"a name in its mapping is a {type(key).__name__}")
    target[key] = value


def _permitted(name: str) -> _Name:
    if name not in NAMES:
        raise UnreadablePickle(f"it asks for {name.replace(' ', '.')!r}, which no CIFAR-10 batch needs")
    return _Name(NAMES[name])


def _call(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise UnreadablePickle("it calls what is no function")
    match function.stands_for, arguments:
        case "dtype", ("u1" | b"u1", *_):  # what follows asks for alignment and a copy: nothing that bytes have
            return _Bytes1()
        case "dtype", (other, *_):
            raise UnreadablePickle(
                f"it holds an array of dtype {_short(other)}; only unsigned bytes ('u1') are read"
            )
        case "array", (_Name("ndarray"), (0,), "b" | b"b"):
            return _Array()
        case "buffer", (bytes(buffer), _Bytes1(), shape, order):
            return _Array(_unsigned_bytes(buffer, shape, order))
        case "encode", (str(text), "latin1"):
            return text.encode("latin-1")
        case "bytes", ():
            return b""
    raise UnreadablePickle(f"it calls {function.stands_for} as no CIFAR-10 batch does")


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Bytes1):
        match state:
            case (3, b"|" | "|", *rest) | (4, b"|" | "|", *rest, None) if tuple(rest) == DTYPE_STATE:
                return
        raise UnreadablePickle("the state of its dtype is not that of unsigned bytes")
    match target, state:
        case _Array(), (int(), shape, _Bytes1(), bool(in_columns), bytes(buffer)):
            target.values = _unsigned_bytes(buffer, shape, "F" if in_columns else "C")
            return
    raise UnreadablePickle(f"it sets a state that no {type(target).__name__.strip('_')} of a batch has")


def _unsigned_bytes(buffer: bytes, shape: Any, order: Any) -> np.ndarray:
    """The buffer as an array, of a shape that has just as many entries.

    Raises:
        UnreadablePickle: if it has not.
    """
    is_shape = isinstance(shape, tuple) and 1 <= len(shape) <= 2
    if not is_shape or not all(type(size) is int and size >= 0 for size in shape) or order not in ("C", "F"):
        raise UnreadablePickle(f"it holds an array of shape {_short(shape)}, which is none of a batch")
    if math.prod(shape) != len(buffer):
        raise UnreadablePickle(
            f"it holds {len(buffer)} bytes for an array of shape {shape}: {math.prod(shape)} bytes"
        )
    return np.frombuffer(buffer, dtype=np.uint8).reshape(shape, order=order)


def _short(value: Any) -> str:
    return repr(value)[:60] if isinstance(value, str | bytes) else f"of type {type(value).__name__}"
