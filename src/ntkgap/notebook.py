"""Progress in a notebook: one output that is replaced as work goes on, whatever widgets are installed."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from html import escape
from typing import Any, TypeVar

Item = TypeVar("Item")

# As often as a reader can follow.
SECONDS_BETWEEN = 0.1


def in_notebook() -> bool:
    """Whether outputs of this process are shown in a notebook: in Jupyter, Colab, VS Code, not in a terminal."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


class NotebookBar:
    """A bar in the present cell's output.

    Args:
        what: is being done.
        total: how many steps there are; 0 while that is not known.
    """

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.ended, self.text = what, total, 0, ""
        self._start, self._shown = time.monotonic(), 0.0
        self._handle: Any = None

    def show(self, final: bool = False) -> None:
        """Replace what is shown by what is; not so often that it takes time, unless it is the last."""
        now = time.monotonic()
        if not final and self._handle is not None and now - self._shown < SECONDS_BETWEEN:
            return
        from IPython.display import display

        self._shown = now
        if self._handle is None:
            self._handle = display(self._mime(), raw=True, display_id=True)
        else:
            self._handle.update(self._mime(), raw=True)

    def _mime(self) -> dict[str, str]:
        count = f"{self.ended}/{self.total}" if self.total else str(self.ended)
        line = f"{self.what}: {count}, {time.monotonic() - self._start:.0f} s"
        known = f'value="{self.ended}" max="{self.total}"' if self.total else ""
        html = f"<progress {known}></progress> {escape(line)} <small>{escape(self.text)}</small>"
        return {"text/plain": line, "text/html": html}


def tracked_in_notebook(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, with a bar."""
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    bar = NotebookBar(what, total)
    bar.show()
    try:
        for item in items:
            yield item
            bar.ended += 1
            bar.show()
    finally:
        bar.show(final=True)
