"""A final fit that trains in a process of its own while the first fit still chooses.

Some final fits need only the number of epochs from the first. A small network trains little faster on two threads than
on one, so two fits at once, each on half of the threads, end earlier than one after the other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

from mmcl_bench.core.parallel import follow_parent
from mmcl_bench.protocols.problem import Context, Progress

_SECONDS = 0.2
"""Between two looks at how far it is."""
_LOG = logging.getLogger(__name__)


class FitAhead:
    """A fit with checkpoints in ``context.folder``, on as many threads as this process has.

    Where it fails, or cannot start, the log says so, and what it left is for the fit in this process.
    """

    def __init__(self, fit: Callable[[Context], object], context: Context) -> None:
        self._fit = fit
        self._context = context
        self._process: ForkProcess | None = None

    def start(self) -> None:
        import torch

        # Forked, so that it shares the prepared data without a copy.
        forked = get_context("fork")
        try:
            theirs, self._line = forked.Pipe(duplex=False)
            self._steps = forked.Array("q", 2, lock=False)
            arguments = (self._fit, self._context, torch.get_num_threads(), theirs, self._steps)
            self._process = forked.Process(target=_work, args=arguments, daemon=True)
            self._process.start()
            theirs.close()
        except OSError as error:
            self._process = None
            _LOG.warning("both fits train one after the other, as no process can be started: %s", error)

    def finish(self, chosen: Mapping[str, Any] | None, progress: Progress) -> None:
        """Tells what the first fit chose and waits for the end, passing on how far it is."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):  # it has ended
            self._line.send(chosen)
        while self._process.is_alive():
            done, total = self._steps
            progress("training", done, max(1, total), {})
            self._process.join(_SECONDS)
        if code := self._process.exitcode:
            _LOG.warning("the final fit beside the first one ended early (exit code %d); it goes on here", code)

    def stop(self) -> None:
        """Ends it where it is. What it left can be gone on from."""
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
            self._process.join()


def _work(fit: Callable[[Context], object], context: Context, threads: int, line: Connection, steps: Any) -> None:
    follow_parent()
    _say_nothing()
    chosen: Mapping[str, Any] | None = None
    done = False

    def choice() -> Mapping[str, Any] | None:
        nonlocal chosen
        while line.poll():
            chosen = line.recv()
        return chosen

    def progress(what: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        steps[:] = [done, total]

    def work() -> None:
        nonlocal done
        import torch

        torch.set_num_threads(threads)
        with contextlib.suppress(Exception):
            fit(replace(context, choice=choice, progress=progress))
            done = True

    # The parent's pool of threads is not there after a fork; a new thread makes its own.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    os._exit(0 if done else 1)


def _say_nothing() -> None:
    """Leaves the terminal to the parent, whose locks on it may have been held when it was forked."""
    logging.disable()
    nowhere = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    os.dup2(nowhere.fileno(), 1)
    os.dup2(nowhere.fileno(), 2)
    sys.stdout = sys.stderr = nowhere
