"""The command line: ``ntkgap run | report | status | diagnose | compare | presets``."""

import io
import os
import re
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntkgap import __version__
from ntkgap.errors import NtkgapError, StoreError, StudyError
from ntkgap.paths import expanded, is_file, is_folder
from ntkgap.texts import PlainConsole

if TYPE_CHECKING:
    from ntkgap.studies.base import BaseStudy
    from ntkgap.sweep import Runs

# Heavy imports (torch, matplotlib) wait until a command needs them: help must answer at once.

app = typer.Typer(
    help="Does neural tangent kernel theory describe your network? Measure it and read the verdicts.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)

LONGEST_RANGE = 100_000
STUDY_NAMES = ("optimization", "uncertainty", "continual")  # the promises; others are found when they are named
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


def _check_first_look(seeds: "list[int] | int | None") -> None:
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


def _seeds(seed: str | None, seeds: int | None) -> "list[int] | int | None":
    """What --seed or --seeds ask for.

    Raises:
        StudyError: if both do, or one is no number.
    """
    if seed is not None and seeds is not None:
        raise StudyError("--seed names seeds and --seeds counts them; give one of the two")
    named = parse_integers(seed, "seed")
    if seed is not None and seed.strip().isdigit() and int(seed) > 1:
        _warn(f"--seed {seed} is one seed, that of number {seed}; --seeds {seed} asks for so many")
    return seeds if named is None else named


def _console(*, stderr: bool = False) -> Console:
    """Prints what users call things as they call it."""
    return PlainConsole(stderr=stderr)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Does neural tangent kernel theory describe your network? Measure it and read the verdicts."""
    if version:
        print(f"ntkgap {__version__}")
        raise typer.Exit


@app.command()
def run(
    study: Annotated[
        str | None,
        typer.Argument(
            help=f"Which study ({', '.join(STUDY_NAMES)}, diagnosis, an installed one, or my_study.py:Class); the "
            "first three if not given."
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Name of a preset (see 'ntkgap presets') or path of a YAML file.")
    ] = "quick",
    model: Annotated[
        str | None,
        typer.Option(
            help="Your network in place of the preset's: my_model.py:build or package.module:build, a function of "
            "width that returns an nn.Module. It may ask for in_shape, in_features, in_channels, n_outputs and "
            "generator by these names."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data in place of the preset's: digits, mnist, ..., or yours: mine.npz, mine.npz:images,labels, "
            "mine.csv, mine.parquet. Yours are standardised by the training rows: images [n, C, H, W] by channel, "
            "tables by column, regression targets too."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of the targets in a .csv or .parquet file.")] = None,
    train: Annotated[
        str | None,
        typer.Option(
            help="Your training: my_train.py:fit, a function (model, data, seed) -> None that trains in place. "
            "In the optimization study it is measured besides, in the others in place of the preset's training."
        ),
    ] = None,
    n_train: Annotated[int | None, typer.Option(help="Training examples in place of the preset's number.")] = None,
    n_test: Annotated[int | None, typer.Option(help="Test examples in place of the preset's number.")] = None,
    width: Annotated[str | None, typer.Option(help="Widths in place of the preset's, like 64,256,1024.")] = None,
    seed: Annotated[str | None, typer.Option(help=SEED_HELP)] = None,
    seeds: Annotated[int | None, typer.Option(help="So many seeds, from 0; instead of --seed.")] = None,
    problem: Annotated[
        list[str] | None, typer.Option(help="Only problems whose name contains this text; may be repeated.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Directory of results; by default runs/PRESET, with one store a study."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; by default one a core.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute failed cells again.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be computed, in what time and memory."),
    ] = False,
    decide: Annotated[
        str | None,
        typer.Option(
            help="Add seeds only where a verdict is open, for so long: 90s, 30m, 2h. Six seeds everywhere, then "
            "up to 12 and 20 where these leave a verdict open, those of highest gain first. The same command "
            "again goes on, with fresh time."
        ),
    ] = None,
) -> None:
    """Measure networks beside the theory's predictions and write a report.

    Running the same command again resumes: cells that are done are never computed twice.
    More widths or seeds extend a finished run.

    Examples:
    - `ntkgap run` - all studies on embedded data, report in runs/quick/report.html
    - `ntkgap run --preset smoke` - the same in seconds
    - `ntkgap run optimization --problem MLP --width 64,256,1024 --seed 0:5 --store runs/mlp`
    - `ntkgap run optimization --decide 30m --store runs/decided` - seeds only where a verdict is open
    - `ntkgap run --model my_model.py:build --data mine.npz:images,labels --width 16,64 --store runs/mine`
    """
    from ntkgap.reporting import print_preview, print_scorecard, report
    from ntkgap.studies import assess, assess_variations, find_study, not_asked, study_of
    from ntkgap.studies import decide as decide_study
    from ntkgap.sweep import run as run_study
    from ntkgap.sweep import shared_workers

    budget = parse_budget(decide)
    if budget is not None and dry_run:
        raise StudyError("--decide chooses cells as results come in, which --dry-run cannot tell; leave one out")
    # Without a study all are run that the preset and the problems are of; if there are none, the first says why.
    asked = [name for name in STUDY_NAMES if study is None and find_study(name).concerns(preset, problem)]
    names = asked or (STUDY_NAMES if study is None else (study,))
    folder = Path("runs") / Path(preset).stem if store is None else expanded(store)
    numbers = _seeds(seed, seeds)
    if budget is not None:
        _check_first_look(numbers)
    studies = []
    left_out: dict[str, NtkgapError] = {}
    for name in names:
        try:
            chosen = find_study(name).preset(
                preset,
                widths=parse_integers(width, "width"),
                seeds=numbers,
                problems=problem,
                model=model,
                data=data,
                target=target,
                train=train,
                n_train=n_train,
                n_test=n_test,
            )
            chosen.check()
            studies.append(chosen)
        except NtkgapError as error:
            if study is not None or (model is None and data is None and train is None):
                raise
            left_out[name] = error
    if not studies and len({str(error) for error in left_out.values()}) == 1:
        raise next(iter(left_out.values()))
    reasons = [f"the study {name} is left out: {error}" for name, error in left_out.items()]
    if not studies:
        raise StudyError("; ".join(reasons))
    for text in reasons:
        _warn(text)
    stores = [folder if study is not None else folder / s.name for s in studies]
    if dry_run:
        for chosen, path in zip(studies, stores, strict=True):
            print_preview(chosen, path, _console(), workers=workers, retry_failed=retry_failed)
        return
    finished = []
    console = _console()
    end = time.monotonic() + (budget or 0.0)
    with shared_workers(workers) as engine:
        for i, (chosen, path) in enumerate(zip(studies, stores, strict=True)):
            try:
                if budget is None:
                    finished.append(run_study(chosen, path, workers, retry_failed=retry_failed, engine=engine))
                else:  # what is left, in equal parts; what a study does not need is left to those after it
                    part = max(end - time.monotonic(), 1e-3) / (len(studies) - i)
                    finished.append(decide_study(chosen, path, part, workers, retry_failed=retry_failed))
            except KeyboardInterrupt:
                _say_how_to_resume(chosen, path, deciding=budget is not None)
                raise typer.Exit(130) from None
    # Files first: what is wrong with the terminal must not lose them.
    page = None
    if any(r.counts()["done"] for r in finished):
        page = report(finished, folder / "report.html")
    for runs in finished:
        print_scorecard(assess(runs), console, study_of(runs).title(), assess_variations(runs), not_asked(runs))
    if page is not None:
        console.print(f"report: {page}", soft_wrap=True, highlight=False)
    if budget is not None:
        _say_what_is_open(finished, console)
    _exit_with_failures(studies, stores, deciding=budget is not None)


@app.command()
def diagnose(
    model: Annotated[
        str,
        typer.Argument(
            help="Your network: my_model.py:build or package.module:build, a function of width that returns an "
            "nn.Module (it may ask for in_shape, in_features, in_channels, n_outputs and generator by these "
            "names), or a network as it is, without --width."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Your data: mine.npz:x,y, mine.csv, mine.parquet, or a name; digits if not given."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of the targets in a .csv or .parquet file.")] = None,
    width: Annotated[str | None, typer.Option(help="Widths; 64,256,1024 if not given.")] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Directory of results and page; by default runs/diagnosis. Running again resumes."),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            help="Your training: my_train.py:fit, a function (model, data, seed) -> None that trains in place. It "
            "is called on your network and on its linearized model. If not given: SGD with momentum 0.9 on the "
            "squared error, at a tenth of the critical rate, 200 steps."
        ),
    ] = None,
    n_train: Annotated[
        int | None, typer.Option(help="Training examples; three quarters of yours if not given, at most 800.")
    ] = None,
    n_test: Annotated[
        int | None, typer.Option(help="Test examples; a quarter of yours if not given, at most 256.")
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Seeds: '0:5' for 0 to 4, or '0,3,7'.")] = None,
    seeds: Annotated[int | None, typer.Option(help="So many seeds, from 0; 6 if not given.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; by default one a core.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute failed cells again.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be computed, in what time and memory."),
    ] = False,
) -> None:
    """Is your training in the kernel regime, and from which width would it be?

    Trains your network at every width, and its linearized model beside it with the same steps on the same batches.
    Prints one sentence: the regime (kernel, mixed, feature learning, or not trained enough), the reason with its
    number, and the width from which the kernel regime holds or would hold, if that can be told. Then the
    scorecard, then the path of the page with everything that was measured.

    Examples:
    - `ntkgap diagnose my_model.py:build --data mine.npz:x,y --width 64,256,1024 --store runs/mine`
    - `ntkgap diagnose my_model.py:build --data mine.npz:x,y --train my_train.py:fit --dry-run`
    - `ntkgap diagnose my_model.py:network --data mine.csv --target price` - one network, without a width
    """
    from ntkgap.reporting import Diagnosis, print_preview
    from ntkgap.reporting import report as write_report
    from ntkgap.studies.diagnosis.own import diagnosis_of
    from ntkgap.sweep import run as run_study

    folder = Path("runs") / "diagnosis" if store is None else expanded(store)
    study = diagnosis_of(
        model,
        data,
        widths=parse_integers(width, "width"),
        seeds=_seeds(seed, seeds),
        train=train,
        target=target,
        n_train=n_train,
        n_test=n_test,
    )
    console = _console()
    if dry_run:
        print_preview(study, folder, console, workers=workers, retry_failed=retry_failed)
        return
    try:
        runs = run_study(study, folder, workers, retry_failed=retry_failed)
    except KeyboardInterrupt:
        _say_how_to_resume(study, folder, deciding=False)
        raise typer.Exit(130) from None
    if runs.counts()["done"]:
        page = write_report(runs, folder / "report.html")
        found = Diagnosis(runs)
        console.print(Text(found.sentence, style="bold"), soft_wrap=True)
        found.print_scorecard(console)
        console.print(f"report: {page}", soft_wrap=True, highlight=False)
    _exit_with_failures([study], [folder], deciding=False)


@app.command()
def report(
    stores: Annotated[
        list[Path], typer.Argument(help="One or more stores, or the folder 'ntkgap run' made for them.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The page to write; by default report.html in the first folder.")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write every figure as a PDF, too.")] = False,
    study: Annotated[
        list[str] | None,
        typer.Option(help="Place of a study of your own, my_study.py:Class, if a store is of it."),
    ] = None,
) -> None:
    """Write the report of finished or running studies again."""
    from ntkgap.reporting import print_scorecard
    from ntkgap.reporting import report as write_report
    from ntkgap.studies import assess, assess_variations, find_study, not_asked, study_of

    for place in study or ():
        find_study(place)
    stores = [expanded(path) for path in stores]
    found = [runs for path in stores for runs in _open(path)]
    page = write_report(found, out or stores[0] / "report.html", pdf=pdf)
    console = _console()
    for runs in found:
        print_scorecard(assess(runs), console, study_of(runs).title(), assess_variations(runs), not_asked(runs))
    console.print(f"report: {page}", soft_wrap=True, highlight=False)


@app.command()
def status(
    store: Annotated[Path, typer.Argument(help="A store, or the folder 'ntkgap run' made for them.")],
) -> None:
    """Say which cells are done, failed or still to be computed."""
    from ntkgap.studies.measured import check_place
    from ntkgap.studies.variations import row_name

    console = _console()
    for runs in _open(expanded(store)):
        for stored in runs.cells:
            check_place(stored)
        title = Text(f"{runs.path} ({runs.study}, version {runs.version})")
        table = Table(title=title, title_justify="left")
        for column in ("problem", "widths", "seeds"):
            table.add_column(column)
        for column in ("done", "failed", "pending", "seconds"):
            table.add_column(column, justify="right")
        frame = runs.to_pandas()
        if frame.empty:
            console.print(f"{runs.path}: no cells are planned yet")
            continue
        for name, rows in frame.groupby([row_name(c.cell) for c in runs.cells], sort=False):
            done = rows.state.isin(("done", "diverged"))
            seconds = f"{rows.seconds.sum():.0f}" if "seconds" in rows else "0"
            widths = ", ".join(str(w) for w in sorted(set(rows.width)))
            counts = (done.sum(), (rows.state == "failed").sum(), (rows.state == "pending").sum())
            table.add_row(Text(str(name)), widths, str(rows.seed.nunique()), *(str(c) for c in counts), seconds)
        console.print(table)
        _print_failures(runs.failures(), runs.axes, console)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A store, or the folder 'ntkgap run' made for them.")],
    after: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Say which verdicts differ between two runs, and why. Nothing is written."""
    from ntkgap.results import compare_runs

    console = _console()
    others = {runs.study: runs for runs in _open(expanded(after))}
    pairs = [(runs, others[runs.study]) for runs in _open(expanded(before)) if runs.study in others]
    if not pairs:
        raise StoreError(f"{before} and {after} have no study in common")
    for one, two in pairs:
        both = compare_runs(one, two)
        changed = both[both.changed]
        console.print(f"{one.study}: {len(changed)} of {len(both)} verdicts differ", style="bold")
        if changed.empty:
            continue
        table = Table("problem", "claim", "at", "before", "after", "why")
        for row in changed.fillna({"state_a": "–", "state_b": "–"}).itertuples():
            shown = (row.problem, row.claim, f"{row.axis} = {row.at}", row.state_a, row.state_b, row.why)
            table.add_row(*(Text(str(text)) for text in shown))
        console.print(table)


@app.command()
def presets() -> None:
    """List the presets of every study."""
    from ntkgap.studies import find_study, study_names

    table = Table("study", "preset", "what it is for")
    for name in study_names():
        for preset, description in find_study(name).presets().items():
            table.add_row(name, preset, description)
    _console().print(table)


def _open(folder: Path) -> "list[Runs]":
    """The store at a folder, or all stores directly below it, in the order in which `run` computes studies."""
    from ntkgap.sweep import Runs
    from ntkgap.sweep.store import META

    if is_file(folder / META):
        return [Runs(folder)]
    below = sorted(p.parent for p in folder.glob(f"*/{META}")) if is_folder(folder) else []
    if not below:
        raise StoreError(f"there is no ntkgap store at {folder} or directly below it; 'ntkgap run' makes one")
    order = {name: place for place, name in enumerate(STUDY_NAMES)}
    return sorted((Runs(path) for path in below), key=lambda runs: order.get(runs.study, len(order)))


def _say_what_is_open(finished: "Sequence[Runs]", console: Console) -> None:
    from ntkgap.studies import assess
    from ntkgap.studies.deciding import still_open

    for runs in finished:
        left = still_open(assess(runs)) or "no verdict is open that more seeds may decide"
        if pending := runs.counts()["pending"]:
            left += f"; {pending} of {len(runs.cells)} cells planned are still to be computed"
        console.print(f"{runs.study}: {left}", soft_wrap=True, highlight=False)


def _say_how_to_resume(study: "BaseStudy", path: Path, deciding: bool) -> None:
    from ntkgap.sweep import Runs, planned_cells

    cells = Runs(path).cells if deciding else planned_cells(study, path)
    done = f"{sum(c.state == 'done' for c in cells)} of {len(cells)} cells are done and kept"
    _console(stderr=True).print(f"\ninterrupted: {done}; run the same command to resume", highlight=False)


def _print_failures(failures: list[tuple[dict[str, Any], str]], axes: Sequence[str], console: Console) -> None:
    from ntkgap.sweep.study import describe

    for cell, message in failures:
        console.print(Text(f"failed: {describe(cell, axes)}: {message}"))


def _exit_with_failures(studies: "list[BaseStudy]", stores: list[Path], deciding: bool) -> None:
    """End with a status of 1 if a cell of these studies has failed or, unless time was given, is missing."""
    from ntkgap.sweep import Runs, planned_cells

    pairs = zip(studies, stores, strict=True)
    cells = [cell for s, path in pairs for cell in (Runs(path).cells if deciding else planned_cells(s, path))]
    failed = [(c.cell, c.failure()["message"]) for c in cells if c.state == "failed"]
    missing = 0 if deciding else sum(c.state == "pending" for c in cells)
    if not failed and not missing:
        return
    console = _console(stderr=True)
    _print_failures(failed, studies[0].axes, console)
    if failed:
        what = (
            "1 cell failed; --retry-failed computes it"
            if len(failed) == 1
            else (f"{len(failed)} cells failed; --retry-failed computes them")
        )
        console.print(f"{what} again", style="red")
    if missing:
        what = "1 cell is" if missing == 1 else f"{missing} cells are"
        console.print(f"{what} still to be computed; run the same command again", style="red")
    raise typer.Exit(1)


def _warn(message: str) -> None:
    _console(stderr=True).print(Text.assemble(("warning: ", "bold yellow"), message), soft_wrap=True)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """One line for a warning of ntkgap, without the place in its code; others as Python shows them."""
    if category.__module__ == "ntkgap.errors":
        _warn(str(message))
    else:
        _python_warning(message, category, *where, **more)


_python_warning = warnings.showwarning


def main() -> None:
    """Run the command line; errors of ntkgap are one red line, not a traceback, and so are warnings."""
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except NtkgapError as error:
        _console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            raise
        # Of the terminal: a full device, say. Files are written before anything is printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _console(stderr=True).print(f"error: cannot print: {error}; all files are written", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        _console(stderr=True).print("interrupted; run the same command to resume")
        sys.exit(130)
