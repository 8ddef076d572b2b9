"""Runs a plan: stored results are kept, the rest is handed to an engine, and no failure stops the others."""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import DamagedError
from mmcl_bench.datasets.prepare import open_dataset
from mmcl_bench.protocols.problem import Progress
from mmcl_bench.results.store import Stored
from mmcl_bench.running.engines import Assignment, Engine, Outcome
from mmcl_bench.running.jobs import Job
from mmcl_bench.running.planning import Planned, State
from mmcl_bench.running.runner import RunSite

_LOG = logging.getLogger(__name__)


class RunObserver(Protocol):
    """Follows a run."""

    def on_start(self, jobs: Sequence[Job]) -> None:
        """These are run."""

    def on_stored(self, job: Job, stored: Stored) -> None:
        """This is not run, because its result is stored."""

    def on_progress(self, place: int, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Progress of a job, by its place among those that are run."""

    def on_end(self, place: int, outcome: Outcome) -> None:
        """One that has ended, here or in another runner."""


@dataclass
class PlanResult:
    """The results and failures of a run."""

    stored: list[Stored] = field(default_factory=list)
    """Results, in the order of the plan."""
    failures: list[tuple[Job, str]] = field(default_factory=list)
    """Jobs without one, and why."""


def run_plan(
    planned: Sequence[Planned],
    where: RunSite,
    engine: Engine,
    watcher: RunObserver,
    *,
    fresh: bool = False,
    retry_failed: bool = False,
    threads: int | None = None,
) -> PlanResult:
    """Runs every job that is not done. A job that failed before is run again with ``retry_failed`` or ``fresh``.

    Raises :class:`UserError` where none of the jobs can be run here, and :class:`OSError` when a disk is full.
    """
    found: dict[str, Stored] = {}
    failed: dict[str, str] = {}
    to_run: list[Job] = []
    for each in planned:
        stored = None if fresh or each.state is not State.DONE else _whole(each)
        if stored is not None:
            found[each.job.hash] = stored
            watcher.on_stored(each.job, stored)
        elif each.unready:
            failed[each.job.hash] = each.unready
        elif each.state is State.FAILED and not (retry_failed or fresh):
            failed[each.job.hash] = f"failed before, and is tried again with --retry-failed: {each.why}"
        else:
            to_run.append(each.job)
    if planned and not found and not to_run and all(each.unready for each in planned):
        raise UserError(planned[0].unready)
    if to_run:
        to_run = _without_waiting(to_run, engine.at_once(len(to_run), where.device))
        watcher.on_start(to_run)
        _make_embedded(to_run, where)
        assignments = [Assignment(job, where, fresh, wait=False, threads=threads) for job in to_run]
        for assignment, outcome in _outcomes(engine, assignments, watcher):
            _take(assignment, outcome, found, failed)
    return PlanResult(
        [found[each.job.hash] for each in planned if each.job.hash in found],
        [(each.job, failed[each.job.hash]) for each in planned if each.job.hash in failed],
    )


def _without_waiting(jobs: Sequence[Job], at_once: int | None) -> list[Job]:
    """The jobs in an order in which few wait for what another one makes.

    Jobs of one task and seed share an extractor, which the first of them trains while the others wait. So as many tasks
    as jobs run at once take turns; all of them, where that number is not known.
    """
    if at_once == 1:
        return list(jobs)
    places: dict[tuple[str, int], int] = {}
    turns: Counter[tuple[str, int]] = Counter()
    keys = []
    for job in jobs:
        sharing = job.task.hash, job.seed
        place = places.setdefault(sharing, len(places))
        keys.append((place // (at_once or len(jobs)), turns[sharing], place))
        turns[sharing] += 1
    return [job for _, job in sorted(zip(keys, jobs, strict=True), key=lambda pair: pair[0])]


def _whole(planned: Planned) -> Stored | None:
    """The stored result, whose files a plan does not read; None where one is damaged, which is logged."""
    try:
        return Stored.open(planned.folder)
    except DamagedError as error:
        _LOG.warning("%s: %s; it is run again", planned.folder, error)
        return None


def _outcomes(
    engine: Engine, assignments: Sequence[Assignment], watcher: RunObserver
) -> Iterator[tuple[Assignment, Outcome]]:
    """How each job ended. Jobs that another runner is running are waited for at the end."""
    busy: list[int] = []
    with closing(engine.run(assignments, watcher.on_progress)) as running:
        for place, outcome in running:
            if outcome.state == "busy":
                busy.append(place)
                continue
            watcher.on_end(place, outcome)
            yield assignments[place], outcome
    if not busy:
        return
    later = [replace(assignments[place], wait=True) for place in busy]

    def on_progress(place: int, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        watcher.on_progress(busy[place], phase, done, total, figures)

    with closing(engine.run(later, on_progress)) as running:
        for place, outcome in running:
            watcher.on_end(busy[place], outcome)
            yield later[place], outcome


def _take(assignment: Assignment, outcome: Outcome, found: dict[str, Stored], failed: dict[str, str]) -> None:
    job, where = assignment.job, assignment.where
    for notice in outcome.notices:
        _LOG.warning("%s", notice)
    if outcome.state == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), outcome.error)
    if outcome.state in ("failed", "lost"):
        failed[job.hash] = outcome.error
        return
    stored = Stored.read(where.results_root / "jobs" / job.folder)
    if stored is None:
        failed[job.hash] = "its result is gone or damaged again; run the same command once more"
    else:
        found[job.hash] = stored


def _make_embedded(jobs: Sequence[Job], where: RunSite) -> None:
    """Makes generated data sets before the jobs start, so that workers do not wait for one another."""
    for name in dict.fromkeys(name for job in jobs for name in job.task.datasets):
        open_dataset(name, where.data_root, partial(_report, where.progress, f"preparing {name}"))


def _report(progress: Progress, phase: str, done: int, total: int) -> None:
    progress(phase, done, total, {})
