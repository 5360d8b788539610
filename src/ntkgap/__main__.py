"""``python -m ntkgap`` is the command line."""

from ntkgap.cli import main

main()
