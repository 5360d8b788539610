"""Disks that fill, rights that are missing, clocks that jump, too few files: what a sweep makes of them.

    python benchmarks/faults.py

Each fault is injected into the command line in processes of its own: errors of writing by a preloaded library
(built with cc; without one those are left out), short writes by ``ulimit -f``, few files by ``ulimit -n``, rights
by modes (left out for root), clocks by the times of files. After each the same command is run without the fault:
the table must equal that of a run without faults, no message may be a traceback, and nothing temporary may be
left.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>
// Fails the write to files whose path holds FAULT_PATH with FAULT_ERRNO, from the FAULT_AFTER-th on.
static int count = 0;
ssize_t write(int fd, const void *buffer, size_t size) {
    static ssize_t (*real)(int, const void *, size_t) = NULL;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    const char *part = getenv("FAULT_PATH");
    if (part) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path - 1);
        if (n > 0) {
            path[n] = 0;
            if (strstr(path, part) && ++count > atoi(getenv("FAULT_AFTER"))) {
                errno = atoi(getenv("FAULT_ERRNO"));
                return -1;
            }
        }
    }
    return real(fd, buffer, size);
}
"""
STUDY = """
class Faulty:
    name, version, axes, compute = "faulty", 1, ("problem", "width", "seed"), __file__ + ":compute"
    def cells(self):
        return [{"problem": "p", "width": 2**i, "seed": s} for i in range(4) for s in range(3)]
    def cost(self, cell): return cell["width"]
    def configuration(self): return {}
def compute(cell):
    scalars = {"a": cell["width"] * 1.5 + cell["seed"]}
    return {"scalars": scalars, "curves": {"c": [0.5] * 40}, "notes": [], "diverged": False}
"""
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from ntkgap.cli import main
from ntkgap import cli, sweep
import faulty
@cli.app.command("fault")
def fault(store: str):
    sweep.run(faulty.Faulty(), store, 1, progress=False)
