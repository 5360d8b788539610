"""The instructions of a pickle, read and not followed: of the protocols 2 to 5, those that plain values need.

Format: the comments in CPython's ``Lib/pickletools.py``. That module reads them too, but decodes the arguments of
instructions that are refused here, with warnings of its own, and byte strings by way of text.
"""

import struct
from collections.abc import Iterator
from typing import Any

# By the byte that stands for it: what an instruction does, and the format of its number: an argument, or the
# length of the argument that follows.
OPCODES: dict[int, tuple[str, str]] = {
    **dict.fromkeys(b"\x80", ("protocol", "<B")),
    **dict.fromkeys(b"\x95", ("frame", "<Q")),
    **dict.fromkeys(b"K", ("value", "<B")),
    **dict.fromkeys(b"M", ("value", "<H")),
    **dict.fromkeys(b"J", ("value", "<i")),
    **dict.fromkeys(b"\x8a", ("long", "<B")),
    **dict.fromkeys(b"UC", ("bytes", "<B")),  # str of Python 2, bytes of Python 3
    **dict.fromkeys(b"TB", ("bytes", "<I")),
    **dict.fromkeys(b"\x8e\x96", ("bytes", "<Q")),  # bytes and bytearray
    **dict.fromkeys(b"\x8c", ("text", "<B")),
    **dict.fromkeys(b"X", ("text", "<I")),
    **dict.fromkeys(b"\x8d", ("text", "<Q")),
    **dict.fromkeys(b"q", ("put", "<B")),
    **dict.fromkeys(b"r", ("put", "<I")),
    **dict.fromkeys(b"h", ("get", "<B")),
    **dict.fromkeys(b"j", ("get", "<I")),
}
BARE = {
    **{ord("("): "mark", ord("t"): "tuple", 0x85: "tuple 1", 0x86: "tuple 2", 0x87: "tuple 3"},
    **{ord("}"): "dict", ord("]"): "list", ord("a"): "append", ord("e"): "appends"},
    **{ord("s"): "set item", ord("u"): "set items", 0x94: "memoize", 0x93: "stack name"},
    **{ord("R"): "call", ord("b"): "build", ord("."): "stop"},
}
CONSTANTS = {ord("N"): None, 0x88: True, 0x89: False, ord(")"): ()}


class UnreadablePickle(Exception):
    """The content is no pickle of what is read here; caught where the file's name is known."""


def instructions(content: bytes) -> Iterator[tuple[str, Any]]:
    """What each instruction does and its argument, up to the one that says stop.

    Raises:
        UnreadablePickle: if the content ends before, or holds any other instruction.
    """
    position = 0

    def take(length: int) -> bytes:
        nonlocal position
        taken = content[position : position + length]
        if len(taken) < length:
            raise UnreadablePickle(f"it is truncated: {length} bytes are due, {len(taken)} are left")
        position += length
        return taken

    def take_line() -> str:
        end = content.find(b"\n", position)
        return take((end if end >= 0 else len(content)) + 1 - position)[:-1].decode("ascii")

    while True:
        (code,) = take(1)
        if code in OPCODES:
            does, form = OPCODES[code]
            (number,) = struct.unpack(form, take(struct.calcsize(form)))
            if does == "long":
                yield "value", int.from_bytes(take(number), "little", signed=True)
            elif does == "bytes":
                yield "value", take(number)
            elif does == "text":
                yield "value", take(number).decode("utf-8", "surrogatepass")
            else:
                yield does, number
        elif code in CONSTANTS:
            yield "value", CONSTANTS[code]
        elif code == ord("c"):
            yield "name", f"{take_line()} {take_line()}"
        elif code in BARE:
            yield BARE[code], None
            if BARE[code] == "stop":
                return
        else:
            raise UnreadablePickle(f"it has the instruction {bytes([code])!r}, which no CIFAR-10 batch needs")
