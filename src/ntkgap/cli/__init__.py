"""The command line, a file a command: ``ntkgap run | report | status | diagnose | compare | merge | cluster …``.

Heavy imports (torch, matplotlib) wait until a command needs them: help must answer at once.
"""

from ntkgap.cli.app import app, main

__all__ = ["app", "main"]
