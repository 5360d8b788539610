"""What a cell asks of Dask workers, and how many are in hand at once, by what workers declare."""

from types import SimpleNamespace

from ntkgap.sweep.compute_cell import Task
from ntkgap.sweep.engines import dask


def room(*declared, at_once=None, tries_all=False):
    workers = {str(i): {"nthreads": 2, "resources": resources} for i, resources in enumerate(declared)}
    found = dask._Room(SimpleNamespace(scheduler_info=lambda n_workers: {"workers": workers}), at_once, tries_all)
    found.cells()
    return found


def task(memory, device_memory):
    forecasts = {"memory": lambda cell: memory, "device_memory": lambda cell: device_memory}
    return Task("a:b", {}, None, {}, forecasts)


def test_a_cell_asks_for_what_workers_declare():
    workers = {"memory": 4e9, "GPU": 1.0}, {"memory": 2e9, "device_memory": 8e9}
    assert room(*workers).needs(task(3e9, 0.0)) == {"memory": 3e9}, "nothing of a device that is the CPU"
    assert room(*workers).needs(task(3e9, 6e9)) == {"memory": 3e9, "device_memory": 6e9}
    assert room({}, {}).needs(task(3e9, 6e9)) == {}
    assert not room(*workers).too_much(task(2e9, 8e9))
    words = "needs 3.0 GB of memory and 6.0 GB of device memory by the forecast, and no worker declares so much"
    assert words in room(*workers).too_much(task(3e9, 6e9)), "each worker has one of the two alone"
    assert not room().too_much(task(3e9, 6e9)), "workers may come yet"


def test_a_cluster_of_this_machine_tries_what_the_local_engine_tries():
    assert room({"memory": 4e9}, tries_all=True).needs(task(9e9, 9e9)) == {"memory": 4e9}
    assert [room({}, at_once=n).cells() for n in (None, 1, 3)] == [2, 1, 2]
