"""The tests in ``tests/devices``, each file in a process in which the simulated device is registered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "devices").glob("test_*.py"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_runs_there_is_what_runs_on_the_cpu(path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(path)]
    run = subprocess.run(
        command, env=environment | {"NTKGAP_SIM": "1"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]
