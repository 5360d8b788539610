"""Run a function of a test file in a process of its own, for what concerns a whole process."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run_apart(function: Callable[..., None], *arguments: object) -> str:
    """What it prints; its failure is the caller's."""
    given = ", ".join(map(repr, arguments))
    code = f"from {function.__module__} import {function.__name__} as f; f({given})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
