"""The commands together, and how errors and warnings look."""

import io
import os
import sys
import warnings
from typing import Annotated, Any

import typer
from rich.text import Text

from ntkgap import __version__
from ntkgap.cli.compare import compare
from ntkgap.cli.diagnose import diagnose
from ntkgap.cli.machines import cluster, merge
from ntkgap.cli.output import make_console, warn
from ntkgap.cli.presets import presets
from ntkgap.cli.report import report
from ntkgap.cli.run import run
from ntkgap.cli.status import status
from ntkgap.errors import NtkgapError

app = typer.Typer(
    help="Does neural tangent kernel theory describe your network? Measure it and read the verdicts.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Does neural tangent kernel theory describe your network? Measure it and read the verdicts."""
    if version:
        print(f"ntkgap {__version__}")
        raise typer.Exit


for command in (run, diagnose, report, status, compare, merge, cluster, presets):
    app.command()(command)

PYTHON_WARNING = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """One line for a warning of ntkgap, without the place in its code; others as Python shows them."""
    if category.__module__ == "ntkgap.errors":
        warn(str(message))
    else:
        PYTHON_WARNING(message, category, *where, **more)


def main() -> None:
    """Run the command line; errors of ntkgap are one red line, not a traceback, and so are warnings."""
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except NtkgapError as error:
        make_console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            raise
        # Of the terminal: a full device, say. Files are written before anything is printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        make_console(stderr=True).print(f"error: cannot print: {error}; all files are written", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        make_console(stderr=True).print("interrupted; run the same command to resume")
        sys.exit(130)
