"""Run a function of a test file in a process of its own, for what concerns a whole process and its threads."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run_apart(function: Callable[..., None], *arguments: object) -> str:
    """What it prints; its failure is the caller's."""
    given = ", ".join(map(repr, arguments))
    code = f"from {function.__module__} import {function.__name__} as f; f({given})"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
