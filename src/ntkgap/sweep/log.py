"""What happened in a store, one line of JSON an event, for whoever watches from afar: ``STORE/log.jsonl``."""

import contextlib
import datetime
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ntkgap.sweep.files import to_json

LOG = "log.jsonl"


class Log:
    """Appends events of one run; a context manager around it.

    Each line says ``time`` (UTC), ``run`` (its process and machine), ``event`` (``"begin"``, ``"cell"``,
    ``"wait"``, ``"end"``) and more of that event: of a cell its directory ``cell``, its ``place`` on the axes,
    ``state``, ``seconds`` and ``message``.

    Args:
        store: directory of the store.
        run: name of the run.
    """

    def __init__(self, store: Path, run: str) -> None:
        self.path, self.run = store / LOG, run
        self._file: int | None = None

    def __enter__(self) -> Self:
        # A log that cannot be written is no reason to stop: results say themselves whether they can be.
        with contextlib.suppress(OSError):
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_LINK, 0o666)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say how it ended."""
        self.write("end", reason="" if error is None else f"{kind.__name__}: {error}" if kind else "")
        if self._file is not None:
            os.close(self._file)

    def write(self, event: str, **more: Any) -> None:
        """Append one line."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps(to_json({"time": now, "run": self.run, "event": event, **more}))
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.write(self._file, line.encode() + b"\n")  # whole, and at the end, whoever else appends


# A link in the log's place may lead anywhere.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
