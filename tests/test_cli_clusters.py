"""Parts, their merging, and engines on the command line."""

import pytest

import ntkgap as ng
from ntkgap.cli import main

SMALL = ("run", "optimization", "--preset", "smoke", "--problem", "shallow", "--width", "16,32", "--seed", "0:2")


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["ntkgap", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code or 0, *capsys.readouterr())

    return run


def test_parts_are_computed_and_merged(command, tmp_path, in_process):
    for part in ("1", "2"):
        status, out, err = command(*SMALL, "--shard", f"{part}/2", "--store", f"part-{part}")
        assert status == 0, err
        assert f"optimization, part {part} of 2: 2 of 2 cells are done" in out
        assert not (tmp_path / f"part-{part}" / "report.html").exists()
    status, out, err = command("merge", "part-1", "part-2", "--into", "all")
    assert (status, out.strip()) == (0, "all: 4 done"), err
    assert ng.Runs("all").configuration["seeds"] == [0, 1]
    assert "4 of 4 cells done" in command("status", "all")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*SMALL, "--shard", "3/2"), "a shard is one of 1/2 to 2/2, got 3/2"),
        ((*SMALL, "--shard", "1/2", "--decide", "1m"), "no fixed --shard can"),
        ((*SMALL, "--engine", "magic"), "--engine takes local or dask, got 'magic'"),
        ((*SMALL, "--address", "tcp://x:1"), "give --engine dask as well"),
        ((*SMALL, "--engine", "dask", "--address", "a", "--cluster", "b"), "give one of the two"),
        ((*SMALL, "--engine", "dask", "--cluster", "nowhere.yaml"), "cannot read nowhere.yaml"),
        (("merge", "nowhere", "--into", "x"), "there is no ntkgap store at nowhere"),
        (("cluster", "nowhere.yaml"), "cannot read nowhere.yaml"),
    ],
)
def test_mistakes_end_in_one_line(command, arguments, words):
    status, _, err = command(*arguments)
    assert status == 1
    assert words in " ".join(err.split())
    assert "Traceback" not in err


def test_a_cluster_file_to_fill_in_is_printed(command):
    status, out, _ = command("cluster")
    assert status == 0
    assert out.startswith("# Fill in")
