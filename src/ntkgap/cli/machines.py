"""``ntkgap cluster``, ``ntkgap merge``, and what ``ntkgap run`` has for several machines."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ntkgap.cli.output import make_console
from ntkgap.cli.stores import open_stores
from ntkgap.errors import StudyError
from ntkgap.paths import expanded

if TYPE_CHECKING:
    from ntkgap.studies.base import BaseStudy
    from ntkgap.sweep.engines import Engine
    from ntkgap.sweep.shards import Shard


def merge(
    stores: Annotated[list[Path], typer.Argument(help="Stores, or folders of stores, such as those of shards.")],
    into: Annotated[Path, typer.Option(help="The joined store (or folder); made if there is none.")],
) -> None:
    """Join stores. Cells whose numbers differ between stores are named, and then nothing is merged.

    Example:
    - `ntkgap merge runs/part-1 runs/part-2 --into runs/all`, then `ntkgap report runs/all`
    """
    from ntkgap.results import merge_runs

    found = [(runs, runs.path == expanded(path)) for path in stores for runs in open_stores(expanded(path))]
    studies = list(dict.fromkeys(runs.study for runs, _ in found))
    # One study in one store; several keep a folder each, as 'ntkgap run' has them.
    alone = len(studies) == 1 and all(is_store for _, is_store in found)
    for study in studies:
        target = expanded(into) if alone else expanded(into) / study
        joined = merge_runs([runs.path for runs, _ in found if runs.study == study], target)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(joined.counts().items()))
        make_console().print(f"{target}: {counts or 'no cells'}", soft_wrap=True, highlight=False)


def cluster(
    file: Annotated[
        str | None, typer.Argument(help="A cluster.yaml that is filled in; without it one to fill in is printed.")
    ] = None,
) -> None:
    """Print a cluster.yaml to fill in, or the job script that one stands for. Nothing is submitted.

    Examples:
    - `ntkgap cluster > cluster.yaml`, then fill it in
    - `ntkgap cluster cluster.yaml` - the job script, as Slurm, PBS, … will get it
    - `ntkgap run optimization --preset paper --engine dask --cluster cluster.yaml`
    """
    from ntkgap.sweep.engines.queues import TEMPLATE, job_script

    print(TEMPLATE if file is None else job_script(file), end="")


def find_engine(name: str, address: str | None, cluster: str | None, workers: int | None) -> "Engine | None":
    """The engine of a name; None for the local one.

    Raises:
        StudyError: if there is none of this name, or it takes no address.
    """
    if name == "dask":
        from ntkgap.sweep.engines.dask import DaskEngine
        from ntkgap.sweep.engines.queues import open_cluster, read_cluster

        if cluster is None:
            return DaskEngine(address, workers=workers)
        if address is not None:
            raise StudyError("--address names a cluster that runs and --cluster one to start; give one of the two")
        queue = open_cluster(cluster)
        queue.scale(jobs=read_cluster(cluster)[1])
        return DaskEngine(queue)
    if name != "local":
        raise StudyError(f"--engine takes local or dask, got {name!r:.80}")
    if address is not None or cluster is not None:
        raise StudyError("--address and --cluster are of Dask: give --engine dask as well")
    return None


def say_where_parts_go(
    studies: "Sequence[BaseStudy]", stores: Sequence[Path], shard: "Shard", console: Console
) -> None:
    """Print how far a part of the sweeps is, and where its results lie."""
    from ntkgap.sweep import planned_cells

    for study, path in zip(studies, stores, strict=True):
        cells = planned_cells(study, path, shard)
        done = f"{sum(c.state == 'done' for c in cells)} of {len(cells)} cells are done"
        text = f"{study.name}, part {shard[0]} of {shard[1]}: {done}, in {path}"
        console.print(f"{text}; 'ntkgap merge' joins parts", soft_wrap=True, highlight=False)
