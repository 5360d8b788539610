"""A kernel that goes to a file block by block is the one in memory, also where the run was interrupted."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError
from ntkgap.kernels.empirical import to_file


@pytest.fixture
def model():
    return ng.MLP(3, 2, 8, 2, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def x():
    return torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("outputs", ["mean", "sum", "diagonal", "full"])
@pytest.mark.parametrize("rows", [2, 7, None])
def test_is_the_kernel_in_memory(tmp_path, model, x, outputs, rows):
    found = ng.empirical_ntk_to_file(model, x, tmp_path / "k.npy", outputs=outputs, rows=rows)
    np.testing.assert_allclose(found, ng.empirical_ntk(model, x, outputs=outputs).numpy(), rtol=1e-12, atol=1e-13)
    assert not found.flags.writeable


def test_of_two_sets_of_inputs_and_of_convolutions(tmp_path, model, x):
    found = ng.empirical_ntk_to_file(model, x, tmp_path / "k.npy", x[:3], outputs="full", rows=3)
    expected = ng.empirical_ntk(model, x, x[:3]).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    images = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    found = ng.empirical_ntk_to_file(net, images, tmp_path / "c.npy", rows=2, memory_budget=10**7)
    np.testing.assert_allclose(found, ng.empirical_ntk(net, images, outputs="mean").numpy(), rtol=1e-5, atol=1e-6)


def test_a_run_that_was_interrupted_goes_on(tmp_path, model, x, monkeypatch):
    path, whole, blocks = tmp_path / "k.npy", to_file.KernelJob, []

    class Interrupted(whole):
        def run(self, *settings):
            blocks.append(len(self.x1))
            if len(blocks) == 4:  # in the midst of the second block's row
                raise KeyboardInterrupt
            return super().run(*settings)

    monkeypatch.setattr(to_file, "KernelJob", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        ng.empirical_ntk_to_file(model, x, path, rows=2)
    assert json.loads((tmp_path / "k.npy.progress.json").read_text())["done"] == [0]
    blocks[:] = [0] * 4
    found = ng.empirical_ntk_to_file(model, x, path, rows=3)  # a file that is begun keeps its blocks
    assert blocks[4:] == [2, 2, 2, 2, 1]  # two rows were done
    np.testing.assert_allclose(found, ng.empirical_ntk(model, x, outputs="mean").numpy(), rtol=1e-12, atol=1e-13)
    blocks[:] = [0] * 4
    ng.empirical_ntk_to_file(model, x, path)
    assert blocks == [0] * 4  # nothing is computed again


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"x1": lambda x: x + 1}, "x1"),
        ({"outputs": "sum"}, "outputs"),
        ({"dtype": torch.float32}, "dtype"),
        ({"parameters": ["readout.weight"]}, "parameters"),
        ({"model": None}, "model"),
    ],
)
def test_another_kernel_is_refused(tmp_path, model, x, changed, named):
    path = tmp_path / "k.npy"
    ng.empirical_ntk_to_file(model, x, path, rows=4)
    settings = {"outputs": "mean"} | {k: v for k, v in changed.items() if k not in ("x1", "model")}
    if settings.get("parameters"):
        settings["parameters"] = [list(dict(model.named_parameters()))[-1]]
    if "model" in changed:
        with torch.no_grad():
            next(model.parameters()).add_(1e-9)
    with pytest.raises(KernelError, match=f"was begun with another .*{named}"):
        ng.empirical_ntk_to_file(model, changed.get("x1", lambda x: x)(x), path, **settings)


def test_bad_input(tmp_path, model, x, monkeypatch):
    (tmp_path / "there.npy").write_bytes(b"mine")
    for path, settings, message in (
        ("there.npy", {}, "exists and is no kernel"),
        ("k.npy", {"rows": 0}, "rows must be"),
        ("k.npy", {"outputs": "all"}, "unknown outputs"),
        ("k.npy", {"memory_budget": -1}, "memory_budget"),
        ("k.npy", {"dtype": torch.bfloat16}, "no file format"),
        ("no/k.npy", {}, "cannot be written"),
    ):
        with pytest.raises(KernelError, match=message):
            ng.empirical_ntk_to_file(model, x, tmp_path / path, **settings)
    assert (tmp_path / "there.npy").read_bytes() == b"mine"
    monkeypatch.setattr(to_file.shutil, "disk_usage", lambda folder: type("usage", (), {"free": 10}))
    with pytest.raises(KernelError, match="GB left"):
        ng.empirical_ntk_to_file(model, x, tmp_path / "k.npy")


def test_a_disk_that_fills_meanwhile_is_an_error_and_kills_nobody(tmp_path, model, x, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(KernelError, match=r"cannot be written.*No space left"):
            ng.empirical_ntk_to_file(model, x, tmp_path / "k.npy", outputs="full")
    assert not (tmp_path / "k.npy").exists()
    assert not (tmp_path / "k.npy.new").exists()
    found = ng.empirical_ntk_to_file(model, x, tmp_path / "k.npy", outputs="full")
    np.testing.assert_allclose(found, ng.empirical_ntk(model, x).numpy(), rtol=1e-12, atol=1e-13)


def test_the_room_is_taken_before_the_first_block(tmp_path, model, x, monkeypatch):
    path, rooms = tmp_path / "k.npy", []

    def stopped(*_):
        rooms.append(path.stat())
        raise KeyboardInterrupt

    monkeypatch.setattr(to_file, "_row_blocks", stopped)
    (tmp_path / "k.npy.new").write_bytes(b"of a process that died while it took the room")
    with pytest.raises(KeyboardInterrupt):
        ng.empirical_ntk_to_file(model, x.repeat(100, 1), path, rows=7)
    assert rooms[0].st_size > 700 * 700 * 8
    assert rooms[0].st_blocks * 512 >= rooms[0].st_size  # none of it is a hole


def test_a_note_of_a_process_alone_is_gone_on_from(tmp_path, model, x):
    """Notes of version 0.1 said how many rows are done."""
    path, note = tmp_path / "k.npy", tmp_path / "k.npy.progress.json"
    expected = np.array(ng.empirical_ntk_to_file(model, x, path, rows=2))
    identity = json.loads(note.read_text())["identity"]
    for rows_done, known in ((5, 4), (7, 7)):
        kernel = np.load(path, mmap_mode="r+")
        kernel[known:, known:] = np.nan
        kernel.flush()
        note.write_text(json.dumps({"identity": identity, "rows_done": rows_done}))
        np.testing.assert_array_equal(ng.empirical_ntk_to_file(model, x, path, rows=2), expected)


# Processes that fill one file: slow, and they note which blocks they begin. One is forked for every line of
# seconds that is read, so that torch is loaded once; its number is printed, and in the end how each has ended.
FILLS = """
import os, sys, time, torch, ntkgap as ng
from ntkgap.kernels.empirical import to_file
path, log = sys.argv[1:]
torch.set_num_threads(1)
whole, forked = to_file._row_blocks, []
def slow(model, mine, *rest):
    with open(log, "a") as file:
        file.write(f"{mine.tensors[0][0, 0].item()}\\n")
    time.sleep(seconds)
    return whole(model, mine, *rest)
