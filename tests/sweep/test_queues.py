"""Job scripts of batch systems, without one."""

import pytest

from ntkgap.errors import StudyError
from ntkgap.sweep.engines.queues import TEMPLATE, job_script, read_cluster

pytest.importorskip("dask_jobqueue")


def write(tmp_path, text):
    (tmp_path / "cluster.yaml").write_text(text)
    return tmp_path / "cluster.yaml"


def test_the_template_gives_a_job_script(tmp_path):
    text = TEMPLATE.replace("queue: null ", "queue: short ")
    text = text.replace(
        "worker_extra_args: [] ", 'worker_extra_args: ["--resources", "memory=4e9,device_memory=2e9"] '
    )
    script = job_script(write(tmp_path, text))
    assert script.startswith("#!")
    for line in ("#SBATCH -p short", "#SBATCH --cpus-per-task=8", "#SBATCH -t 02:00:00", "venv/bin/activate"):
        assert line in script
    assert "--nthreads 1" in script
    assert "--nworkers 8" in script
    assert "--resources memory=4e9,device_memory=2e9" in script


def test_one_thread_a_worker_unless_said_otherwise(tmp_path):
    path = write(tmp_path, "{system: pbs, cores: 4, memory: 8GB, jobs: 2}")
    system, jobs, settings = read_cluster(path)
    assert (system, jobs, settings["processes"]) == ("pbs", 2, 4)
    assert "--nthreads 1" in job_script(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1", "cannot read"),
        ("- 1", "must be a mapping"),
        ("{cores: 1, memory: 1GB}", "system must be one of slurm, pbs"),
        ("{system: slurm, memory: 1GB}", "does not say cores"),
        ("{system: slurm, cores: 1, memory: 1GB, jobs: 0}", "jobs must be a whole number"),
        ("{system: slurm, cores: 1, memory: 1GB, nonsense: 2}", "is not what dask_jobqueue.SLURMCluster takes"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, words):
    with pytest.raises(StudyError, match=words) as caught:
        job_script(write(tmp_path, text))
    assert "\n" not in str(caught.value)
