import functools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import ntkgap
from ntkgap import cli
from ntkgap.cli.options import parse_budget
from ntkgap.cli.stores import open_stores
from ntkgap.studies import cost
from tests.studies.test_variations import measure

SMALL = ("--preset", "smoke", "--problem", "shallow", "--width", "16,64", "--seed", "0:2")


@pytest.fixture
def command(monkeypatch, tmp_path, capsys, in_process_once):
    """Run the command line in an empty directory; gives exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ntkgap", *arguments])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return (status, *capsys.readouterr())

    return run


def test_run_report_status_go_together(command, tmp_path, monkeypatch):
    status, out, err = command("run", *SMALL)
    assert status == 0, err
    assert "shallow ReLU, sphere" in out
    assert (tmp_path / "runs/smoke/report.html").is_file()
    assert (tmp_path / "runs/smoke/results.csv").is_file()
    status, out, _ = command("status", "runs/smoke")
    assert status == 0
    assert re.search(r"shallow ReLU, sphere +│ 16, 64 +│ 2 +│ +4 │ +0 │ +0 │", out)
    status, out, _ = command("report", "runs/smoke", "--out", "elsewhere/page.html")
    assert status == 0
    assert (tmp_path / "elsewhere/page.html").is_file()
    # What figures show is tested elsewhere, and takes long.
    monkeypatch.setattr("ntkgap.reporting.drawings.claim_figure", lambda *_: Figure())
    monkeypatch.setattr("ntkgap.reporting.drawings.draw", lambda *_: Figure())
    assert command("report", "runs/smoke", "--pdf", "--out", "papers/page.html")[0] == 0
    assert len(list((tmp_path / "papers/figures").glob("*.pdf"))) > 10


def test_a_single_study_goes_into_the_store_itself(command, tmp_path):
    assert command("run", "optimization", *SMALL, "--store", "mine")[0] == 0
    assert (tmp_path / "mine/ntkgap.json").is_file()
    assert (tmp_path / "mine/report.html").is_file()
    # The report's files do not make the store look like a stranger's directory.
    assert command("run", "optimization", *SMALL, "--store", "mine", "--seed", "0:3")[0] == 0
    assert re.search(r"16, 64 +│ 3 +│ +6 │", command("status", "mine")[1])


@pytest.fixture
def tried(monkeypatch):
    """Cells are tried without a worker: each lasts a hundredth of its width in seconds."""
    monkeypatch.setattr(cost, "try_cells", lambda study, cells, limit: [(c, c["width"] / 100) for c in cells])


def test_dry_run_computes_nothing(command, tmp_path, tried):
    status, out, _ = command("run", *SMALL, "--dry-run", "--workers", "3")
    assert status == 0
    assert "4 of 4 cells to compute" in out
    assert re.search(r"shallow ReLU, sphere │ +16 │ +2 │ +0.2 s │ +\d+ MB │", out)
    assert re.search(
        r"About [\d.]+ s with 3 workers .* The largest cell needs about \d+ MB, the 3 largest at once", out
    )
    assert not (tmp_path / "runs").exists()


def test_variations_have_rows_of_their_own(command, tmp_path, tried):
    text = (Path(ntkgap.__file__).parent / "studies/optimization/presets/smoke.yaml").read_text()
    head, _ = text.split("  - name: MLP")
    (tmp_path / "mine.yaml").write_text(
        head + "    variations: {width: 32, axes: {data.n_train: [4, 6], natural_gradient.learning_rate: [0.2]}}\n"
    )
    status, out, err = command("run", "--preset", "mine.yaml", *SMALL[4:], "--dry-run")
    assert status == 0, err
    assert "4 of 4 cells to compute" in out  # other widths were asked for than that of the variations
    arguments = ("--width", "16,32,64", "--seed", "0,1")
    status, out, err = command("run", "--preset", "mine.yaml", *arguments, "--dry-run")
    assert status == 0, err
    assert "12 of 12 cells to compute" in out
    rows = re.findall(r"│ +(.*?) +│ +(\d+) │ +(\d+) │", out)
    varied = [("natural gradient's η = 0.2", "32", "2")] + [
        (f"training examples n = {n}", "32", "2") for n in (4, 6)
    ]
    assert [row for row in rows if "=" in row[0]] == varied
    assert [row[1:] for row in rows if "=" not in row[0]] == [("16", "2"), ("32", "2"), ("64", "2")]
    study = ntkgap.OptimizationStudy.preset("mine.yaml", widths=[16, 32, 64], seeds=[0, 1])
    measure(study, tmp_path / "s")
    status, out, _ = command("status", "s")
    assert status == 0
    assert re.search(r"sphere +│ 16, 32, 64 +│ 2 +│ +6 │ +0 │ +0 │", out)
    assert re.search(r"sphere, over natural gradient's η +│ 32 +│ 2 +│ +2 │ +0 │ +0 │", out)


def test_help_and_version_do_not_load_torch():
    code = (
        "import sys; sys.argv = ['ntkgap', '--help']\nfrom ntkgap import cli\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    out = subprocess.run([sys.executable, "-m", "ntkgap", "--version"], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == f"ntkgap {ntkgap.__version__}"


def test_presets_are_listed(command):
    status, out, _ = command("presets")
    assert status == 0
    assert "quick" in out
    assert "smoke" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "astrology"), "unknown study 'astrology'; choose one of optimization"),
        (("run", "--preset", "loud"), "unknown preset 'loud'"),
        (("run", "--width", "0"), "greater than or equal to 1, got 0"),
        (("run", "--width", "wide"), "--width takes integers"),
        (("run", "--seed", "5:5"), "empty range"),
        (("run", "--data", "missing.npz", "--problem", "MLP"), "no data file at"),
        (("run", "optimization", "--data", "digits"), "one output, but the data have 10 targets"),
        (("run", "--model", "gone.py:build"), "there is no file"),
        (("run", "--preset", "smoke", "--model", "torch.nn:Linear", "--data", "missing.npz"), "no data file at"),
        (("run", *SMALL, "--workers", "0"), "workers must be at least 1"),
        (("status", "nowhere"), "no ntkgap store at nowhere"),
        (("report", "nowhere"), "no ntkgap store at nowhere"),
    ],
)
def test_mistakes_end_in_one_line_and_a_status(command, arguments, words):
    status, _, err = command(*arguments)
    assert status == 1
    assert err.startswith("error: ")
    assert words in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.filterwarnings("ignore:left out")
def test_own_network_and_data_in_a_dry_run(command, tmp_path, tried):
    (tmp_path / "my_model.py").write_text(
        "from torch import nn\n"
        "def build(width, in_features, n_outputs):\n"
        "    return nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, n_outputs))\n"
    )
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    np.savez(tmp_path / "mine.npz", inputs=x, labels=y)
    own = ("--preset", "smoke", "--model", "my_model.py:build", "--data", "mine.npz:inputs,labels")
    status, out, err = command(
        "run", *own, "--n-train", "8", "--n-test", "8", "--width", "4,8", "--seeds", "2", "--dry-run"
    )
    assert status == 0, err
    assert re.findall(r"^(\w+): (\d+) of", out, re.M) == [
        ("optimization", "4"),
        ("uncertainty", "12"),
        ("continual", "4"),
    ]
    for name in (
        "my_model.py:build, mine",
        "my_model.py:build, classes of mine",
        "mine as a bandit, my_model.py:build",
        "permuted mine, my_model.py:build",
    ):
        assert name in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.npz", "my_model.py"]
    status, _, err = command("run", "optimization", *own, "--n-train", "100", "--dry-run")
    assert status == 1
    assert "but the data set has 60; ask for fewer" in err


@pytest.mark.filterwarnings("always:8 seeds cost")
def test_seeds_are_named_or_counted(command, tried):
    small = ("run", "optimization", "--preset", "smoke", "--problem", "shallow", "--width", "4", "--dry-run")
    assert "6 of 6 cells" in command(*small, "--seeds", "6")[1]
    _, out, err = command(*small, "--seed", "8")
    assert "1 of 1 cells" in out
    assert "warning: --seed 8 is one seed, that of number 8; --seeds 8 asks for so many" in err
    assert "warning" not in command(*small, "--seed", "0:9")[2]
    assert "warning: 8 seeds cost more than 6" in command(*small, "--seeds", "8")[2]
    status, _, err = command(*small, "--seed", "0,3,0")
    assert status == 1
    assert "repeats the seed 0; a seed is one replicate: name each once" in err
    assert command(*small, "--seed", "0:2", "--seeds", "2")[0] == 1


def test_nan_in_the_data_is_refused_before_the_sweep_starts(command, tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 3))
    x[150] = np.nan
    np.savez(tmp_path / "holes.npz", x=x, y=x[:, 0] * 0)
    status, _, err = command("run", *SMALL, "--data", "holes.npz")
    assert status == 1
    assert "x has NaN or infinite entries in 1 of 200 examples (the first is example 150)" in err
    assert not (tmp_path / "runs").exists()


def test_stores_of_a_folder_come_in_the_order_of_the_studies(command, tmp_path):
    for study in ("continual", "optimization", "uncertainty"):
        meta = {"format": 1, "study": study, "version": 1, "axes": [], "configuration": {}}
        (tmp_path / "runs" / f"my_{study}").mkdir(parents=True)
        (tmp_path / "runs" / f"my_{study}" / "ntkgap.json").write_text(json.dumps(meta))
    assert [runs.study for runs in open_stores(tmp_path / "runs")] == ["optimization", "uncertainty", "continual"]


def test_a_diverging_rate_is_reported_and_the_sweep_goes_on(command, tmp_path):
    preset = Path(ntkgap.__file__).parent / "studies/optimization/presets/smoke.yaml"
    text = preset.read_text().replace(
        "gradient_descent: {steps: 30}", "gradient_descent: {fraction_of_critical: 50, steps: 60}"
    )
    (tmp_path / "hot.yaml").write_text(text)
    status, _, _ = command("run", "--preset", "hot.yaml", *SMALL[2:])
    assert status == 0
    page = (tmp_path / "runs/hot/report.html").read_text()
    assert "4 cells diverged" in page
    assert "gradient descent: diverged at step" in page


def test_a_failed_cell_ends_in_a_status_and_is_in_the_report(command, tmp_path, monkeypatch):
    command("run", *SMALL)
    cell = next((tmp_path / "runs/smoke/optimization/workspace").iterdir())
    (cell / "result.json").rename(cell / "failure.json")
    (cell / "failure.json").write_text('{"message": "it broke", "traceback": ""}')
    status, _, err = command("run", *SMALL)
    assert status == 1
    assert "it broke" in err
    assert "--retry-failed" in err
    assert "it broke" in (tmp_path / "runs/smoke/report.html").read_text()
    assert command("run", *SMALL, "--retry-failed")[0] == 0


def test_a_smaller_grid_is_not_blamed_for_cells_it_does_not_ask_for(command, tmp_path):
    command("run", *SMALL)
    for cell in (tmp_path / "runs/smoke/optimization/workspace").iterdir():
        if '"width": 64' in (cell / "signac_statepoint.json").read_text():
            (cell / "result.json").unlink()
    status, _, err = command("run", *SMALL, "--width", "16")
    assert status == 0, err
    assert "2 of 4 cells are not computed yet" in (tmp_path / "runs/smoke/report.html").read_text()


def test_decide_adds_seeds_where_a_verdict_is_open(command, tmp_path):
    """Six seeds leave some claims open; twenty end it long before the budget does, on a slow machine too."""
    arguments = ("run", "optimization", "--preset", "smoke", "--problem", "shallow", "--width", "16")
    status, out, err = command(*arguments, "--decide", "90s")
    assert status == 0, err
    assert "6 seeds everywhere" in err
    assert re.search(
        r"\d+ of \d+ verdicts open, \d+ of them at the largest width; shallow ReLU, sphere, width 16: s", err
    )
    assert "with looks at 6, 12 and 20; error 2.1 % a side" in out
    assert re.search("optimization: (no verdict is open that|.* which) more seeds may decide", out)
    assert json.loads((tmp_path / "runs/smoke/ntkgap.json").read_text())["looks"]["seeds"] == list(range(20))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--decide", "0"), "--decide takes a time like 90s, 30m or 2h, got '0'"),
        (("--decide", "-5m"), "--decide takes a time"),
        (("--decide", "soon"), "got 'soon'"),
        (("--decide", "1d"), "got '1d'"),
        (("--decide", "1m", "--seeds", "5"), "--decide looks at 6 seeds first, and 5 are asked for"),
        (("--decide", "1m", "--seed", "0,1"), "--decide looks at 6 seeds first, and 2 are asked for"),
        (("--decide", "1m", "--seed", "0,1,2,3,4,4"), "repeats the seed 4"),
        (("--decide", "1m", "--dry-run"), "--decide chooses cells as results come in"),
    ],
)
def test_budgets_and_seeds_that_decide_nothing(command, tmp_path, arguments, words):
    status, _, err = command("run", "optimization", "--preset", "smoke", *arguments)
    assert status == 1
    assert words in err
    assert not (tmp_path / "runs").exists()


def test_times_are_read_with_their_units():
    times = ("90", "90s", " 1.5m ", "2h")
    assert [parse_budget(text) for text in times] == [90, 90, 90, 7200]
    assert parse_budget(None) is None


def test_several_studies_share_the_time(command, monkeypatch):
    budgets = []
    real = ntkgap.decide

    def decide(study, store, budget, workers, **settings):
        budgets.append(budget)
        return real(study, store, 0.001, workers, **settings)

    monkeypatch.setattr("ntkgap.studies.decide", decide)
    assert command("run", "--preset", "smoke", "--decide", "30s")[0] == 0
    assert budgets == pytest.approx([10, 15, 30], abs=2)  # what a study leaves is left to those after it


def test_ctrl_c_finishes_cleanly_and_says_how_to_resume(tmp_path):
    small = ("--preset", "smoke", "--problem", "shallow", "--seed", "0:80", "--workers", "1")
    arguments = [sys.executable, "-m", "ntkgap", "run", *small, "--store", "s"]
    # A shell that starts tests in the background has them ignore the signal, and children inherit that.
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=listening
    ) as process:
        try:
            for line in process.stderr:
                if re.match(r" *3/", line):
                    break
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait() == 130
        finally:
            process.kill()  # where this test is ended before it has
    done = re.search(r"interrupted: (\d+) of 320 cells are done and kept; run the same command to resume", rest)
    assert int(done[1]) >= 3
    assert "Traceback" not in rest
    time.sleep(0.5)  # a worker that had not ended would write another
    results = list((tmp_path / "s/optimization/workspace").glob("*/result.json"))
    assert len(results) == int(done[1])
