"""What opens a report: methods by task at a glance, accuracy against time, and what is new since the last report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel, ValidationError

from mmcl_bench.core.files import write_text
from mmcl_bench.core.text import counted, some_of
from mmcl_bench.report import figures
from mmcl_bench.report.figures import Cell, HeatMap, Looks, MethodCost
from mmcl_bench.report.methods_by_task import MethodsByTask
from mmcl_bench.report.ranking import CHANCE, of_last_wording, on_shared_tasks, one_copy, one_encoder, told_apart
from mmcl_bench.report.tables import (
    BEST,
    TIE_MARK,
    TIED,
    LeaderboardRow,
    cost_text,
    costs_of,
    percent,
    percent_value,
)
from mmcl_bench.results.groups import Group, metric_title

if TYPE_CHECKING:
    from mmcl_bench.report.drawing import Draw

MANIFEST = ".mmcl-bench-report.json"
"""Beside the page: the rows that it shows and those of the report before it."""
_NOTE = (
    "percent, by the main metric; stronger colour is better in a column\n"
    f"bold: the best of its setting on a task, settings are parted by lines; {TIE_MARK}: the 95% interval of its "
    "paired difference to the best includes 0"
)


def heat_map(table: MethodsByTask, standing: Mapping[str, str]) -> Draw:
    """How to draw methods by task. ``standing`` has, by key of a group, whether it is the best of its setting on its
    task or tied with it."""
    cells = {}
    for at, method in enumerate(table.methods):
        for column, task in enumerate(table.tasks):
            row = method.on(task)
            if row is not None and row.main.value == row.main.value:
                stands = standing.get(row.group.key, "")
                text = percent_value(row.main.value) + (f" {TIE_MARK}" if stands == TIED else "")
                tip = f"{method.group.label} on {task.task.identity}: {percent(row.main)}"
                cells[at, column] = Cell(row.main.value, text, "", stands == BEST, f"{tip}, {stands}".strip(", "))
    labels = [method.group.label for method in table.methods]
    settings = [method.group.setting for method in table.methods]
    rules = [at for at in range(1, len(settings)) if settings[at] != settings[at - 1]]
    return partial(figures.heat_maps, [HeatMap("", cells)], labels, table.titles, _NOTE, (60, 19), True, rules)


@dataclass(frozen=True)
class Costs:
    """Methods by time and mean accuracy over the tasks that they share."""

    metric: str
    methods: list[MethodCost]
    note: str

    def drawn(self, looks: Looks) -> Draw:
        return partial(figures.accuracy_against_cost, self.metric, self.methods, looks, self.note)


def costs(rows: Sequence[LeaderboardRow]) -> Costs | None:
    """Of the rows of a family on whole data whose time is known, chance apart; None for fewer than two methods."""
    alike = of_last_wording(one_copy(one_encoder(rows)))
    names = told_apart(alike)
    known = {
        (row.group.task_key, names[row.group.key]): row
        for row in alike
        if "fit_seconds" in costs_of(row.group) and row.main.value == row.main.value and row.group.method.name != CHANCE
    }
    if not known:
        return None
    figure_of = pd.Series({key: row.main.value for key, row in known.items()}).unstack()
    shared = on_shared_tasks(figure_of)
    if shared.shape[0] < 1 or shared.shape[1] < 2:
        return None
    methods = [_cost(label, [known[task, label] for task in shared.index]) for label in shared.columns]
    metrics = {metric_title(row.group.task.main_metric) for row in known.values()}
    n_tasks = len({row.group.task_key for row in alike})
    some = len(shared) < n_tasks
    tasks = f"{len(shared)} of {counted(n_tasks, 'task')}" if some else counted(n_tasks, "task")
    left_out = sorted(set(figure_of.columns) - set(shared.columns))
    note = "means over tasks and seeds, on the machine that ran the jobs; the extractor, which methods share, is apart"
    note += "\nthe tasks are those on which all of these have a time" if some else ""
    note += f"\nleft out, as some task lacks them or their time: {some_of(left_out)}" if left_out else ""
    return Costs(f"{' or '.join(sorted(metrics))}, %: mean over {tasks}", methods, note)


def _cost(label: str, rows: Sequence[LeaderboardRow]) -> MethodCost:
    every = [costs_of(row.group) for row in rows]
    seconds = sum(each["fit_seconds"] + each.get("score_seconds", 0) for each in every) / len(every)
    accuracy = sum(row.main.value for row in rows) / len(rows)
    told = [percent_value(accuracy), cost_text("seconds", seconds)]
    if (parameters := every[0].get("parameters")) is not None:
        told.append(f"{cost_text('parameters', parameters)} parameters")
    return MethodCost(label, seconds, accuracy, f"{label}: {', '.join(told)}")


class _Row(BaseModel):
    task: str
    method: str
    figure: float | None
    jobs: list[str]

    def __str__(self) -> str:
        """``77.5 (2 seeds)``"""
        figure = percent_value(math.nan if self.figure is None else self.figure)
        return f"{figure} ({counted(len(self.jobs), 'seed')})"


class _Reports(BaseModel):
    now: dict[str, _Row]
    """By key of the group."""
    before: dict[str, _Row] | None = None


@dataclass(frozen=True)
class News:
    """How the rows of a report differ from those of the last one."""

    added: list[Group]
    changed: list[tuple[Group, str, str]]
    """Of other jobs, such as more seeds; with the figure before and now."""
    gone: list[str]
    """Method and task."""

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.gone)


def news(folder: Path, rows: Iterable[LeaderboardRow]) -> tuple[News | None, str]:
    """What is new since the last report in the folder, None where there was none; and what :func:`keep` is to write.

    A report that is made again of the same results says the same as before.
    """
    rows = list(rows)
    now = {row.group.key: _kept(row) for row in rows}
    last: _Reports | None = None
    with suppress(OSError, ValidationError):
        last = _Reports.model_validate_json((folder / MANIFEST).read_bytes())
    before = None if last is None else last.before if last.now == now else last.now
    content = _Reports(now=now, before=before).model_dump_json(indent=1) + "\n"
    if before is None:
        return None, content
    added = [row.group for row in rows if row.group.key not in before]
    changed = [
        (row.group, str(former), str(now[row.group.key]))
        for row in rows
        if (former := before.get(row.group.key)) and former != now[row.group.key]
    ]
    gone = [f"{row.method} on {row.task}" for key, row in before.items() if key not in now]
    return News(added, changed, gone), content


def keep(folder: Path, content: str) -> None:
    """Notes what a report shows, for the next one."""
    write_text(folder / MANIFEST, content)


def _kept(row: LeaderboardRow) -> _Row:
    figure = None if row.main.value != row.main.value else round(row.main.value, 6)
    jobs = [job.result.job_hash for job in row.group.jobs]
    return _Row(task=row.group.task.identity, method=row.group.label, figure=figure, jobs=jobs)
