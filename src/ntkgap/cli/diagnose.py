"""``ntkgap diagnose``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ntkgap.cli.options import Device, DryRun, RetryFailed, Target, Workers, parse_integers, parse_seeds
from ntkgap.cli.output import exit_with_failures, make_console, say_how_to_resume
from ntkgap.paths import expanded


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
    target: Target = None,
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
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Tasks to learn one after the other, one file per task: a.npz:x,y,b.npz:x,y. Says what the "
            "network forgets, and what its linearized model forgets after the same steps."
        ),
    ] = None,
    n_train: Annotated[
        int | None, typer.Option(help="Training examples; three quarters of yours if not given, at most 800.")
    ] = None,
    n_test: Annotated[
        int | None, typer.Option(help="Test examples; a quarter of yours if not given, at most 256.")
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Seeds: '0:5' for 0 to 4, or '0,3,7'.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds, from 0; 6 if not given.")] = None,
    workers: Workers = None,
    device: Device = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
) -> None:
    """Is your training in the kernel regime, and from which width would it be?

    Trains your network at every width, and its linearized model beside it with the same steps on the same batches.
    Prints one sentence: the regime (kernel, mixed, feature learning, or not trained enough), the reason with its
    number, and the width from which the kernel regime holds or would hold, if that can be told. Then the
    scorecard, then the path of the page with everything that was measured.

    Examples:
    - `ntkgap diagnose my_model.py:build --data mine.npz:x,y --width 64,256,1024 --store runs/mine`
    - `ntkgap diagnose my_model.py:build --data mine.npz:x,y --train my_train.py:fit --dry-run`
    - `ntkgap diagnose my_model.py:build --data all.npz:x,y --tasks a.npz:x,y,b.npz:x,y` - what is forgotten, too
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
        seeds=parse_seeds(seed, seeds),
        train=train,
        tasks=tasks,
        target=target,
        n_train=n_train,
        n_test=n_test,
        device=device,
    )
    console = make_console()
    if dry_run:
        print_preview(study, folder, console, workers=workers, retry_failed=retry_failed)
        return
    try:
        runs = run_study(study, folder, workers, retry_failed=retry_failed)
    except KeyboardInterrupt:
        say_how_to_resume(study, folder, deciding=False)
        raise typer.Exit(130) from None
    if runs.counts()["done"]:
        page = write_report(runs, folder / "report.html")
        found = Diagnosis(runs)
        console.print(Text(found.sentence, style="bold"), soft_wrap=True)
        found.print_scorecard(console)
        console.print(f"report: {page}", soft_wrap=True, highlight=False)
    exit_with_failures([study], [folder], deciding=False)
