"""Live progress of several jobs at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mmcl_bench.results.store import Stored
    from mmcl_bench.running.engines import Outcome
    from mmcl_bench.running.jobs import Job

_STATE_NAMES = {"new": "done", "stored": "stored by another run", "failed": "failed", "lost": "failed"}


class LiveTable:
    """On a terminal, one line for all and one for each job that runs. Elsewhere, one line for each that ended.

    Everything is written to standard error. Used as a context; a :class:`~mmcl_bench.running.coordinating.RunObserver`.
    """

    def __init__(self, describe: Callable[[Job], str]) -> None:
        self._describe = describe
        self._jobs: Sequence[Job] = ()
        self._started: dict[int, float] = {}
        self._lines: dict[int, TaskID] = {}
        self._done = 0
        self._failed = 0
        self._progress = _progress()

    def __enter__(self) -> LiveTable:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_start(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._all = self._progress.add_task("all jobs", total=len(jobs), figures="")

    def on_stored(self, job: Job, stored: Stored) -> None:
        typer.echo(f"{self._describe(job)}: stored result of {stored.folder}", err=True)

    def preparing(self, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Shows what is made before jobs begin; a :data:`~mmcl_bench.protocols.problem.Progress`."""
        self._show(-1, phase, done, total, "")
        if done == total:
            self._drop(-1)

    def on_progress(self, place: int, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        text = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self._started.setdefault(place, time.monotonic())
        self._show(place, f"{self._describe(self._jobs[place])}  {phase}", done, total, text)

    def on_end(self, place: int, outcome: Outcome) -> None:
        self._done += 1
        self._failed += outcome.state in ("failed", "lost")
        self._drop(place)
        failed = f"{self._failed} failed" if self._failed else ""
        self._progress.update(self._all, completed=self._done, figures=failed)
        if not self._progress.disable and outcome.state == "new":
            return
        took = f" in {time.monotonic() - self._started[place]:.0f} s" if place in self._started else ""
        message = _STATE_NAMES.get(outcome.state, outcome.state) + (f": {outcome.error}" if outcome.error else took)
        self._progress.console.print(
            f"{self._describe(self._jobs[place])}: {message} ({self._done} of {len(self._jobs)})",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _show(self, place: int, text: str, done: int, total: int, figures: str) -> None:
        if place not in self._lines:
            self._lines[place] = self._progress.add_task(text, total=total, figures=figures)
        shown: dict[str, Any] = {"description": text, "completed": done, "total": total, "figures": figures}
        self._progress.update(self._lines[place], **shown)

    def _drop(self, place: int) -> None:
        if place in self._lines:
            self._progress.remove_task(self._lines.pop(place))


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,
    )
