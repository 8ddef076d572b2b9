"""Means over splits that differ in a number, such as the folds of a data set: ``fold-1``, ``fold-2`` and so on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pandas as pd

from mmcl_bench.core.text import numbered
from mmcl_bench.evaluation.metrics import METRICS
from mmcl_bench.evaluation.statistics import Interval, split_interval
from mmcl_bench.report.tables import LEVEL, LeaderboardRow, leaderboard_rows, percent
from mmcl_bench.results.groups import Group, metric_names, metric_title
from mmcl_bench.results.records import TOLD_LATER
from mmcl_bench.results.store import Stored

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class SplitMean:
    """A method on several numbered splits of a task, with its mean figures."""

    rows: tuple[LeaderboardRow, ...]
    """One a split, by number."""
    figures: Mapping[str, Interval]
    """By metric: the mean over splits of the mean over seeds, by :func:`.statistics.split_interval`."""

    @property
    def group(self) -> Group:
        """That of the first split."""
        return self.rows[0].group

    @property
    def task(self) -> str:
        """``supervised/mine@1[split=fold]``"""
        return _numbered(self.group)[0]

    @property
    def splits(self) -> str:
        """``fold-1 to fold-5``, or the names of them where some are missing between."""
        names = [str(row.group.task.split) for row in self.rows]
        numbers = [_numbered(row.group)[1] for row in self.rows]
        return f"{names[0]} to {names[-1]}" if numbers == list(range(1, len(numbers) + 1)) else ", ".join(names)

    @property
    def seeds(self) -> str:
        """How many each split has: ``5``, or ``3 to 5``."""
        counts = sorted({len(row.group.seeds) for row in self.rows})
        return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))

    def as_json(self) -> dict[str, Any]:
        """Plain values; figures are shares of 1."""
        method = self.group.method
        return {
            "task": self.task,
            "splits": [row.group.task.split for row in self.rows],
            "method": method.name,
            "preset": method.preset,
            "settings": method.settings,
            "metrics": {name: asdict(figure) for name, figure in self.figures.items()},
        }


def split_means(rows: Iterable[LeaderboardRow]) -> list[SplitMean]:
    """The means of methods that have two numbered splits of a task or more; those of a task stand together, best first.

    Rows that differ in anything else than the split, its data or the limit of a smoke run included, do not meet.
    """
    having = sorted((row for row in rows if _numbered(row.group)[1]), key=_key)
    found = []
    for _, members in groupby(having, key=lambda row: _key(row)[:-1]):
        of_splits = tuple(members)
        if len(of_splits) > 1:
            found.append(SplitMean(of_splits, _figures(of_splits)))
    return sorted(found, key=lambda mean: (mean.task, -_main(mean)))


def tables_of(stored: Sequence[Stored]) -> list[Table]:
    """A terminal table a task with numbered splits, one column a method."""
    by_task = groupby(split_means(leaderboard_rows(stored)), key=lambda mean: mean.task)
    return [_table(task, list(means)) for task, means in by_task]


def _table(task: str, means: Sequence[SplitMean]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(f"{task}\nmean over splits", style="bold"),
        caption=Text("percent, with 95% intervals over splits and their test samples"),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for mean in means:
        table.add_column(Text(mean.group.label), justify="right")
    for name in metric_names(mean.group for mean in means):
        table.add_row(*map(Text, [metric_title(name), *(percent(mean.figures.get(name)) for mean in means)]))
    table.add_row(*map(Text, ["splits", *(mean.splits for mean in means)]), style="dim")
    table.add_row(*map(Text, ["seeds", *(mean.seeds for mean in means)]), style="dim")
    return table


def frame_of(means: Sequence[SplitMean]) -> pd.DataFrame:
    """The means as texts, a row each."""
    metrics = metric_names(mean.group for mean in means)
    heads = ["Task", "Splits", "Setting", "Method", "Settings", "Preset", "Seeds", *map(metric_title, metrics)]
    cells = [
        [
            *(mean.task, mean.splits, mean.group.setting, mean.group.method.name, mean.group.settings),
            *(mean.group.method.preset, mean.seeds),
            *(percent(mean.figures.get(name)) for name in metrics),
        ]
        for mean in means
    ]
    return pd.DataFrame(cells, columns=heads)


def _figures(rows: Sequence[LeaderboardRow]) -> dict[str, Interval]:
    first, splits = rows[0].group, [row.group.runs() for row in rows]
    return {
        name: split_interval(METRICS.get(name), splits, level=LEVEL, generator=first.generator(f"mean of {name}"))
        for name in first.task.metrics
        if name in METRICS
    }


def _main(mean: SplitMean) -> float:
    figure = mean.figures.get(mean.group.task.main_metric)
    return -1.0 if figure is None or figure.value != figure.value else figure.value


def _numbered(group: Group) -> tuple[str, int]:
    """The task's identity with the number off its split, and the number; 0 where the split has none."""
    split = group.task.split or ""
    if not (told := numbered(split)):
        return group.task.identity, 0
    return group.task.identity.replace(f"split={split}", f"split={told[0]}", 1), told[1]


def _key(row: LeaderboardRow) -> tuple[str, str, int]:
    group = row.group
    data = group.first.provenance.data_fingerprints
    alike = [data, group.method.model_dump(mode="json", exclude={*TOLD_LATER}), group.first.limit]
    return _numbered(group)[0], json.dumps(alike, sort_keys=True), _numbered(group)[1]
