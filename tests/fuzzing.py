"""Inputs that nobody should give, and what may come of them: used in seconds by tests, for an hour by a benchmark.

Every input is made from a source of random numbers, so that a seed names it. What is tried must succeed, or end in
an error of ntkgap (or of the command line's own parser) whose message is one line; it must not take ten seconds of
the processor, nor touch a file outside the store it was given.
"""

import contextlib
import copy
import gzip
import io
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

import ntkgap as ng
from ntkgap import cli
from ntkgap.data.images import _read_once
from ntkgap.errors import NtkgapError
from ntkgap.reporting import preview, report  # noqa: F401 - matplotlib looks for caches before the home is another
from ntkgap.studies import STUDIES, assess
from ntkgap.studies.cost import Seconds
from tests.data import file_writers as writers
from tests.here import Here
from tests.sweep.toy import ToyStudy

SECONDS = 10
LONGEST_LINE = 3000
PRESETS = {
    name: (Path(ng.__file__).parent / "studies" / name / "presets/smoke.yaml").read_text() for name in STUDIES
}
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 2.5, -0.0, 1e-300, 1e300, 10**9, 10**10, 10**30, 10**400),
    *("", "64", "true", "[/red]", "$x^{", "<b>", "~", "~/a", "a\nb", "\ud800", "x" * 3000, "ä", "../a", "digits"),
    *([], {}, [[]], [1, "a"], {"a": 1}, {"kind": "split"}, [True], ["64"], [10**30], "2024-01-01", float("inf")),
)


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


def mutated_text(random: Random, text: str) -> str:
    """A text with a few places cut, doubled, or replaced."""
    for _ in range(random.randint(1, 4)):
        i, j = sorted(random.randint(0, len(text)) for _ in range(2))
        j = min(j, i + 40)
        piece = random.choice(
            ["", text[i:j] * 2, random.choice("[]{}:,-&*!|>'\"#%@`\t\n ~.0123456789"), "\x00", "é"]
        )
        text = text[:i] + piece + text[j:]
    return text


def junk(random: Random) -> Any:
    """Something out of place, not shared with others."""
    return copy.deepcopy(random.choice(JUNK))


def mutated_tree(random: Random, tree: Any) -> Any:
    """A tree of mappings and lists with one value replaced, removed or added."""
    here, place = tree, None
    while isinstance(here, dict | list) and here and (place is None or random.random() < 0.8):
        parent, place = here, random.choice(list(here) if isinstance(here, dict) else range(len(here)))
        here = here[place]
    if place is None:
        return junk(random)
    kind = random.random()
    if kind < 0.1:
        del parent[place]
    elif kind < 0.2 and isinstance(parent, dict):
        parent[random.choice(["depth", "alpha", "options", "root", "where", "x", "fingerprint"])] = junk(random)
    else:
        parent[place] = junk(random)
    return tree


def fuzz_preset(random: Random, box: Sandbox) -> str:
    """A preset with changes; its cells are planned."""
    name = random.choice(list(PRESETS))
    if random.random() < 0.4:
        text = mutated_text(random, PRESETS[name])
    else:
        tree = yaml.safe_load(PRESETS[name])
        for _ in range(random.randint(1, 3)):
            tree = mutated_tree(random, tree)
        text = json.dumps(tree) if random.random() < 0.3 else yaml.safe_dump(tree, sort_keys=False)
    file = box.path / "scratch/p.yaml"
    file.write_bytes(text.encode("utf-8", "replace"))
    return attempt(lambda: STUDIES[name].preset(str(file)).cells(), box)


