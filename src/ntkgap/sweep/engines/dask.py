"""Cells on a Dask cluster: machines of a network, a Slurm allocation through dask-jobqueue, or this machine."""

import contextlib
import queue
import secrets
import time
import warnings
import weakref
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from ntkgap.errors import NtkgapError, StoreError, StudyError, StudyWarning, callers_level, reason
from ntkgap.one_line import line_of
from ntkgap.sweep.compute_cell import Task, write_outcome
from ntkgap.sweep.engines.local import Event
from ntkgap.sweep.parcels import pack

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE = 1.0  # seconds between two looks at how many workers there are


class DaskEngine:
    """Runs tasks on the workers of a Dask cluster.

    Results return through the scheduler and this process writes them: workers need no disk in common with it, and
    where they have one nothing is gained by it, as results are small. Files of the user's (networks, training,
    data) travel by content. Workers need the same versions of ntkgap, torch, numpy and Python.

    A worker that dies loses the cell in hand, which is computed again elsewhere; one that kills every worker is
    given up. Where workers declare ``memory`` or ``device_memory`` in bytes (``dask worker --resources
    "memory=16e9 device_memory=40e9"``), none is given more cells at once than that holds by their forecasts. A
    cluster on this machine declares its memory, and is given no more cells at once than its GPUs have room for.

    Args:
        cluster: address of a scheduler, a ``distributed.Client``, or a cluster such as ``dask_jobqueue``'s. If not
            given, a cluster on this machine, for as long as this engine is there.
        workers: number of cells at once on this machine, where no cluster is given; by default one a core.
            ``at_once`` may be set to fewer, which a run does whose device has less room.
        timeout: seconds to wait for a scheduler.

    Raises:
        StudyError: if Dask is not installed.

    Example:
        >>> engine = ng.DaskEngine("tcp://host:8786")  # connects where a study is run
        >>> engine.cluster
        'tcp://host:8786'
    """

    def __init__(self, cluster: Any = None, *, workers: int | None = None, timeout: float = 20.0) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise StudyError(
                f"the Dask engine needs 'pip install .[dask]' in the clone of ntkgap ({reason(error)})"
            ) from error
        self.cluster, self.workers, self.timeout = cluster, workers, timeout
        self.at_once: int | None = None
        self._client: Client | None = None

    def __repr__(self) -> str:
        return line_of(self, cluster=self.cluster, workers=self.workers)

    def run(self, tasks: Iterable[Task]) -> Iterator[Event]:
        """Compute ``tasks``, yielding an event as each ends; each is asked for when a worker is free.

        Raises:
            NtkgapError: if there is no scheduler, it is lost, or workers lack the package or have other versions.
            StoreError: if a result cannot be written.
        """
        feed = iter(tasks)
        if (waiting := next(feed, None)) is None:
            return
        client = self._connected()
        name = f"ntkgap-{secrets.token_hex(4)}"
        in_hand: dict[str, tuple[Future, Task]] = {}
        ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        try:
            self._prepare(client, name, waiting)
            room = _Room(client, self.at_once, self.cluster is None)
            while in_hand or waiting:
                while waiting and len(in_hand) < room.cells():
                    if (too_much := room.too_much(waiting)) and waiting.beside:
                        feed = chain(waiting.one_by_one(), feed)
                    elif too_much:
                        yield Event(waiting, "lost", too_much)
                    else:
                        future = self._submit(client, name, waiting, room)
                        in_hand[str(future.key)] = future, waiting
                        future.add_done_callback(lambda future: ended.put(str(future.key)))
                    waiting = next(feed, None)
                try:
                    future, task = in_hand.pop(ended.get(timeout=PATIENCE))
                except queue.Empty:
                    if client.status not in ("running", "newly-created"):
                        raise self._lost() from None
                    continue
                yield from self._events(future, task)
        finally:
            # Whatever is in hand is not wanted any more; a scheduler that is lost need not be told.
            with contextlib.suppress(Exception):
                client.cancel([future for future, _ in in_hand.values()])
                client.unregister_worker_plugin(name)

    def _connected(self) -> "Client":
        from distributed import Client, LocalCluster

        if self._client is not None and self._client.status == "running":
            return self._client
        if isinstance(self.cluster, Client):
            self._client = self.cluster
            return self._client
        own = None
        if self.cluster is None:
            from distributed.system import MEMORY_LIMIT

            from ntkgap.sweep.run import default_workers

            # One Dask worker: cells have processes of their own, and all share the memory that it declares.
            own = LocalCluster(
                n_workers=1,
                threads_per_worker=self.workers or default_workers(),
                resources={"memory": MEMORY_LIMIT},
                dashboard_address=":0",
            )
        try:
            self._client = Client(self.cluster if own is None else own, timeout=self.timeout)
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise NtkgapError(
                f"no Dask scheduler answers at {self.cluster}: {reason(error)}; start one with 'dask scheduler', "
                "and give the address that it prints"
            ) from error
        weakref.finalize(self, _close, self._client, own)
        return self._client

    def _prepare(self, client: "Client", name: str, task: Task) -> None:
        """Tell the workers of the run.

        Raises:
            NtkgapError: if they cannot be told.
        """
        from ntkgap.sweep.engines.remote import RunPlugin

        plugin = RunPlugin(name, task.compute, task.supplies, pack(task.compute, task.supplies))
        try:
            client.register_plugin(plugin, name=name)
        except NtkgapError:
            raise
        except Exception as error:  # whatever a worker raises of a class it cannot import or a disk that is full
            raise _of_worker(error) from error

    def _submit(self, client: "Client", name: str, task: Task, room: "_Room") -> "Future":
        from ntkgap.sweep.engines.remote import compute_there, versions

        key = f"{name}-{task.place.name}-{secrets.token_hex(4)}"
        needs = room.needs(task)
        try:
            cells = [one.cell for one in task.one_by_one()]
            arguments = cells, task.compute_at_once, name, versions()
            return client.submit(compute_there, *arguments, key=key, pure=False, resources=needs or None)
        except Exception as error:
            if client.status != "running":
                raise self._lost() from error
            raise

    def _events(self, future: "Future", task: Task) -> Iterator[Event]:
        """What became of a task, and of those beside it; their results are written.

        Raises:
            NtkgapError: if the scheduler is lost, or the worker cannot compute anything.
            StoreError: if the result cannot be written.
        """
        from distributed import KilledWorker

        try:
            answers = self._fetched(future)
        except KilledWorker as killed:
            message = f"the workers that had it in hand died: {reason(killed)}"
            yield from (Event(one, "lost", message) for one in task.one_by_one())
            return
        self._let_go(future)
        for one, answer in zip(task.one_by_one(), answers, strict=True):
            if answer["state"] == "lost":
                yield Event(one, "lost", answer["message"])
                continue
            try:
                write_outcome(one.place, answer["state"], answer["content"])
            except OSError as error:
                raise StoreError(f"cannot write to {one.place}: {error}") from error
            yield Event(one, answer["state"])

    def _fetched(self, future: "Future") -> Any:
        """The answer; waited for where Dask computes it again, as the worker that had it is lost.

        Raises:
            KilledWorker: if every worker that had the task in hand died.
            NtkgapError: if the scheduler is lost, or the worker cannot compute anything.
        """
        from distributed import KilledWorker

        try:
            # Without a time limit: where one ends just as Dask begins to fetch, its client fetches nothing more.
            # A scheduler that is lost ends the wait.
            return future.result()
        except KilledWorker:
            raise
        except Exception as error:
            if future.status == "error":
                raise _of_worker(error) from error
            raise self._lost() from error

    def _let_go(self, future: "Future") -> None:
        """Have the scheduler forget a task before its result is written.

        As long as it is wanted, Dask computes it again where the worker that has its answer is lost. A future that
        is dropped here is forgotten there only later.
        """
        assert self._client is not None
        key, name = future.key, self._client.id

        def forget(dask_scheduler: Any) -> None:  # by value: a scheduler needs no ntkgap
            dask_scheduler.client_releases_keys(keys=[key], client=name)

        with contextlib.suppress(Exception):  # a scheduler that is lost computes nothing
            self._client.run_on_scheduler(forget)

    def _lost(self) -> NtkgapError:
        return NtkgapError(
            "the Dask scheduler is lost: what was finished is kept; start it again, and run the same command to "
            "resume"
        )


