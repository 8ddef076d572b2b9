"""``mmcl-bench plan``: what a run would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, show, show_json
from mmcl_bench.cli.matrix import JobOptions
from mmcl_bench.core import paths
from mmcl_bench.core.text import counted, duration, fold_number, with_folds_together

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
    if can_run := [each for each in planned if not each.unready or each.state == "done"]:
        show(_table(can_run))
    for part in _unready(planned, paths.data_root(site.data_root)):
        show(part, spare=["files from"])
    show(_sentence(summed))


def _table(planned: Sequence[Planned]) -> RenderableType:
    """One row for the seeds, and the folds, of a task and a method in the same state."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    with_reasons = any(each.why for each in planned)
    for column in ("task", "method", "seeds", "state", "time", *(["why"] if with_reasons else [])):
        table.add_column(column, justify="right" if column == "time" else "left")
    rows: dict[tuple[str, ...], list[Planned]] = {}
    for each in planned:
        rows.setdefault((_task_without_fold(each), _method(each), str(each.state), each.why), []).append(each)
    for (_, method, state, why), members in rows.items():
        times = [each.seconds for each in members]
        total = "unknown" if None in times else duration(sum(filter(None, times)))
        row = (
            _tasks(members),
            method,
            _span(sorted({each.job.seed for each in members})),
            state,
            total if state != "done" else "",
            *([why] if with_reasons else []),
        )
        table.add_row(*(Text(cell, style=STYLES[state] if cell == state else "") for cell in row))
    return table


def _task_without_fold(planned: Planned) -> str:
    task = planned.job.task
    return task.identity.replace(f"split={task.split}", "folds", 1) if fold_number(task.split) else task.identity


def _tasks(members: Sequence[Planned]) -> str:
    """The task, with all its folds at once: ``zero-shot/utd-mhad@1[split=22/5:fold-1 to fold-25] (25 folds)``"""
    task = members[0].job.task
    folds = with_folds_together(dict.fromkeys(str(each.job.task.split) for each in members))
    n_folds = len({each.job.task.split for each in members})
    shown = task.identity.replace(f"split={task.split}", f"split={', '.join(folds)}", 1)
    return shown if n_folds == 1 else f"{shown} ({n_folds} folds)"


def _unready(planned: Sequence[Planned], data_root: Path) -> Iterator[RenderableType]:
    """What jobs wait for: a line for each data set that is not prepared, and what is wrong with others."""
    from rich.table import Table
    from rich.text import Text

    from mmcl_bench.datasets.readers import READERS
    from mmcl_bench.datasets.store import CARD

    waiting = [each for each in planned if each.unready and each.state != "done"]
    table = Table(title="not prepared; mmcl-bench data prepare NAME --source PATH prepares one")
    for column in ("data set", "jobs", "files from"):
        table.add_column(column, justify="right" if column == "jobs" else "left")
    counts = Counter(name for each in waiting for name in each.absent)
    missing = {name for name in counts if not (data_root / name / CARD).is_file() and name in READERS}
    for name in (name for name in counts if name in missing):
        table.add_row(*map(Text, (name, str(counts[name]), READERS.get(name).homepage)))
    if missing:
        yield table
    others = Counter(each.unready for each in waiting if not missing.issuperset(each.absent))
    for why, n in others.items():
        yield f"{counted(n, 'job')} cannot run here: {why}"


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
    text = f"{counted(summed.jobs, 'job')}: {states}"
    timed = any(state != "done" for state in summed.by_state) and summed.seconds > 0
    if timed:
        text += f"; about {duration(summed.seconds)} to go, one after the other"
    if summed.unknown:
        text += f"; {'and ' if timed else ''}{summed.unknown} for which no similar job was timed"
    if summed.unready:
        text += f"; {summed.unready} cannot be run here"
    return text
