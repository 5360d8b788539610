"""Workers import no file of the user's in the place of a module of the standard library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ntkgap
from ntkgap.sweep.engines import start
from ntkgap.sweep.engines.start import worker_path

HOME = str(Path(ntkgap.__file__).parents[1])
# Each says which process imported it, and then is what it stands in the place of.
INTRUDER = """
import os
with open({log!r}, "a") as log:
    log.write(f"{{os.getpid()}} {{__name__}}\\n")
if __name__ != "sitecustomize":
    library = os.path.join(os.path.dirname(os.__file__), __name__ + ".py")
    exec(compile(open(library).read(), library, "exec"))
"""
MINE = """
import queue, random
class Mine:
    name, version, compute, axes = "mine", 1, "mine:compute", ("width",)
    def cells(self): return [{"width": width} for width in (1, 2, 3)]
    def cost(self, cell): return 1
    def configuration(self): return {}
def compute(cell):
    scalars = {"drawn": random.Random(cell["width"]).random(), "size": queue.Queue().qsize()}
    return {"scalars": scalars, "curves": {}, "notes": [], "diverged": False}
"""
SCRIPT = """
from mine import Mine
from ntkgap.sweep import run  # which is ntkgap.run, but for what it returns, and starts without torch
runs = run(Mine(), "store", workers=2, progress=False)
assert runs.counts() == {"done": 3}, runs.failures()
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("queue", "random", "selectors", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(INTRUDER.format(log=str(tmp_path / "log")))
    return tmp_path


def imported(folder, arguments, path=(HOME,)):
    """Start Python in the folder; gives the modules that its process imported from there, and that others did."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    with subprocess.Popen(
        arguments, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            output, _ = process.communicate()
        finally:
            process.kill()  # where a test is ended before it has
    assert process.returncode == 0, output
    log = folder / "log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return (
        {name for pid, name in lines if int(pid) == process.pid},
        {name for pid, name in lines if int(pid) != process.pid},
    )


RUN = ("run", "optimization", "--preset", "smoke", "--problem", "shallow", "--width", "16", "--seed", "0:1")


def test_the_command_imports_nothing_from_the_present_folder(folder):
    # What the installed ``ntkgap`` runs, from a folder of its own. No report: it takes long, and no workers.
    command = "import ntkgap.reporting as r; r.report = print; from ntkgap.cli import main; main()"
    arguments = [sys.executable, "-P", "-c", command, *RUN]
    assert imported(folder, arguments) == (set(), set())
    assert list((folder / "runs/smoke").rglob("result.json"))


@pytest.mark.parametrize("arguments", [("script.py",), ("-m", "script"), ("-c", SCRIPT)], ids=["file", "-m", "-c"])
@pytest.mark.parametrize("path", [(HOME,), (".", HOME), (HOME, ".")], ids=["beside", "named first", "named last"])
def test_workers_of_a_script_import_its_own_modules_but_no_other(folder, path, arguments):
    """Python puts the script's or the present folder first: the first process cannot help it, workers can."""
    (folder / "mine.py").write_text(MINE)
    (folder / "script.py").write_text(SCRIPT)
    parent, workers = imported(folder, [sys.executable, *arguments], path)
    assert {"queue", "random"} <= parent
    assert workers == set()


def test_the_order_of_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    library = os.path.dirname(os.__file__)
    dynamic = os.path.join(library, "lib-dynload")
    path = ["", "/first", library, "/second", dynamic, str(tmp_path), "/first"]
    assert worker_path(path) == [library, dynamic, "/first", "/second", str(tmp_path)]


def test_the_folder_that_ntkgap_came_from_keeps_its_place(monkeypatch):
    """A worker that found another version elsewhere would compute other numbers."""
    monkeypatch.chdir(HOME)
    assert worker_path(["", "/elsewhere"]) == [HOME, "/elsewhere"]


def test_processes_that_a_cell_starts_see_the_users_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    show = start.BOOTSTRAP.replace(
        "from ntkgap.sweep.worker import main\nmain()", "print(os.environ['PYTHONPATH'])"
    )
    monkeypatch.setattr(start, "BOOTSTRAP", show)
    process = start.start_worker()
    assert process.communicate()[0].decode().split() == ["/somewhere"]
