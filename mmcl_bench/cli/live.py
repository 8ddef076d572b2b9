"""Live progress of one job or of several at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from mmcl_bench.core.text import counted, duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mmcl_bench.results.store import Stored
    from mmcl_bench.running.engines import Outcome
    from mmcl_bench.running.jobs import Job

_STATE_NAMES = {"new": "done", "stored": "stored by another run", "failed": "failed", "lost": "failed"}
_SECONDS_BETWEEN_LINES = 60
_PREPARING = -1
"""The place of what is made before jobs begin."""


@dataclass
class _Phase:
    """A phase that is under way, from the first report of it on."""

    name: str
    since: float
    done_before: int
    bar: TaskID | None = None


class LiveProgress:
    """On a terminal, a bar for each job that runs and, of several jobs, one for all. Elsewhere, a line a minute, and
    one for each job that ended.

    Everything is written to standard error. Used as a context; a :class:`~mmcl_bench.running.coordinating.RunObserver`.
    ``announce`` gives the lines that are written before the jobs begin, and ``clock`` seconds.
    """

    def __init__(
        self,
        describe: Callable[[Job], str],
        announce: Callable[[Sequence[Job]], Sequence[str]] = lambda jobs: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._describe = describe
        self._announce = announce
        self._clock = clock
        self._jobs: Sequence[Job] = ()
        self._started: dict[int, float] = {}
        self._phases: dict[int, _Phase] = {}
        self._done = 0
        self._failed = 0
        self._all: TaskID | None = None
        self._begun = self._last_line = clock()
        self._progress = _bars()

    def __enter__(self) -> LiveProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_start(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        for line in self._announce(jobs):
            self._print(line, in_words=True)
        self._begun = self._last_line = self._clock()
        if len(jobs) > 1:
            self._all = self._progress.add_task("all jobs", total=len(jobs), phase="", left="", figure="")

    def on_stored(self, job: Job, stored: Stored) -> None:
        self._print(f"{self._describe(job)}: stored result of {stored.folder}")
        if self._all is not None:
            self._count()

    def preparing(self, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Shows what is made before jobs begin; a :data:`~mmcl_bench.protocols.problem.Progress`."""
        self._show(_PREPARING, "", phase, done, total, figures)
        if done == total:
            self._drop(_PREPARING)

    def on_progress(self, place: int, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        self._started.setdefault(place, self._clock())
        self._show(place, self._describe(self._jobs[place]), phase, done, total, figures)

    def on_end(self, place: int, outcome: Outcome) -> None:
        self._failed += outcome.state in ("failed", "lost")
        self._drop(place)
        self._count()
        if not self._progress.disable and outcome.state == "new":
            return
        took = f" in {duration(self._clock() - self._started[place])}" if place in self._started else ""
        message = _STATE_NAMES.get(outcome.state, outcome.state) + (f": {outcome.error}" if outcome.error else took)
        count = f" ({self._done} of {len(self._jobs)})" if len(self._jobs) > 1 else ""
        self._print(f"{self._describe(self._jobs[place])}: {message}{count}")

    def _count(self) -> None:
        self._done += 1
        if self._all is not None:
            left = _left(self._clock() - self._begun, self._done, len(self._jobs))
            failed = f"{self._failed} failed" if self._failed else ""
            self._progress.update(self._all, completed=self._done, left=left, figure=failed)

    def _show(self, place: int, name: str, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        under_way = self._phases.get(place)
        if under_way is None or under_way.name != phase:
            self._drop(place)
            under_way = self._phases[place] = _Phase(phase, self._clock(), done)
        left = _left(self._clock() - under_way.since, done - under_way.done_before, total - under_way.done_before)
        figure = _figure(figures)
        if self._progress.disable:
            self._line_a_minute(name, phase, done, total, left, figure)
            return
        if under_way.bar is None:
            under_way.bar = self._progress.add_task(name, total=total, phase=phase, left="", figure="")
        self._progress.update(under_way.bar, completed=done, total=total, left=left, figure=figure)

    def _line_a_minute(self, name: str, phase: str, done: int, total: int, left: str, figure: str) -> None:
        if self._clock() - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = self._clock()
        counts = [f"{self._done} of {counted(len(self._jobs), 'job')} done"] if len(self._jobs) > 1 else []
        what = f"{name}, {phase}" if name else phase
        parts = [*counts, f"{what}: {done} of {total}", f"about {left}" if left else "", figure]
        self._print("; ".join(filter(None, parts)))

    def _drop(self, place: int) -> None:
        if (phase := self._phases.pop(place, None)) is not None and phase.bar is not None:
            self._progress.remove_task(phase.bar)

    def _print(self, line: str, in_words: bool = False) -> None:
        """``in_words``: a terminal gets lines that end between words."""
        whole = self._progress.disable or not in_words
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=whole)


def _left(seconds: float, done: int, total: int) -> str:
    """The time left at the speed so far; empty where it is not known yet."""
    return f"{duration(seconds / done * (total - done))} left" if done > 0 and seconds > 0 else ""


def _figure(figures: Mapping[str, float]) -> str:
    """The one figure that says most: the one to choose by where there is one, else the loss, else the first."""
    known = [name for name in ("validation", "loss", *figures) if name in figures and name != "epoch"]
    return f"{known[0]} {figures[known[0]]:.3f}" if known else ""


def _bars() -> Progress:
    """A line of at most the width of the terminal each, however long the names are."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    def text(field: str, **column: int) -> TextColumn:
        shape = Column(no_wrap=True, overflow="ellipsis", **column)  # type: ignore[arg-type]
        return TextColumn(f"{{task.{field}}}", markup=False, table_column=shape)

    console = Console(stderr=True)
    return Progress(
        text("description", ratio=1),
        text("fields[phase]", max_width=22),
        BarColumn(bar_width=max(5, min(console.width - 80, 40) // 2 + 5)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        text("fields[left]", min_width=9),
        text("fields[figure]", max_width=16),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,
        expand=True,
    )
