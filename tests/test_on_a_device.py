"""The tests in ``tests/devices``, in one process of their own in which the simulated device is registered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(900)
def test_what_runs_there_is_what_runs_on_the_cpu():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    folder = str(Path(__file__).parent / "devices")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", folder]
    run = subprocess.run(
        command, env=environment | {"NTKGAP_SIM": "1"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]
    assert " passed" in run.stdout
