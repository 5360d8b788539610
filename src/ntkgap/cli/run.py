"""``ntkgap run``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ntkgap.cli.machines import find_engine, say_where_parts_go
from ntkgap.cli.options import (
    SEED_HELP,
    Device,
    DryRun,
    RetryFailed,
    Target,
    Workers,
    check_first_look,
    parse_budget,
    parse_integers,
    parse_seeds,
)
from ntkgap.cli.output import exit_with_failures, make_console, say_how_to_resume, say_what_is_open, warn
from ntkgap.cli.stores import STUDY_NAMES
from ntkgap.errors import NtkgapError, StudyError
from ntkgap.paths import expanded


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
            "mine.csv, mine.parquet. Yours are standardized by the training rows: images [n, C, H, W] by channel, "
            "tables by column, regression targets too."
        ),
    ] = None,
    target: Target = None,
    train: Annotated[
        str | None,
        typer.Option(
            help="Your training: my_train.py:fit, a function (model, data, seed) -> None that trains in place. "
            "The optimization study measures it in addition, the others in place of the preset's training."
        ),
    ] = None,
    n_train: Annotated[int | None, typer.Option(help="Training examples in place of the preset's number.")] = None,
    n_test: Annotated[int | None, typer.Option(help="Test examples in place of the preset's number.")] = None,
    width: Annotated[str | None, typer.Option(help="Widths in place of the preset's, like 64,256,1024.")] = None,
    seed: Annotated[str | None, typer.Option(help=SEED_HELP)] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds, from 0; instead of --seed.")] = None,
    problem: Annotated[
        list[str] | None, typer.Option(help="Only problems whose name contains this text; may be repeated.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Directory of results; by default runs/PRESET, with one store per study."),
    ] = None,
    workers: Workers = None,
    device: Device = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    decide: Annotated[
        str | None,
        typer.Option(
            help="Add seeds only where a verdict is inconclusive, for this long: 90s, 30m, 2h. Six seeds "
            "everywhere, then up to 12 and 20 where a verdict stays inconclusive, the most useful first. The same "
            "command again goes on, with fresh time."
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Compute one of several fixed parts, like 3/16, for machines that share nothing: 'ntkgap merge' "
            "joins their stores. No report is written."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Where to compute: local (processes of this machine) or dask (ntkgap[dask]).")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler, tcp://host:8786; without it a cluster on this machine."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="A cluster.yaml (see 'ntkgap cluster'): jobs of Slurm, PBS, … by Dask.")
    ] = None,
) -> None:
    """Measure networks beside the theory's predictions and write a report.

    Running the same command again resumes: cells that are done are never computed twice.
    More widths or seeds extend a finished run.

    Examples:
    - `ntkgap run` - all studies on embedded data, report in runs/quick/report.html
    - `ntkgap run --preset smoke` - the same in seconds
    - `ntkgap run optimization --problem MLP --width 64,256,1024 --seed 0:5 --store runs/mlp`
    - `ntkgap run optimization --decide 30m --store runs/decided` - seeds only where a verdict is inconclusive
    - `ntkgap run --model my_model.py:build --data mine.npz:images,labels --width 16,64 --store runs/mine`
    - `ntkgap run optimization --preset paper --store runs/part-3 --shard 3/16` - a sixteenth of it
    - `ntkgap run optimization --preset paper --engine dask --address tcp://host:8786` - on a Dask cluster
    """
    from ntkgap.models.devices import find_device
    from ntkgap.reporting import print_preview, print_scorecard, report
    from ntkgap.studies import assess, assess_variations, find_study, not_asked, study_of
    from ntkgap.studies import decide as decide_study
    from ntkgap.sweep import run as run_study
    from ntkgap.sweep import shared_workers
    from ntkgap.sweep.shards import parse_shard

    budget = parse_budget(decide)
    if budget is not None and dry_run:
        raise StudyError("--decide chooses cells as results come in, which --dry-run cannot tell; leave one out")
    part = parse_shard(shard) if shard is not None else None
    if part is not None and budget is not None:
        raise StudyError("--decide chooses cells as results come in, which no fixed --shard can; leave one out")
    # Without a study all are run that the preset and the problems are of; if there are none, the first says why.
    asked = [name for name in STUDY_NAMES if study is None and find_study(name).concerns(preset, problem)]
    names = asked or (STUDY_NAMES if study is None else (study,))
    folder = Path("runs") / Path(preset).stem if store is None else expanded(store)
    numbers = parse_seeds(seed, seeds)
    if device is not None:
        find_device(device)  # before a study is left out for it
    if budget is not None:
        check_first_look(numbers)
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
                device=device,
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
        warn(text)
    stores = [folder if study is not None else folder / s.name for s in studies]
    if dry_run:
        for chosen, path in zip(studies, stores, strict=True):
            print_preview(chosen, path, make_console(), workers=workers, retry_failed=retry_failed, shard=part)
        return
    where = find_engine(engine, address, cluster, workers)
    finished = []
    console = make_console()
    end = time.monotonic() + (budget or 0.0)
    with shared_workers(workers) as here:
        for i, (chosen, path) in enumerate(zip(studies, stores, strict=True)):
            try:
                if budget is None:
                    finished.append(
                        run_study(
                            chosen, path, workers, retry_failed=retry_failed, engine=where or here, shard=part
                        )
                    )
                else:  # what is left, in equal parts; what a study does not need is left to those after it
                    left = max(end - time.monotonic(), 1e-3) / (len(studies) - i)
                    finished.append(
                        decide_study(chosen, path, left, workers, retry_failed=retry_failed, engine=where)
                    )
            except KeyboardInterrupt:
                say_how_to_resume(chosen, path, deciding=budget is not None, shard=part)
                raise typer.Exit(130) from None
    if part is not None:
        say_where_parts_go(studies, stores, part, console)
        exit_with_failures(studies, stores, deciding=False, shard=part)
        return
    # Files first: what is wrong with the terminal must not lose them.
    page = None
    finished = [runs.snapshot() for runs in finished]  # each result is read once
    if any(r.counts()["done"] for r in finished):
        page = report(finished, folder / "report.html")
    for runs in finished:
        print_scorecard(assess(runs), console, study_of(runs).title(), assess_variations(runs), not_asked(runs))
    if page is not None:
        console.print(f"report: {page}", soft_wrap=True, highlight=False)
    if budget is not None:
        say_what_is_open(finished, console)
    exit_with_failures(studies, stores, deciding=budget is not None)
