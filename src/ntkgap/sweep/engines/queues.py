"""Clusters with a batch system, such as Slurm, through dask-jobqueue: described in a ``cluster.yaml``."""

from pathlib import Path
from typing import Any

import yaml

from ntkgap.errors import StudyError, reason
from ntkgap.paths import expanded

SYSTEMS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
}
# A template that one fills in: every line is an argument of dask_jobqueue's cluster.
TEMPLATE = """\
# Fill in; then 'ntkgap cluster cluster.yaml' shows the job that will be submitted, and
# 'ntkgap run ... --engine dask --cluster cluster.yaml' submits and computes.
system: slurm            # slurm, pbs, sge, lsf, oar, moab or htcondor
jobs: 4                  # jobs to submit; each holds so many workers:
processes: 8             # workers a job, one core each
cores: 8                 # cores a job: as many as processes
memory: 32GB             # a job
walltime: "02:00:00"     # cells that a job leaves unfinished are computed by another
queue: null              # partition
account: null
job_script_prologue:     # lines before the worker starts, such as the environment of ntkgap
  - source ~/venv/bin/activate
worker_extra_args: []    # such as ["--resources", "memory=4e9,device_memory=20e9"]: bytes that a worker may take
job_extra_directives: [] # further directives, such as --gres=gpu:1
"""


def read_cluster(path: str | Path) -> tuple[str, int, dict[str, Any]]:
    """Read a ``cluster.yaml``.

    Returns:
        The name of the batch system, how many jobs to submit, and the arguments of its cluster.

    Raises:
        StudyError: if there is no such file, or it says something else.
    """
    path = expanded(path)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"cannot read {path}: {reason(error)}; 'ntkgap cluster' prints one to fill in") from error
    if not isinstance(found, dict):
        raise StudyError(f"{path} must be a mapping; 'ntkgap cluster' prints one to fill in")
    settings = {str(key): value for key, value in found.items() if value is not None}
    system, jobs = settings.pop("system", None), settings.pop("jobs", 1)
    if system not in SYSTEMS:
        raise StudyError(f"{path}: system must be one of {', '.join(SYSTEMS)}, got {system!r:.80}")
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise StudyError(f"{path}: jobs must be a whole number from 1, got {jobs!r:.80}")
    for name in ("cores", "memory"):
        if name not in settings:
            raise StudyError(f"{path} does not say {name}: that of one job")
    return system, jobs, {"processes": settings["cores"], **settings}


def open_cluster(path: str | Path) -> Any:
    """The cluster that a ``cluster.yaml`` describes; nothing is submitted yet.

    Raises:
        StudyError: if dask-jobqueue is not installed, or does not take what the file says.
    """
    system, _, settings = read_cluster(path)
    try:
        import dask_jobqueue
    except ImportError as error:
        raise StudyError(
            f"a cluster needs 'pip install .[dask]' in the clone of ntkgap ({reason(error)})"
        ) from error
    settings.setdefault("scheduler_options", {"dashboard_address": ":0"})
    try:
        return getattr(dask_jobqueue, SYSTEMS[system])(**settings)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StudyError(f"{path} is not what dask_jobqueue.{SYSTEMS[system]} takes: {reason(error)}") from error


def job_script(path: str | Path) -> str:
    """The script of one job that a ``cluster.yaml`` describes; nothing is submitted.

    Raises:
        StudyError: as of ``open_cluster``.
    """
    with open_cluster(path) as cluster:
        return str(cluster.job_script())
