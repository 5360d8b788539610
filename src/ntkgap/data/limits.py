"""How much memory data may take: said before it is taken, with a limit that can be raised."""

import os

from ntkgap.errors import DataError

ENVIRONMENT_VARIABLE = "NTKGAP_MAX_BYTES"
DEFAULT_BYTES = 4 * 10**9


def max_bytes() -> int:
    """Bytes that one data set may take, unpacked: ``$NTKGAP_MAX_BYTES``, or 4 GB.

    Raises:
        DataError: if the variable holds no whole number.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_BYTES
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise DataError(f"${ENVIRONMENT_VARIABLE} must be a whole number of bytes, like 8000000000; got {text!r}")
    return int(text)


def check_bytes(what: str, count: int, *, at_least: bool = False) -> None:
    """Refuse data that take more memory than they may, before it is taken.

    Args:
        what: subject of the sentence, in the plural.
        count: bytes that they take.
        at_least: whether they may take more than that.

    Raises:
        DataError: naming the size, the limit, and how to raise it.
    """
    limit = max_bytes()
    if count > limit:
        least = "at least " if at_least else ""
        raise DataError(
            f"{what} take {least}{size_text(count)}, more than the {size_text(limit)} that data may; ask for "
            f"less, or set ${ENVIRONMENT_VARIABLE} to more bytes"
        )


def size_text(count: int) -> str:
    """Bytes for people; whole numbers of any length."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            whole = count // unit
            return f"10^{len(str(whole)) - 1} {name}" if whole >= 10**6 else f"{count / unit:.3g} {name}"
    return f"{count} bytes"
