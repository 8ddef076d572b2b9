"""``mmcl-bench plan``: what a run would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, show, show_json
from mmcl_bench.cli.matrix import JobOptions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mmcl_bench.running.planning import Planned, Totals

STYLES = {"done": "green", "partial": "cyan", "missing": "", "stale": "yellow", "damaged": "red", "failed": "red"}


@options.takes_options
def plan(
    wanted: JobOptions,
    site: options.SiteOptions,
    as_json: AsJson = False,
) -> None:
    """Show every job that mmcl-bench run would look at with the same arguments, its state and how long it takes.

    Nothing is run, and nothing is written.
    """
    jobs = wanted.jobs(site.data_root)

    from mmcl_bench.running.planning import plan as look
    from mmcl_bench.running.planning import totals

    planned = look(jobs, site.site())
    summed = totals(planned)
    if as_json:
        show_json({"jobs": [each.as_json() for each in planned], "totals": summed.as_json()})
        return
    show(_table(planned))
    show(_sentence(summed))


def _table(planned: Sequence[Planned]) -> RenderableType:
    """One row for the seeds of a task and a method in the same state."""
    from itertools import groupby

    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in ("task", "method", "seeds", "state", "why", "time"):
        table.add_column(column, overflow="fold", justify="right" if column == "time" else "left")
    alike = groupby(planned, key=lambda each: (each.job.task.identity, _method(each), each.state, each.why))
    for (task, method, state, why), group in alike:
        members = list(group)
        times = [each.seconds for each in members]
        total = "unknown" if None in times else duration(sum(filter(None, times)))
        row = (
            task,
            method,
            _span([each.job.seed for each in members]),
            str(state),
            why,
            total if state != "done" else "",
        )
        table.add_row(*(Text(cell, style=STYLES[state] if cell == state else "") for cell in row))
    return table


def _method(planned: Planned) -> str:
    """The method with what differs from its preset, and the limit, as one would ask for it."""
    from mmcl_bench.core.settings import setting_text

    job = planned.job
    message = [f"{key}={setting_text(value)}" for key, value in job.overrides.items()]
    message += [f"limit={job.limit}"] if job.limit is not None else []
    name = job.method if job.preset == "quick" else f"{job.method} ({job.preset})"
    return f"{name}[{','.join(message)}]" if message else name


def _span(seeds: Sequence[int]) -> str:
    """``0-4`` for seeds in a row, else ``0,3``."""
    first, last = min(seeds), max(seeds)
    if len(seeds) > 2 and len(seeds) == last - first + 1:
        return f"{first}-{last}"
    return ",".join(map(str, seeds))


def _sentence(summed: Totals) -> str:
    states = ", ".join(f"{count} {state}" for state, count in summed.by_state.items())
    text = f"{summed.jobs} jobs: {states}"
    timed = any(state != "done" for state in summed.by_state) and summed.seconds > 0
    if timed:
        text += f"; about {duration(summed.seconds)} to go, one after the other"
    if summed.unknown:
        text += f"; {'and ' if timed else ''}{summed.unknown} of which no like job was timed"
    if summed.unready:
        text += f"; {summed.unready} cannot be run here"
    return text


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h`` or ``2.1 days``."""
    for size, unit, digits in ((86400, "days", 1), (3600, "h", 1), (60, "min", 0)):
        if seconds >= 2 * size or (seconds >= size and unit != "days"):
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"
