"""The tables after a run of several tasks: methods by tasks, the best of each task and what ties with it marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmcl_bench.core.text import joined_datasets
from mmcl_bench.report.methods_by_task import methods_over_tasks, task_titles
from mmcl_bench.report.tables import (
    BEST,
    TIE_MARK,
    TIED,
    LeaderboardRow,
    leaderboard_rows,
    percent_value,
    placed_by_setting,
)
from mmcl_bench.results.groups import Group, metric_title
from mmcl_bench.results.store import Stored

if TYPE_CHECKING:
    from rich.table import Table

_MARKS = {BEST: "*", TIED: TIE_MARK}
_LEGEND = (
    f"percent, means over seeds. {_MARKS[BEST]}: the best method of a task in its setting; {TIE_MARK}: its paired "
    "difference to the best has a 95% interval that includes 0, not adjusted for the number of methods; --details "
    "prints intervals"
)


def summary_tables(stored: Sequence[Stored]) -> list[Table]:
    """A terminal table for each family of tasks, a row a method and a column a task, by falling mean."""
    of_family: dict[str, list[LeaderboardRow]] = defaultdict(list)
    for row in leaderboard_rows(stored):
        of_family[row.group.task.family].append(row)
    return [_table(family, rows) for family, rows in of_family.items()]


def _table(family: str, rows: Sequence[LeaderboardRow]) -> Table:
    from rich.table import Table
    from rich.text import Text

    tasks = list({row.group.task_key: row.group for row in rows}.values())
    metrics = list(dict.fromkeys(task.task.main_metric for task in tasks))
    methods = methods_over_tasks(rows)
    limits = {row.group.first.limit for row in rows} - {None}
    notes = ["synthetic data"] if all(task.task.synthetic for task in tasks) else []
    notes += ["smoke runs, never ranked"] if limits else []
    table = Table(
        title=Text(
            ", ".join([family, *([metric_title(metrics[0])] if len(metrics) == 1 else []), *notes]), style="bold"
        ),
        caption=Text(_LEGEND),
    )
    table.add_column("method")
    for task, title in zip(tasks, _titles(tasks), strict=True):
        metric = [] if len(metrics) == 1 else [metric_title(task.task.main_metric)]
        table.add_column(Text(" ".join([title, *metric])), justify="right")
    if len(tasks) > 1:
        table.add_column("mean", justify="right")
    standings = {
        placed.row.group.key: placed.standing
        for task in tasks
        for of_setting in placed_by_setting([row for row in rows if row.group.task_key == task.task_key]).values()
        for placed in of_setting
    }
    for method in methods:
        found = [method.on(task) for task in tasks]
        cells = ["" if row is None else _cell(row, standings[row.group.key]) for row in found]
        mean = [percent_value(method.mean) if None not in found else ""] if len(tasks) > 1 else []
        table.add_row(*map(Text, [method.group.label, *cells, *(f"{each} " for each in mean)]))
    return table


def _titles(tasks: Sequence[Group]) -> list[str]:
    """Data and split of each task, or all that it is called where that does not tell it from the others."""
    short = [" ".join([joined_datasets(task.task.datasets), task.task.split or ""]).strip() for task in tasks]
    chosen = [
        title if short.count(title) == 1 else whole for title, whole in zip(short, task_titles(tasks), strict=True)
    ]
    origins = {task.task.synthetic for task in tasks}
    return [
        f"{title} (synthetic)" if task.task.synthetic and len(origins) > 1 else title
        for task, title in zip(tasks, chosen, strict=True)
    ]


def _cell(row: LeaderboardRow, standing: str) -> str:
    return percent_value(row.main.value) + _MARKS.get(standing, " ")
