"""Options that several commands take, and how their texts are read."""

import re
from typing import Annotated

import typer

from ntkgap.cli.output import warn
from ntkgap.errors import StudyError

Target = Annotated[str | None, typer.Option(help="Column of the targets in a .csv or .parquet file.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes; by default one per core.")]
Device = Annotated[
    str | None,
    typer.Option(help="Where cells are computed: cpu, cuda (workers take its GPUs in turn), cuda:1 or mps."),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Compute failed cells again.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what would be computed, with its time and memory."),
]

LONGEST_RANGE = 100_000
SEED_HELP = "Seeds: '0:5' for 0 to 4, or '0,3,7'; in place of the preset's."


def parse_integers(text: str | None, what: str) -> list[int] | None:
    """Read ``"64,256"`` or the half-open range ``"0:5"``.

    Raises:
        StudyError: if the text is neither.
    """
    if text is None:
        return None
    try:
        if match := re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", text):
            values = range(int(match[1]), int(match[2]))
            if not values:
                raise StudyError(f"--{what} {text} is an empty range; its second number must exceed the first")
            if values[-1] - values[0] >= LONGEST_RANGE:
                raise StudyError(f"--{what} {text} is too long a range; at most {LONGEST_RANGE} numbers are taken")
            return list(values)
        return [int(part) for part in text.split(",")]
    except StudyError:
        raise
    except ValueError:
        got = text if len(text) < 80 else f"{text[:80]}…"
        raise StudyError(f"--{what} takes integers like 64,256 or a range like 0:5, got {got!r}") from None


def parse_budget(text: str | None) -> float | None:
    """Read a time like ``"90s"``, ``"30m"``, ``"2h"`` or ``"90"``, in seconds.

    Raises:
        StudyError: if it is none, or zero.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*([smh]?)\s*", text)
    seconds = float(match[1]) * {"h": 3600, "m": 60}.get(match[2], 1) if match else 0.0
    if seconds <= 0:
        got = text if len(text) < 80 else f"{text[:80]}…"
        raise StudyError(f"--decide takes a time like 90s, 30m or 2h, got {got!r}")
    return seconds


def check_first_look(seeds: "list[int] | int | None") -> None:
    """Refuse seeds that were asked for and are too few.

    Raises:
        StudyError: saying how many there are to be.
    """
    from ntkgap.studies.looks import LOOKS

    count = seeds if isinstance(seeds, int) else LOOKS[0][0] if seeds is None else len(seeds)
    if count < LOOKS[0][0]:
        raise StudyError(
            f"--decide looks at {LOOKS[0][0]} seeds first, and {count} are asked for: give as many or more, or "
            "leave --seed and --seeds out"
        )


def parse_seeds(seed: str | None, seeds: int | None) -> "list[int] | int | None":
    """What --seed or --seeds ask for.

    Raises:
        StudyError: if both do, or one is no number.
    """
    if seed is not None and seeds is not None:
        raise StudyError("--seed names seeds and --seeds counts them; give one of the two")
    named = parse_integers(seed, "seed")
    if seed is not None and seed.strip().isdigit() and int(seed) > 1:
        warn(f"--seed {seed} is one seed, that of number {seed}; --seeds {seed} asks for so many")
    return seeds if named is None else named
