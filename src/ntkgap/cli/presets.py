"""``ntkgap presets``."""

from rich.table import Table

from ntkgap.cli.output import make_console


def presets() -> None:
    """List the presets of every study."""
    from ntkgap.studies import find_study, study_names

    table = Table("study", "preset", "what it is for")
    for name in study_names():
        for preset, description in find_study(name).presets().items():
            table.add_row(name, preset, description)
    make_console().print(table)
