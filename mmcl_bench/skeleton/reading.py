"""Reading the units of a source, by several processes where there are cores."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import current_process, get_context, parent_process
from pathlib import Path
from typing import Any

from mmcl_bench.errors import UserError
from mmcl_bench.skeleton.archive import Archive, BadFile
from mmcl_bench.skeleton.parts import Bad, Part
from mmcl_bench.skeleton.readers import READERS, Reader, Unit, clip_fault
from mmcl_bench.skeleton.store import Clip, DatasetCard


@dataclass(frozen=True)
class Work:
    """What a process needs to read any unit of a source."""

    reader: str
    settings: dict[str, Any]
    source: Path | None
    card: DatasetCard
    n_joints: int


@dataclass(frozen=True)
class Stretch:
    """Some units, and the part that they become."""

    units: tuple[Unit, ...]
    part: Part


def read_all(work: Work, stretches: Sequence[Stretch], workers: int | None = None) -> Iterator[Stretch]:
    """Makes the part of every stretch that has none, and yields the stretches in their order as they are done.

    ``workers`` are processes, by default one a core. Raises :class:`UserError` when the source cannot be opened or a
    process is killed, ``OSError`` when the disk is full.
    """
    waiting = [stretch for stretch in stretches if not stretch.part.is_done]
    workers = min(workers or _usable_workers(), len(waiting))
    if workers > 1:
        yield from _read_by_processes(work, stretches, workers)
        return
    with ExitStack() as stack:
        hand = _Hand(work, stack) if waiting else None
        for stretch in stretches:
            if hand is not None and not stretch.part.is_done:
                hand.read(stretch)
            yield stretch


class _Hand:
    """A reader at its opened source."""

    def __init__(self, work: Work, stack: ExitStack) -> None:
        self._work = work
        # Whoever drops the stack closes the source.
        self._stack = stack
        self._reader: Reader = READERS.get(work.reader)(**work.settings)
        self._archive: Archive = stack.enter_context(self._reader.open(work.source))

    def read(self, stretch: Stretch) -> None:
        bad: Bad = []
        stretch.part.write(self._clips(stretch, bad), self._work.card, self._work.n_joints, bad)

    def _clips(self, stretch: Stretch, bad: Bad) -> Iterator[Clip]:
        """The usable clips of a stretch; the others are added to ``bad``."""

        def on_bad(name: str, reason: str) -> None:
            bad.append((name, reason))

        for unit in stretch.units:
            try:
                for clip in self._reader.clips(self._archive, unit, on_bad):
                    if fault := clip_fault(clip, self._work.n_joints):
                        on_bad(clip.file or clip.sample_id, fault)
                    else:
                        yield clip
            except BadFile as error:
                on_bad(unit.file, str(error))


_hand: _Hand | None = None
"""The hand of a worker process; None in the process that it works for."""


def _read_by_processes(work: Work, stretches: Sequence[Stretch], workers: int) -> Iterator[Stretch]:
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(work,))
    try:
        reading: list[tuple[Stretch, Future[None] | None]] = [
            (stretch, None if stretch.part.is_done else pool.submit(_read, stretch)) for stretch in stretches
        ]
        for stretch, future in reading:
            if future is not None:
                future.result()
            yield stretch
    except BrokenProcessPool as error:
        raise UserError(
            f"{work.source}: a process that read it was killed, most likely for want of memory; try --workers 1"
        ) from error
    finally:
        # On Ctrl-C too: what is being read is finished and kept.
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(work: Work) -> None:
    """Makes a new process ready. Ctrl-C is for the process that it works for, and it does not outlive that one."""
    global _hand
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The process keeps its source open until it ends.
    _hand = _Hand(work, ExitStack())


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(stretch: Stretch) -> None:
    if _hand is None:
        raise RuntimeError("a worker process was not made ready")
    _hand.read(stretch)


def _usable_workers() -> int:
    """One where processes cannot be forked: spawned ones would run an unguarded main script again."""
    if sys.platform != "linux" or current_process().daemon:
        return 1
    return min(len(os.sched_getaffinity(0)), 8)
