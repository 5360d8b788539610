"""The local engine: worker processes on this machine, replaced when they die."""

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, Self

from ntkgap.errors import NtkgapError, StoreError
from ntkgap.sweep.compute_cell import Task, outcome
from ntkgap.sweep.engines.start import start_worker
from ntkgap.sweep.study import Supplies

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Event:
    """What became of a task: ``"done"``, ``"failed"``, or ``"lost"`` (its worker died every time)."""

    task: Task
    state: str
    message: str = ""


class Worker:
    """One child process, and the tasks it works on, in the order of its answers."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        try:
            self.process = start_worker(number)
        except OSError as error:
            raise NtkgapError(
                f"cannot start a worker process: {error}; let this user have more processes and open files "
                "(ulimit -u, ulimit -n), or take fewer workers"
            ) from error
        assert self.process.stdout is not None
        # Unbuffered: two answers that come at once must not both be taken out of the pipe that is waited on.
        self._answers = os.fdopen(self.process.stdout.fileno(), "rb", buffering=0, closefd=False)
        self.in_hand: deque[Task] = deque()
        self.supplies: Supplies | None = None

    def assign(self, task: Task) -> None:
        """Have it compute a task, and those beside it."""
        self.in_hand = deque(task.one_by_one())
        message = {
            "compute": task.compute,
            "compute_at_once": task.compute_at_once,
            "cells": [(one.cell, one.directory and str(one.directory.absolute())) for one in self.in_hand],
            "supplies": None if task.supplies is self.supplies else task.supplies,  # those it has already
        }
        self.supplies = task.supplies
        assert self.process.stdin is not None
        # If it died while idle its standard output has ended too, and that is where deaths are noticed.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def read_answer(self) -> dict[str, Any] | None:
        """The acknowledgment, or None if the process has died."""
        line = self._answers.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def cause_of_death(self) -> str:
        """Why it has died, for a reader."""
        code = self.process.wait()
        if code >= 0:
            return f"exit status {code}"
        hint = "; out of memory is the usual reason" if -code == signal.SIGKILL else ""
        return f"signal {signal.Signals(-code).name}{hint}"

    def end(self) -> None:
        """Have it end, by force if it does not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class LocalEngine:
    """Runs tasks in worker processes.

    A worker that dies (killed, out of memory, crashed in native code) loses the tasks in hand and
    nothing else: it is replaced, and each of them tried again alone, at most three times in all.

    As a context manager it keeps its workers from one run to the next: a new one takes seconds to import torch.

    Args:
        workers: number of processes; ``at_once`` may be set to fewer, which a run does whose device has less room.
        limit: seconds from the first cell's beginning after which it stops, whatever is in hand; None for never.
        until: moment (``time.monotonic``) at which it stops all the same; None for never.
    """

    def __init__(self, workers: int, limit: float | None = None, until: float | None = None) -> None:
        self.workers, self.limit, self.until = workers, limit, until
        self.at_once = workers
        self._keeps = False
        self._idle: list[Worker] = []

    def __enter__(self) -> Self:
        self._keeps = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers, whatever happened."""
        self._keeps = False
        while self._idle:
            self._idle.pop().end()

    def run(self, tasks: Iterable[Task]) -> Iterator[Event]:
        """Compute ``tasks``, yielding an event as each ends; each is asked for when a worker is free.

        Raises:
            StoreError: if a worker cannot write its result.
        """
        feed, again = ((task, 1) for task in tasks), deque[tuple[Task, int]]()
        end = math.inf if self.until is None else self.until
        attempts: dict[Worker, int] = {}
        with selectors.DefaultSelector() as answers:

            def take() -> tuple[Task, int] | None:
                return again.popleft() if again else next(feed, None)

            def start(task: Task, attempt: int) -> None:
                taken_numbers = {worker.number for worker in attempts}
                number = next(i for i in count() if i not in taken_numbers)
                worker = self._idle.pop() if self._idle else Worker(number)
                attempts[worker] = attempt
                answers.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
                worker.assign(task)

            def dismiss(worker: Worker, *, keep: bool = False) -> None:
                answers.unregister(worker.process.stdout)  # type: ignore[arg-type]
                attempts.pop(worker)
                if keep:
                    self._idle.append(worker)
                else:
                    worker.end()

            try:
                while len(attempts) < self.at_once and (taken := take()):
                    start(*taken)
                while attempts and time.monotonic() < end:
                    for key, _ in answers.select(None if math.isinf(end) else max(0.0, end - time.monotonic())):
                        worker: Worker = key.data
                        answer = worker.read_answer()
                        if answer is None:
                            attempt = attempts[worker]
                            cause = worker.cause_of_death()
                            dismiss(worker)
                            for task in worker.in_hand:
                                if ended := outcome(task.place):
                                    yield Event(task, ended)  # it died after its last word was written
                                elif attempt < MAX_ATTEMPTS:
                                    again.append((task, attempt + 1))
                                else:
                                    yield Event(task, "lost", f"its worker died {attempt} times: {cause}")
                            while len(attempts) < self.at_once and (taken := take()):
                                start(*taken)
                            continue
                        if answer["state"] == "begun":
                            end = min(end, time.monotonic() + (math.inf if self.limit is None else self.limit))
                            continue
                        if answer["state"] == "unwritable":
                            raise StoreError(answer["message"])
                        task = worker.in_hand.popleft()
                        if not worker.in_hand:
                            if taken := take():
                                next_task, attempts[worker] = taken
                                worker.assign(next_task)
                            else:
                                dismiss(worker, keep=self._keeps)
                        yield Event(task, answer["state"])
            finally:
                for worker in list(attempts):
                    worker.process.terminate()  # whatever it has in hand is not wanted any more
                    dismiss(worker)