sys.argv = ["ntkgap", *sys.argv[2:]]
main()
"""


class Bench:
    """A folder of stores, and the command that fills one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "faulty.py").write_text(STUDY)
        self.shim = self._built()
        self.faults = 0
        assert self.command("fault", str(folder / "calm")).returncode == 0
        self.calm = self.table(folder / "calm")

    def _built(self) -> Path | None:
        if shutil.which("cc") is None:
            return None
        (self.folder / "shim.c").write_text(SHIM)
        library = self.folder / "shim.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", str(library), str(self.folder / "shim.c"), "-ldl"], check=True
        )
        return library

    def command(self, *arguments: str, limits: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line in a process of its own."""
        python = [sys.executable, "-c", RUN, str(self.folder), *arguments]
        shell = ["bash", "-c", f'{limits}; exec "$@"', "bash", *python] if limits else python
        return subprocess.run(
            shell, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
        )

    def table(self, store: Path) -> dict[str, object]:
        """All results, without what was read from a clock."""
        found = {}
        for file in store.glob("workspace/*/result.json"):
            result = json.loads(file.read_text())
            found[file.parent.name] = {k: v for k, v in result.items() if k != "seconds"}
        return found

    def check(self, name: str, store: Path, failed: "subprocess.CompletedProcess[str] | None" = None) -> None:
        """Run again without the fault, and see that all is as if there had been none."""
        said = (failed.stderr.strip().splitlines() or [""])[-1] if failed else ""
        assert failed is None or "Traceback" not in failed.stderr, f"{name}: {failed.stderr}"
        again = self.command("fault", str(store))
        assert again.returncode == 0, f"{name}: {again.stderr}"
        assert self.table(store) == self.calm, f"{name}: the table differs"
        left = [path for path in store.rglob(".*") if path.name.startswith((".writing-", ".claim"))]
        assert not left, f"{name}: {left} are left"
        self.faults += 1
        print(f"{name:<46} {said[:110]}", flush=True)


def writing(bench: Bench) -> None:
    """The disk fills, or has an error, while each kind of file is written, at once or later."""
    if bench.shim is None:
        print("no C compiler: errors of writing are left out")
        return
    for part in ("ntkgap.json", "statepoint", "result.json", ".claim", ".runs", "log.jsonl"):
        for name, number in (("full", 28), ("quota", 122), ("I/O error", 5)):
            for after in (0, 3):
                store = bench.folder / f"{part}-{number}-{after}".replace(".", "_")
                fault = {"FAULT_PATH": part, "FAULT_ERRNO": str(number), "FAULT_AFTER": str(after)}
                failed = bench.command("fault", str(store), LD_PRELOAD=str(bench.shim), **fault)
                bench.check(f"{name} after {after} writes of {part}", store, failed)


def limits(bench: Bench) -> None:
    """Files may not grow, and few may be open."""
    for name, limit in (("files of no size", "ulimit -f 0"), ("12 open files", "ulimit -n 12")):
        store = bench.folder / name.replace(" ", "-")
        bench.check(name, store, bench.command("fault", str(store), limits=limit))


def rights(bench: Bench) -> None:
    """A store one may not read or write."""
    if os.geteuid() == 0:
        print("root may read and write everything: missing rights are left out")
        return
    for name, mode in (("a store one may not enter", 0o000), ("a store one may not write to", 0o500)):
        store = shutil.copytree(bench.folder / "calm", bench.folder / name.replace(" ", "-"))
        store.chmod(mode)
        try:
            for command in (("fault", str(store)), ("status", str(store)), ("report", str(store))):
                failed = bench.command(*command)
                assert "Traceback" not in failed.stderr, failed.stderr
        finally:
            store.chmod(0o700)
        bench.check(name, store, failed)


def links(bench: Bench) -> None:
    """Results that lead out of the store are not written through."""
    store, outside = bench.folder / "links", bench.folder / "outside"
    assert bench.command("fault", str(store)).returncode == 0
    outside.write_text("precious")
    for directory in list((store / "workspace").iterdir())[:4]:
        (directory / "result.json").unlink()
        (directory / "failure.json").symlink_to(outside.parent / "nothing")
        (directory / "result.json").symlink_to(outside.parent / "nowhere")
    bench.check("results that are links", store)
    assert outside.read_text() == "precious"
    assert not (bench.folder / "nowhere").exists()


def clocks(bench: Bench) -> None:
    """Files of the future and of the past: claims of a dead run end all the same."""
    for name, moment in (("claims of the year 2100", 4.1e9), ("claims of 1970", 0.0)):
        store = bench.folder / name.replace(" ", "-")
        assert bench.command("fault", str(store)).returncode == 0
        for directory in list((store / "workspace").iterdir())[:4]:
            (directory / "result.json").unlink()
            (directory / ".claim").write_text("1.0.0.elsewhere")
            os.utime(directory / ".claim", (moment, moment))
        bench.check(name, store)


def leftovers(bench: Bench) -> None:
    """What a killed process leaves, everywhere."""
    store = bench.folder / "leftovers"
    assert bench.command("fault", str(store)).returncode == 0
    for i, directory in enumerate((store / "workspace").iterdir()):
        (directory / ".writing-00000000-result.json").write_text("{")
        if i % 2:
            (directory / "result.json").unlink()
        if i % 3 == 0:
            (directory / ".claim").write_text("")
            os.utime(directory / ".claim", (1, 1))
    bench.check("half-written files and empty claims", store)


def main() -> None:
    faults: list[Callable[[Bench], None]] = [limits, links, clocks, leftovers, rights, writing]
    with tempfile.TemporaryDirectory(prefix="ntkgap-faults-") as folder:
        bench = Bench(Path(folder))
        for fault in faults:
            fault(bench)
        print(f"{bench.faults} faults: each ended in a sentence, and the next run made the table good")


if __name__ == "__main__":
    main()
