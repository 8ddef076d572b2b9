"""Processes of this machine: one at a time in this very process, or several beside it that share its cores and GPUs."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, ClassVar

from mmcl_bench.core.compute import THREAD_VARIABLES, threads_alone, threads_each
from mmcl_bench.core.parallel import follow_parent
from mmcl_bench.running.engines import Assignment, Engine, OnProgress, Outcome, attempt

_SECONDS = 0.1
"""Between two reports of progress of a job."""


class Local(Engine):
    """Worker processes that are kept from job to job. One that is killed is replaced; its job is lost."""

    name: ClassVar[str] = "local"

    def at_once(self, n_jobs: int, device: str) -> int:
        return min(self.workers or _devices(device), n_jobs)

    def run(self, assignments: Sequence[Assignment], on_progress: OnProgress) -> Generator[tuple[int, Outcome]]:
        device = assignments[0].where.device if assignments else "cpu"
        workers = self.at_once(len(assignments), device)
        # By the workers that were asked for, not by the jobs that are left: after a stop a job has as many as before.
        asked = self.workers or _devices(device)
        share = threads_each(asked) if asked > 1 else threads_alone()
        if workers <= 1:
            for place, given in enumerate(assignments):
                assignment = replace(given, threads=given.threads or share)
                yield place, attempt(assignment, lambda *progress, place=place: on_progress(place, *progress))
            return
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        messages: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        for place in range(len(assignments)):
            waiting.put(place)
        with _Workers([_Worker(slot, share, assignments, waiting, messages) for slot in range(workers)]):
            left = len(assignments)
            while left:
                place, message = messages.get()
                if isinstance(message, BaseException):
                    raise message
                if isinstance(message, Outcome):
                    left -= 1
                    yield place, message
                else:
                    on_progress(place, *message)


class _Workers:
    """Workers for as long as a block lasts."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self._workers = workers

    def __enter__(self) -> None:
        for worker in self._workers:
            worker.start()

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()


class _Worker(threading.Thread):
    """Gives jobs to a process of its own, one after the other, and passes on what comes back."""

    def __init__(
        self,
        slot: int,
        threads: int,
        assignments: Sequence[Assignment],
        waiting: queue.SimpleQueue[int],
        messages: queue.SimpleQueue[tuple[int, Any]],
    ) -> None:
        super().__init__(daemon=True)
        self._slot = slot
        self._threads = threads
        self._assignments = assignments
        self._waiting = waiting
        self._messages = messages
        self._process: multiprocessing.process.BaseProcess | None = None
        self._stopped = False
        self._starting = threading.Lock()

    def run(self) -> None:
        while not self._stopped:
            try:
                place = self._waiting.get_nowait()
            except queue.Empty:
                break
            try:
                self._work(place)
            except BaseException as error:  # raised where the outcomes are read, which would else wait for ever
                self._messages.put((place, error))
                break
        self._end()

    def stop(self) -> None:
        with self._starting:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
        self.join()

    def _work(self, place: int) -> None:
        with self._starting:
            if self._stopped:
                return
            if self._process is None:
                self._start()
        given = self._assignments[place]
        threads = given.threads if given.threads is not None else self._threads
        where = replace(given.where, device=_device(given.where.device, self._slot))
        try:
            self._line.send(replace(given, threads=threads, where=where))
            while not isinstance(message := self._line.recv(), Outcome):
                self._messages.put((place, message))
        except (EOFError, OSError):
            message = Outcome("lost", self._epitaph())
        self._messages.put((place, message))

    def _start(self) -> None:
        # Spawned, as CUDA and the pools of threads of this process are not there after a fork.
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._threads), daemon=False)
        self._process.start()
        theirs.close()

    def _epitaph(self) -> str:
        process, self._process = self._process, None
        if process is None:
            return "stopped"
        process.join()
        if process.exitcode is not None and process.exitcode < 0:
            return f"its process was killed ({signal.Signals(-process.exitcode).name}), most likely for want of memory"
        return f"its process ended with exit code {process.exitcode}"

    def _end(self) -> None:
        if self._process is not None:
            self._line.close()
            self._process.join()


def _serve(line: Connection, threads: int) -> None:
    """What a worker process does until the line is closed."""
    follow_parent()
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    last = 0.0

    def report(*progress: Any) -> None:
        nonlocal last
        _, done, total, _ = progress
        if time.monotonic() - last > _SECONDS or done == total:
            last = time.monotonic()
            line.send(progress)

    while True:
        try:
            assignment = line.recv()
        except EOFError:
            sys.exit(0)
        line.send(attempt(assignment, report))


def _device(device: str, slot: int) -> str:
    """``cuda`` as the GPU of a worker, so that each has one of its own as long as there are enough."""
    if device != "cuda":
        return device
    import torch

    return f"cuda:{slot % torch.cuda.device_count()}"


def _devices(device: str) -> int:
    """GPUs to use at once where no one was named; else 1."""
    if device != "cuda":
        return 1
    import torch

    return max(1, torch.cuda.device_count())
