"""Maps a function over many items in several processes, with results in order and few of them in memory."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import current_process, get_context, parent_process
from typing import Any, TypeVar

from mmcl_bench.core.compute import usable_cores
from mmcl_bench.core.errors import UserError

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

_CALLS_A_WORKER = 3
"""Calls that wait or run, a worker."""


def in_order(
    make: Callable[[_Item], _Made], items: Iterable[_Item], workers: int | None = None, items_a_call: int = 8
) -> Generator[_Made]:
    """``make`` of every item, in the order of the items, like ``map``, in ``workers`` processes.

    By default there is one for each core that this process may use, eight at most, but one alone where processes cannot
    be forked. To stop early, close the iterator; calls that have begun are finished. Raises :class:`UserError` when a
    process is killed.
    """
    workers = workers or (min(usable_cores(), 8) if can_fork() else 1)
    if workers == 1:
        yield from map(make, items)
        return
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(make,))
    remaining = iter(items)
    running: deque[Future[list[_Made]]] = deque()
    try:
        while True:
            while len(running) < workers * _CALLS_A_WORKER and (some := list(islice(remaining, items_a_call))):
                running.append(pool.submit(_make_all, some))
            if not running:
                return
            yield from running.popleft().result()
    except BrokenProcessPool as error:
        raise ProcessKilledError("a process was killed, most likely for want of memory; try --workers 1") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class ProcessKilledError(UserError):
    """What was made so far is whole, and may be gone on from."""


_make: Callable[[Any], Any] | None = None
"""What a worker process does; None in the process that it works for."""


def _begin(make: Callable[[Any], Any]) -> None:
    """Makes a new process ready."""
    global _make
    follow_parent()
    _make = make


def follow_parent() -> None:
    """Makes a new process end with the one that made it, however that ends, and leave to it what signals ask for."""
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):  # Windows lacks the last two
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def can_fork() -> bool:
    """Whether this process may be forked. Elsewhere a new one is spawned, and runs an unguarded main script again."""
    return sys.platform == "linux" and not current_process().daemon


def _make_all(items: Sequence[Any]) -> list[Any]:
    if _make is None:
        raise RuntimeError("a worker process was not made ready")
    return [_make(item) for item in items]
