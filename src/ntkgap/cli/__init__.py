"""The command line: ``ntkgap run | report | status | diagnose | compare | presets``, a file a command.

Heavy imports (torch, matplotlib) wait until a command needs them: help must answer at once.
"""

from ntkgap.cli.app import app, main

__all__ = ["app", "main"]
