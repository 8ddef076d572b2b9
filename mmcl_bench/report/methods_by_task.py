"""Methods over the tasks of a family, and what choosing their step on the test set would have given."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

import numpy as np
import pandas as pd

from mmcl_bench.evaluation.statistics import Interval, mean_interval
from mmcl_bench.report.figures import MethodIntervals
from mmcl_bench.report.ranking import of_last_wording, settings_of
from mmcl_bench.report.split_means import FoldsGroup
from mmcl_bench.report.tables import COSTS, LEVEL, LeaderboardRow, cost_text, costs_of, percent
from mmcl_bench.results.groups import SETTINGS, Group, metric_title

_BESIDE_MAIN = "gzsl_h"
"""Shown below the main metric where a task reports it."""


@dataclass(frozen=True)
class MethodOverTasks:
    """A method with its preset and settings on one task or several."""

    rows: tuple[LeaderboardRow, ...]
    oracle_minus_honest: Interval | None
    """Of the main metric, mean over tasks of the mean over seeds, with Student's t interval over tasks; where there is
    one task, over its class folds or else over seeds. Bounds are nan where there is one of them. None where no run has
    an oracle figure."""

    @property
    def group(self) -> Group:
        """That of any of its tasks."""
        return self.rows[0].group

    @property
    def mean(self) -> float:
        """Mean of the main metric over its tasks; nan where it is undefined on one."""
        return sum(row.main.value for row in self.rows) / len(self.rows)

    def on(self, task: Group) -> LeaderboardRow | None:
        """Its row of a task; None where it did not run there."""
        return next((row for row in self.rows if row.group.task_key == task.task_key), None)


@dataclass(frozen=True)
class MethodsByTask:
    """A table of methods by tasks of one family."""

    tasks: tuple[Group, ...]
    """Any group of each task."""
    methods: tuple[MethodOverTasks, ...]
    """By setting; within one, those of most tasks first, then by falling mean."""

    @cached_property
    def titles(self) -> list[str]:
        """Of the tasks, each of its own."""
        return task_titles(self.tasks)

    @property
    def costs(self) -> dict[str, str]:
        """The titles of costs that any method has."""
        known = {name for method in self.methods for row in method.rows for name in costs_of(row.group)}
        return {name: title for name, title in COSTS.items() if name in known}

    def ends(self, task: Group) -> tuple[float, float]:
        """Of the intervals of the main metric on a task; nan where none is known."""
        figures = [row.main for method in self.methods if (row := method.on(task))]
        return tuple(pd.Series([end for each in figures for end in (each.low, each.high)]).agg(["min", "max"]))

    @property
    def with_oracle(self) -> list[MethodIntervals]:
        """The methods that have an oracle figure, by falling difference to it."""
        found = [
            MethodIntervals(method.group.label, (figure,), method.group.method.transductive)
            for method in self.methods
            if (figure := method.oracle_minus_honest) is not None
        ]
        return sorted(found, key=lambda method: -method.intervals[0].value)


def methods_by_task(rows: Sequence[LeaderboardRow]) -> MethodsByTask | None:
    """The table of the rows of one family; None for a single method."""
    methods = methods_over_tasks(rows)
    tasks = {row.group.task_key: row.group for row in rows}
    return MethodsByTask(tuple(tasks.values()), methods) if len(methods) > 1 else None


def methods_over_tasks(rows: Sequence[LeaderboardRow]) -> tuple[MethodOverTasks, ...]:
    """The methods of the rows of one family, in the order of :attr:`MethodsByTask.methods`."""
    of_method: dict[tuple[str, str], list[LeaderboardRow]] = defaultdict(list)
    for row in of_last_wording(rows):
        # What a preset means may have changed between two results of one label.
        of_method[row.group.label, settings_of(row)].append(row)
    methods = (MethodOverTasks(tuple(own), _oracle_minus_honest(own)) for own in of_method.values())
    return tuple(sorted(methods, key=_place))


def frame_of(table: MethodsByTask) -> pd.DataFrame:
    """The table as texts: a column a task and metric, then oracle minus honest, flags and costs."""
    return pd.DataFrame([_cells(table, method) for method in table.methods])


def shown_metrics(task: Group) -> list[str]:
    """The main metric, and H where the task reports it."""
    beside = [_BESIDE_MAIN] if _BESIDE_MAIN in task.task.metrics and task.task.main_metric != _BESIDE_MAIN else []
    return [task.task.main_metric, *beside]


def task_titles(tasks: Sequence[Group]) -> list[str]:
    """The tasks without their family; with the start of a digest of task and data where these alone differ."""
    plain = [task.task.identity.partition("/")[2] + (" (incomplete data)" if task.incomplete else "") for task in tasks]
    return [
        title if plain.count(title) == 1 else f"{title} ({task.task_key[:8]})"
        for title, task in zip(plain, tasks, strict=True)
    ]


def mean_cost(method: MethodOverTasks, name: str) -> str:
    """A cost as text, its mean over tasks."""
    known = [cost for row in method.rows if (cost := costs_of(row.group).get(name)) is not None]
    return cost_text(name, sum(known) / len(known) if known else None)


def _cells(table: MethodsByTask, method: MethodOverTasks) -> dict[str, str]:
    cells = {"Setting": method.group.setting, "Method": method.group.label}
    for title, task in zip(table.titles, table.tasks, strict=True):
        row = method.on(task)
        for metric in shown_metrics(task):
            found = None if row is None else row.figures.get(metric)
            cells[f"{title}: {metric_title(metric)}"] = percent(found)
    cells["Oracle minus honest"] = percent(method.oracle_minus_honest)
    cells["Flags"] = method.group.flags
    return cells | {title: mean_cost(method, name) for name, title in table.costs.items()}


def _oracle_minus_honest(rows: Sequence[LeaderboardRow]) -> Interval | None:
    of_tasks = [found for row in rows if (found := _differences(row.group))]
    if not of_tasks:
        return None
    means = [fmean(found) for found in of_tasks]
    interval = mean_interval(means if len(means) > 1 else of_tasks[0], LEVEL)
    # The best step is never worse than the honest one.
    low, high = np.clip([interval.low, interval.high], 0, 1).tolist()
    return replace(interval, low=low, high=high)


def _differences(group: Group) -> list[float]:
    """Best test figure less the honest one, for each seed that has both; of class folds, for each fold."""
    if isinstance(group, FoldsGroup):
        return [fmean(found) for fold in group.folds if (found := _differences(fold))]
    pairs = [(job.result.best_on_test, job.result.metrics[group.task.main_metric].value) for job in group.jobs]
    return [best - honest for best, honest in pairs if best is not None and honest is not None]


def _place(method: MethodOverTasks) -> tuple[int, int, float, str]:
    mean = -method.mean if not math.isnan(method.mean) else math.inf
    return SETTINGS.index(method.group.setting), -len(method.rows), mean, method.group.label
