"""A folder to try things in, and what came of them: success, a refusal in one line, or what is wrong."""

import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import ntkgap as ng
from ntkgap import cli
from ntkgap.errors import NtkgapError
from ntkgap.reporting import preview, report  # noqa: F401 - matplotlib looks for caches before the home is another
from ntkgap.studies import STUDIES
from ntkgap.studies.cost import Seconds
from tests.here import Here
from tests.sweep.toy import ToyStudy

SECONDS = 10

LONGEST_LINE = 3000

PRESETS = {
    name: (Path(ng.__file__).parent / "studies" / name / "presets/smoke.yaml").read_text() for name in STUDIES
}


class Hung(BaseException):
    """More seconds of the processor than an input may take; no handler of errors catches it."""


class Refused(Exception):
    """What the command line prints when it ends in an error."""


@contextlib.contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Interrupt what takes more seconds of the processor; others may use the machine."""

    def stop(*_: object) -> None:
        raise Hung(f"took more than {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Sandbox:
    """A folder that is home and present directory, with data, presets and stores in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name, text in PRESETS.items():
            (path / f"{name}.yaml").write_text(text)
        x = np.random.default_rng(0).normal(size=(60, 3))
        np.savez(path / "mine.npz", x=x, y=x[:, 0], images=x, labels=np.arange(60) % 3)
        np.savetxt(path / "mine.csv", np.c_[x, np.arange(60) % 2], delimiter=",", header="a,b,c,y", comments="")
        ng.run(ToyStudy(widths=(1, 4), seeds=(0,), diverges_at=4), path / "toy", engine=Here(), progress=False)
        study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[4, 8], seeds=[0, 1])
        ng.run(study, path / "real", engine=Here(), progress=False)
        self.pristine = path / ".pristine"
        for store in ("toy", "real"):
            shutil.copytree(path / store, self.pristine / store)
        (path / "scratch").mkdir()

    def restore(self, store: str) -> Path:
        """The store as it was."""
        shutil.rmtree(self.path / store, ignore_errors=True)
        return Path(shutil.copytree(self.pristine / store, self.path / store))

    def listing(self) -> dict[str, tuple[int, int]]:
        """Everything that is no store or scratch file, with its size and time."""
        found = {}
        for folder, folders, files in os.walk(self.path):
            if Path(folder) == self.path:
                folders[:] = [f for f in folders if f not in ("toy", "real", "scratch")]
            for name in (*folders, *files):
                status = os.lstat(os.path.join(folder, name))
                found[os.path.join(folder, name)] = (status.st_size if name in files else 0, status.st_mtime_ns)
        return {k: v if os.path.isfile(k) else (0, 0) for k, v in found.items()}


@contextlib.contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A sandbox for the time being; dry runs compute no cells in it."""
    before, home, pilots = os.getcwd(), os.environ.get("HOME"), preview.pilots
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["HOME"] = folder
        preview.pilots = lambda *_: Seconds([])
        try:
            yield Sandbox(Path(folder))
        finally:
            os.chdir(before)
            os.environ["HOME"] = home or ""
            preview.pilots = pilots


def attempt(action: Callable[[], object], box: Sandbox) -> str:
    """Try something; ``"success"`` or ``"refused"``, or what is wrong with what came of it."""
    before = box.listing()
    result = "success"
    try:
        with no_longer_than(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            action()
    except (NtkgapError, Refused) as error:
        result = "refused" if is_one_line(str(error)) else f"no clear line: {str(error)[:300]!r}"
    except Hung as error:
        result = f"hung: {error}"
    except Exception as error:
        result = f"traceback: {type(error).__name__}: {str(error)[:300]}"
    after = box.listing()
    if after != before:
        changed = sorted(set(after.items()) ^ set(before.items()))[:4]
        result = f"touched: {changed}"
    return result


def is_one_line(text: str) -> bool:
    """Whether a message is something, and a line; what users call things may be in it, with breaks of its own."""
    return bool(text.strip()) and len(text.replace("a\nb", "").splitlines()) == 1 and len(text) < LONGEST_LINE


def command(arguments: list[str]) -> None:
    """Run the command line; usage errors are its own kind of answer.

    Raises:
        Refused: with what was printed, if it ended in an error.
        AssertionError: if it ended in any other way.
    """
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    show = warnings.showwarning
    sys.argv = ["ntkgap", *arguments]
    status: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.argv, warnings.showwarning = before, show
    said = "\n".join(line for line in err.getvalue().splitlines() if not line.startswith("warning: "))
    if "Traceback" in said or status not in (0, 1, 2):
        raise AssertionError(f"status {status}: {said[-500:]}")
    if status == 1:
        raise Refused(said.strip())
    if status == 2 and "Error" not in said:
        raise AssertionError(f"no usage error: {said[-500:]}")
    if status == 2:
        raise Refused("as the parser of the command line says")