to_file._row_blocks = slow
for line in sys.stdin:
    seconds = float(line)
    forked.append(os.fork())
    if not forked[-1]:
        break
    print(forked[-1], flush=True)
else:
    print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in forked))
    sys.exit()
model = ng.MLP(3, 2, 8, 2, generator=torch.Generator().manual_seed(0))
x = torch.randn(13, 3, generator=torch.Generator().manual_seed(1))
ng.empirical_ntk_to_file(model, x, path, outputs="full", rows=2, memory_budget=10**8)
"""


def test_two_processes_fill_one_file_and_one_that_is_killed_loses_a_block(tmp_path):
    path, log = tmp_path / "k.npy", tmp_path / "log"
    model = ng.MLP(3, 2, 8, 2, generator=torch.Generator().manual_seed(0))
    x = torch.randn(13, 3, generator=torch.Generator().manual_seed(1))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    command = [sys.executable, "-c", FILLS, str(path), str(log)]
    with subprocess.Popen(command, env=environment, text=True, stdin=PIPE, stdout=PIPE) as parent:

        def start(seconds):
            print(seconds, file=parent.stdin, flush=True)
            return int(parent.stdout.readline())

        stuck = start(600)
        try:
            while not log.exists() or not log.read_text().endswith("\n"):
                assert parent.poll() is None
                time.sleep(0.02)
            first = log.read_text()
            start(0.05), start(0.05)
            while len(log.read_text().split()) < 5:
                assert parent.poll() is None
                time.sleep(0.02)
            assert log.read_text().count(first) == 1, "the first block is in the hands of the one that is stuck"
        finally:
            os.kill(stuck, signal.SIGKILL)
        assert parent.communicate()[0].split() == [str(-signal.SIGKILL), "0", "0"]
    begun = log.read_text().split()
    assert len(begun) == 8, "seven blocks, and the one that was lost"
    assert len(set(begun)) == 7
    assert begun.count(first.strip()) == 2
    alone = ng.empirical_ntk_to_file(model, x, tmp_path / "alone.npy", outputs="full", rows=2, memory_budget=10**8)
    assert np.load(path).tobytes() == np.array(alone).tobytes()
    np.testing.assert_allclose(np.load(path), ng.empirical_ntk(model, x).numpy(), rtol=1e-6, atol=1e-6)
    assert not Path(f"{path}.claims").exists()