OPTIONS = ("--preset", "--data", "--width", "--seed", "--problem", "--store", "--workers", "--out", "--nonsense")
WORDS = (
    *(
        "smoke",
        "quick",
        "optimization.yaml",
        "continual.yaml",
        "scratch/p.yaml",
        "digits",
        "sphere",
        "mnist",
        "toy",
    ),
    *("mine.npz", "mine.npz:x,y", "mine.npz:images,labels", "mine.npz:a", "mine.csv", "~/mine.npz", "missing.npz"),
    *("4", "4,8", "0:2", "5:1", "0:1000000000000", "0", "-1", "1e3", "9" * 40, "9" * 5000, "4:", ",", "٣"),
    *(
        "[/red]",
        "[bold]",
        "[",
        ":smile:",
        "",
        " ",
        "~",
        "~/real",
        "real",
        "~nobody",
        "x" * 300,
        "x" * 5000,
        "a\nb",
    ),
    *(
        "shallow",
        "MLP",
        "--",
        "-",
        "-h",
        "--help",
        "=",
        "\ud800",
        "%s",
        "{}",
        "$HOME",
        "optimization",
        "continual",
    ),
)


def fuzz_command(random: Random, box: Sandbox) -> str:
    """A command line, with nothing to compute."""
    fuzz_preset(random, box) if random.random() < 0.2 else None
    box.restore("real")
    name = random.choice(["run", "run", "run", "report", "status", "presets", random.choice(WORDS)])
    arguments = [name]
    if name == "run":
        arguments += random.choice([[], [], [random.choice(list(STUDIES))], [random.choice(WORDS)]])
        arguments += ["--preset", "smoke", "--dry-run"] if random.random() < 0.7 else ["--dry-run"]
    if name == "report":
        arguments += [random.choice(["real", "toy"]), "--out", "scratch/report.html"]
    for _ in range(random.randint(0, 3)):
        option, word = random.choice(OPTIONS), random.choice(WORDS)
        if name == "report" and option == "--out":
            continue  # that may write anywhere
        arguments += random.choice([[option, word], [f"{option}={word}"], [word], [option]])
    return attempt(lambda: command(arguments), box)


