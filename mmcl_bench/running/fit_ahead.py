"""A final fit that trains in a process of its own while the first fit still chooses.

The final fit of a network needs only the number of epochs from the first. A small network trains little faster on two
threads than on one, so two fits at once, each on half of the threads, end earlier than one after the other.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from mmcl_bench.core.parallel import follow_parent
from mmcl_bench.protocols.problem import Context, Progress

_SECONDS = 0.2
"""Between two looks at how far it is."""


class FitAhead:
    """A fit that has begun, with checkpoints in ``context.folder``.

    One that fails is no error: what it left is for the fit in this process, which then meets the same error itself.
    """

    def __init__(self, fit: Callable[[Context], object], context: Context) -> None:
        import torch

        # Forked, so that it shares the prepared data without a copy.
        forked = get_context("fork")
        theirs, self._line = forked.Pipe(duplex=False)
        self._steps = forked.Array("q", 2, lock=False)
        threads = torch.get_num_threads()
        arguments = (fit, context, threads, theirs, self._steps)
        self._process = forked.Process(target=_fit, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def finish(self, chosen: Mapping[str, Any] | None, progress: Progress) -> None:
        """Tells what the first fit chose and waits for the end, passing on how far it is."""
        with contextlib.suppress(OSError):  # it has ended
            self._line.send(chosen)
        while self._process.is_alive():
            done, total = self._steps
            progress("training", done, max(1, total), {})
            self._process.join(_SECONDS)

    def stop(self) -> None:
        """Ends it where it is. What it left can be gone on from."""
        self._process.kill()
        self._process.join()
        self._line.close()


def _fit(fit: Callable[[Context], object], context: Context, threads: int, line: Connection, steps: Any) -> None:
    import torch

    follow_parent()
    chosen: Mapping[str, Any] | None = None

    def choice() -> Mapping[str, Any] | None:
        nonlocal chosen
        while line.poll():
            chosen = line.recv()
        return chosen

    def progress(what: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        steps[:] = [done, total]

    def work() -> None:
        torch.set_num_threads(threads)
        with contextlib.suppress(Exception):
            fit(replace(context, choice=choice, progress=progress))

    # The parent's pool of threads is not there after a fork; a new thread makes its own.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
