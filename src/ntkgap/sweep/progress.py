"""What a person sees while a sweep runs: a bar on a terminal or in a notebook, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from ntkgap.notebook import NotebookBar, in_notebook
from ntkgap.texts import PlainConsole


class Reporter:
    """Told of every cell that ends, as a context manager around the sweep; this one says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, whatever happened."""

    def expect(self, cells: int, why: str) -> None:
        """Hear of more cells to come."""

    def advance(self, label: str, state: str, message: str = "") -> None:
        """Hear of one cell that has ended."""


class Lines(Reporter):
    """One plain line a cell, for logs and pipes."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self.ended, self.start = 0, time.monotonic()

    def expect(self, cells: int, why: str) -> None:
        """Print why."""
        self.total += cells
        self.console.print(Text(why), soft_wrap=True)

    def advance(self, label: str, state: str, message: str = "") -> None:
        """Print the cell's line."""
        self.ended += 1
        count = f"{self.ended:>{len(str(self.total))}}/{self.total}"
        seconds = time.monotonic() - self.start
        reason = f" ({message})" if message else ""
        line = f"{count}  {seconds:6.1f} s  {label}: {state}{reason}"
        self.console.print(Text(line), soft_wrap=True)


class DescriptionColumn(ProgressColumn):
    """The cell that ended last, as it is called: no markup, no pictures."""

    def render(self, task: Task) -> Text:
        """Its label."""
        return Text(task.description, style="dim")


class Bar(Reporter):
    """A progress bar; failures are printed above it."""

    def __init__(self, console: Console, total: int) -> None:
        self.progress = Progress(
            TextColumn("measuring"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            DescriptionColumn(),
            console=console,
        )
        self.total = total
        self.task = self.progress.add_task("", total=total)

    def expect(self, cells: int, why: str) -> None:
        """Say why above the bar, and make it longer."""
        self.total += cells
        self.progress.console.print(Text(why))
        self.progress.update(self.task, total=self.total)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        self.progress.update(self.task, description="")
        self.progress.stop()

    def advance(self, label: str, state: str, message: str = "") -> None:
        """Move the bar on."""
        if state != "done":
            self.progress.console.print(Text(f"{label}: {state} {message}", style="red"))
        self.progress.update(self.task, advance=1, description=label)


class InNotebook(Reporter):
    """A bar in the cell's output; failures are printed below it."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.bar = console, NotebookBar("measuring", total)

    def __enter__(self) -> Self:
        self.bar.show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        self.bar.text = "" if kind is None else "interrupted"
        self.bar.show(final=True)

    def expect(self, cells: int, why: str) -> None:
        """Say why in the bar, and make it longer."""
        self.bar.total += cells
        self.bar.text = why
        self.bar.show()

    def advance(self, label: str, state: str, message: str = "") -> None:
        """Move the bar on."""
        self.bar.ended += 1
        self.bar.text = label
        self.bar.show()
        if state != "done":
            self.console.print(Text(f"{label}: {state} {message}"), soft_wrap=True)


def make_reporter(total: int | None, progress: bool) -> Reporter:
    """Choose how to report: a bar on a terminal or in a notebook, else lines; nothing if there is nothing to do.

    Args:
        total: number of cells; None if it will be told bit by bit.
        progress: whether it is wanted.
    """
    console = PlainConsole(stderr=True)
    if not progress or total == 0:
        return Reporter()
    if in_notebook():
        return InNotebook(console, total or 0)
    return Bar(console, total or 0) if console.is_terminal else Lines(console, total or 0)