def mutated_bytes(random: Random, content: bytes) -> bytes:
    """Bytes with a few changed, cut, or doubled."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 6)):
        i = random.randrange(len(changed) + 1)
        match random.randrange(5):
            case 0:
                del changed[i:]
            case 1:
                del changed[i : i + random.randint(1, 20)]
            case 2:
                changed[i:i] = changed[max(0, i - 30) : i]
            case _:
                if i < len(changed):
                    changed[i] = random.choice(
                        [0, 0xFF, changed[i] ^ (1 << random.randrange(8)), random.randrange(256)]
                    )
    return bytes(changed)


def _archive(random: Random) -> bytes:
    dtype = random.choice(["<f8", ">f8", "<f4", "<i8", "|b1", "<U3", "<c16", "<f2", "<M8[s]", "g", "|S4"])
    shape = random.choice([(8, 3), (8,), (0, 3), (8, 1, 2, 2), (), (8, 0), (3, 8)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    y = random.choice([np.arange(8) % 2, np.arange(8.0), np.zeros(8, int), np.array(["a", "b"] * 4), np.zeros(0)])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", random.choice([0, 8, 12, 14])) as archive:
        for name, array in (("x", x), ("y", y)):
            part = io.BytesIO()
            np.save(part, array)
            content = part.getvalue()
            if random.random() < 0.4:
                content = mutated_bytes(random, content[:130]) + content[130:]
            archive.writestr(f"{name}.npy", content)
    content = file.getvalue()
    return mutated_bytes(random, content) if random.random() < 0.6 else content


def _table(random: Random) -> bytes:
    separator = random.choice([",", ";", "\t", "|", " "])
    rows = [["a", "b", "y"]] + [[str(random.gauss(0, 1)), str(i), str(i % 2)] for i in range(8)]
    for _ in range(random.randint(0, 4)):
        row = random.choice(rows)
        match random.randrange(4):
            case 0:
                row.append("1")
            case 1 if row:
                row.pop()
            case _ if row:
                cells = ["", "x", "nan", "inf", "1e999", '"', "1,5", "9" * 400, "2024-01-01", "é", "\x00", "1j"]
                row[random.randrange(len(row))] = random.choice(cells)
            case _:
                rows.clear()
                rows.append(["a"])
    text = "\n".join(separator.join(row) for row in rows)
    content = text.encode(random.choice(["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-32"]), "replace")
    return mutated_bytes(random, content) if random.random() < 0.3 else content


def _cifar(random: Random) -> bytes:
    rows = np.arange(3 * 3072, dtype=np.uint8).reshape(3, 3072)
    batch = {"data": rows, "labels": [0, 1, 2]}
    content = random.choice(
        [writers.python2_batch(rows, [0, 1, 2]), *(pickle.dumps(batch, protocol=p) for p in range(6))]
    )
    head, tail = content[:150], content[150:]
    return mutated_bytes(random, head) + tail if random.random() < 0.5 else mutated_bytes(random, content)


def fuzz_data(random: Random, box: Sandbox) -> str:
    """A file of data with changes; it is loaded."""
    kind = random.choice(["npz", "npz", "csv", "csv", "idx", "cifar", "uci", "shuttle", "mushroom"])
    folder = box.path / "scratch/data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    options: dict[str, Any] = {"root": str(folder)}
    if kind in ("npz", "csv"):
        file = folder / f"f.{kind}"
        file.write_bytes(_archive(random) if kind == "npz" else _table(random))
        options = {"target": "y"} if kind == "csv" else {}
        options |= random.choice([{}, {"scaling": "none"}, {"scaling": "unit_norm"}])
        name = str(file) + (random.choice(["", ":x,y", ":y,x", ":a,b"]) if kind == "npz" else "")
    elif kind == "cifar":
        (folder / "cifar-10-batches-py").mkdir()
        for batch in writers.BATCHES:
            (folder / "cifar-10-batches-py" / batch).write_bytes(_cifar(random))
        name = "cifar10"
    else:
        name = {"idx": "mnist", "uci": "uci/bostonHousing", "shuttle": "shuttle", "mushroom": "mushroom"}[kind]
        if kind == "idx":
            writers.write_mnist(folder / "mnist", 12, 12)
        elif kind == "uci":
            writers.write_table(folder, name)
        elif kind == "shuttle":
            writers.write_shuttle(folder / "bandits")
        else:
            writers.write_mushroom(folder / "bandits")
        for file in folder.rglob("*"):
            if file.is_file() and random.random() < 0.5:
                content = file.read_bytes()
                if file.suffix == ".gz" and random.random() < 0.7:
                    content = gzip.compress(mutated_bytes(random, gzip.decompress(content)), 1)
                else:
                    content = mutated_bytes(random, content)
                file.write_bytes(content)
    sizes = (random.choice([1, 2, 3, 10]), random.choice([1, 2]))
    _read_once.cache_clear()
    return attempt(lambda: ng.load_data(name, *sizes, seed=0, **options), box)


def fuzz_store(random: Random, box: Sandbox) -> str:
    """A store with changed files; it is read, shown, and planned again."""
    which = random.choice(["toy", "toy", "real"])
    store = box.restore(which)
    files = sorted(path for path in store.rglob("*") if path.is_file())
    for _ in range(random.randint(1, 2)):
        file = random.choice(files)
        content = file.read_bytes()
        if file.suffix == ".json" and content and random.random() < 0.7:
            with contextlib.suppress(ValueError, RecursionError):
                content = json.dumps(mutated_tree(random, json.loads(content))).encode()
        else:
            content = random.choice([b"", b"[" * 9000, mutated_bytes(random, content), b"null", b"\xff"])
        file.write_bytes(content)

    def read() -> None:
        runs = ng.Runs(store)
        runs.counts(), runs.failures(), runs.to_pandas(), runs.curves("line")
        if which == "real":
            assess(runs)
            command(["status", str(store)])
            if random.random() < 0.01:
                command(["report", str(store), "--out", str(box.path / "scratch/report.html")])

    return attempt(read, box)


KINDS: dict[str, Callable[[Random, Sandbox], str]] = {
    "presets": fuzz_preset,
    "command lines": fuzz_command,
    "data files": fuzz_data,
    "stores": fuzz_store,
}
