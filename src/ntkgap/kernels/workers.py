"""Threads that work with torch on one core each, whatever the process has set for others.

Whole tiles in parallel wait for each other once. The operations of one tile, which torch itself would split over
cores, wait at every step, and burn the processor meanwhile if the cores are busy with something else.
"""

import contextvars
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from threading import Barrier, Lock, Thread
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = Lock()
_pool: tuple[int, ThreadPoolExecutor] | None = None


def _forget() -> None:
    """A forked process has none of its parent's threads."""
    global _lock, _pool
    _lock, _pool = Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def workers() -> ThreadPoolExecutor:
    """As many threads as torch may use here, or more; all calls share them, and they stay for later ones."""
    global _pool
    count = torch.get_num_threads()
    with _lock:
        if _pool is None or _pool[0] < count:
            _pool = count, _started(count)
        return _pool[1]


def _started(count: int) -> ThreadPoolExecutor:
    """Threads of one core each.

    ``torch.set_num_threads`` sets the number for the calling thread, and the one that later threads start with:
    that is put back by another thread as soon as all are set.
    """
    default: list[int] = []
    probe = Thread(target=lambda: default.append(torch.get_num_threads()))
    probe.start()
    probe.join()
    ready, one_core = Barrier(count + 1), Barrier(count + 1)

    def put_back() -> None:
        ready.wait()
        one_core.wait()
        torch.set_num_threads(default[0])

    def prepare() -> None:
        torch.set_grad_enabled(False)
        torch.get_num_threads()  # a thread takes the number it starts with when it is first asked for
        ready.wait()
        torch.set_num_threads(1)
        one_core.wait()

    last = Thread(target=put_back)
    last.start()
    pool = ThreadPoolExecutor(count, "ntkgap")
    for started in [pool.submit(prepare) for _ in range(count)]:
        started.result()
    last.join()
    return pool


def one_by_one(
    function: Callable[[Item], Result], items: Iterable[Item], at_once: int
) -> Iterator[tuple[int, Result]]:
    """The results of a function on every item with the item's number, as they come.

    Args:
        function: runs in other threads, without recording gradients; or in this one, if that has one core only.
        items: any number.
        at_once: how many may be worked on at a time.
    """
    if torch.get_num_threads() == 1:
        yield from ((i, function(item)) for i, item in enumerate(items))
        return
    pool = workers()
    todo = enumerate(items)
    working: dict[Future[Result], int] = {}

    def begin(number: int) -> None:
        # Few at a time, so that calls from several threads take turns.
        for i, item in islice(todo, number):
            working[pool.submit(function, item)] = i

    try:
        begin(at_once)
        while working:
            for done in wait(working, return_when=FIRST_COMPLETED).done:
                i = working.pop(done)
                begin(1)
                yield i, done.result()
    finally:
        for future in working:
            future.cancel()
        wait(working)  # after the call nothing works on its tensors


def aside(function: Callable[[], Result]) -> Result:
    """What a function returns that is worth no more than one core, with this thread's context and grad mode."""
    recording, context = torch.is_grad_enabled(), contextvars.copy_context()

    def run(_: Any) -> Result:
        with torch.set_grad_enabled(recording):
            return context.run(function)

    return next(iter(one_by_one(run, [None], 1)))[1]
