"""What the verbs that run jobs share: running one job after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from mmcl_bench.cli.options import names
from mmcl_bench.core.errors import UserError

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Method
    from mmcl_bench.protocols.problem import Progress
    from mmcl_bench.results.store import Stored
    from mmcl_bench.running.jobs import Job
    from mmcl_bench.running.runner import RunSite


def run_jobs(
    jobs: Sequence[Job],
    where: RunSite,
    fresh: bool,
    describe: Callable[[Job], str],
    again: Callable[[Stored], bool] = lambda stored: False,
) -> list[Stored]:
    """Runs what is not stored, with live progress; a stored result for which ``again`` holds is made anew."""
    from mmcl_bench.running.runner import run_job

    stored = []
    for number, job in enumerate(jobs, 1):
        label = f"{describe(job)}, seed {job.seed} ({number} of {len(jobs)})"
        with job_progress(label) as progress:
            place = replace(where, progress=progress)
            result, is_new = run_job(job, place, fresh)
            if not is_new and again(result):
                result, is_new = run_job(job, place, fresh=True)
        stored.append(result)
        if not is_new:
            typer.echo(f"{label}: stored result of {result.folder}", err=True)
    return stored


def by_stream(
    method: type[Method], preset: str, streams: str | None, overrides: Mapping[str, str]
) -> list[dict[str, str]]:
    """The overrides of one job for each of ``--streams``; without it, of one job.

    Raises :class:`UserError` for a method without streams, and where they are named twice.
    """
    if streams is None:
        return [dict(overrides)]
    if "streams" in overrides:
        raise UserError("--streams and --set streams=... both name the streams; give one")
    if "streams" not in method.Settings.model_fields:
        raise UserError(f"method {method.name} has no skeleton streams; leave out --streams, or choose mmcl")
    if not names(streams):
        raise UserError("--streams names no stream; give some, such as joint,bone")
    return [{**overrides, "streams": json.dumps([stream])} for stream in names(streams)]


@contextmanager
def job_progress(label: str) -> Iterator[Progress]:
    """A live line a phase on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,
    )
    lines: dict[str, TaskID] = {}

    def show(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        text = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        if phase not in lines:
            lines[phase] = bar.add_task(f"{label}  {phase}", total=total, figures=text)
        bar.update(lines[phase], completed=done, total=total, figures=text)

    with bar:
        yield show
