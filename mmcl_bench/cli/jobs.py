"""What the verbs that run jobs share: running one job after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mmcl_bench.cli.live import LiveProgress
from mmcl_bench.cli.options import names
from mmcl_bench.core.errors import UserError

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Method
    from mmcl_bench.results.store import Stored
    from mmcl_bench.running.jobs import Job
    from mmcl_bench.running.runner import RunSite


def run_jobs(
    jobs: Sequence[Job],
    where: RunSite,
    fresh: bool,
    describe: Callable[[Job], str],
    again: Callable[[Stored], bool] = lambda stored: False,
    announce: Callable[[Sequence[Job]], Sequence[str]] = lambda jobs: (),
) -> list[Stored]:
    """Runs what is not stored, with live progress; a stored result for which ``again`` holds is made anew."""
    from mmcl_bench.running.engines import Outcome
    from mmcl_bench.running.runner import run_job

    stored = []
    with LiveProgress(lambda job: f"{describe(job)}, seed {job.seed}", announce) as live:
        live.on_start(jobs)
        for place, job in enumerate(jobs):
            here = replace(where, progress=partial(live.on_progress, place))
            result, is_new = run_job(job, here, fresh)
            if not is_new and again(result):
                result, is_new = run_job(job, here, fresh=True)
            stored.append(result)
            if is_new:
                live.on_end(place, Outcome("new"))
            else:
                live.on_stored(job, result)
    return stored


def by_stream(method: type[Method], streams: str | None, overrides: Mapping[str, str]) -> list[dict[str, str]]:
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