def _of_worker(error: BaseException) -> NtkgapError:
    """What a worker raised instead of computing."""
    if isinstance(error, NtkgapError):
        return error
    text = reason(error)
    if "ntkgap" in text and "No module" in text:
        return NtkgapError("a Dask worker has no ntkgap: install it there, in the same version")
    return NtkgapError(f"a Dask worker cannot compute cells: {text}")


def _close(client: "Client", own: Any) -> None:
    with contextlib.suppress(Exception):
        client.close()
        if own is not None:
            own.close()


class _Room:
    """How much the workers take.

    Args:
        client: of the scheduler.
        at_once: no more cells than this; None for as many as workers take.
        tries_all: whether a cell that needs more than any worker declares is given all that one has. The forecast
            is rough, and this machine's own cluster tries what the local engine tries.
    """

    def __init__(self, client: "Client", at_once: int | None, tries_all: bool) -> None:
        self.client, self.at_once, self.tries_all, self.since = client, at_once, tries_all, time.monotonic()
        self.asked, self.workers = -PATIENCE, {}  # type: float, dict[str, Any]
        self.told = False

    def cells(self) -> int:
        """Cells that can be begun at once; one where there is no worker yet."""
        if time.monotonic() - self.asked > PATIENCE:
            self.asked = time.monotonic()
            # A client that is about to close, as the scheduler is lost, knows of none.
            self.workers = self.client.scheduler_info(n_workers=-1).get("workers", {})
            if not self.workers and not self.told and self.asked - self.since > 10:
                self.told = True
                warnings.warn(
                    "the Dask scheduler has no worker: waiting for one", StudyWarning, stacklevel=callers_level()
                )
        threads = max(1, sum(worker["nthreads"] for worker in self.workers.values()))
        return threads if self.at_once is None else min(threads, self.at_once)

    def needs(self, task: Task) -> dict[str, float]:
        """Resources to ask for: those that workers declare."""
        declared: dict[str, float] = {}
        for worker in self.workers.values():
            for name, size in worker["resources"].items():
                declared[name] = max(size, declared.get(name, 0.0))
        several = (1 + len(task.beside),) if task.beside else ()
        forecasts = {name: forecast for name, forecast in task.forecasts.items() if name in declared}
        asked = {name: forecast(task.cell, *several) for name, forecast in forecasts.items()}
        if self.tries_all:
            asked = {name: min(size, declared[name]) for name, size in asked.items()}
        # Whole bytes: Dask adds and subtracts them, and a cell that needs all of it must find all of it.
        return {name: float(int(size)) for name, size in asked.items() if size >= 1}

    def too_much(self, task: Task) -> str:
        """Why no worker can take a cell; empty if one can."""
        needs, offers = self.needs(task), [worker["resources"] for worker in self.workers.values()]
        if not offers or any(all(offer.get(name, 0.0) >= needs[name] for name in needs) for offer in offers):
            return ""
        asked = " and ".join(f"{size / 1e9:.1f} GB of {name.replace('_', ' ')}" for name, size in needs.items())
        return f"it needs {asked} by the forecast, and no worker declares so much"
