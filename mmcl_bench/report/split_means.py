"""Means over splits that differ in a number, such as the folds of a data set: ``fold-1``, ``fold-2`` and so on; of
folds of the classes, figures that are pooled over them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mmcl_bench.core.text import counted, numbered, with_folds_together
from mmcl_bench.evaluation.class_folds import PooledDifference, pooled, pooled_difference
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.evaluation.statistics import Interval, split_interval
from mmcl_bench.report.tables import (
    BEST,
    LEVEL,
    TIED,
    LeaderboardRow,
    excludes_zero,
    leaderboard_rows,
    percent,
    signed_percent,
    stored_mean,
)
from mmcl_bench.report.tables import frame_of as leaderboard_of
from mmcl_bench.results.groups import SETTINGS, Group, group_jobs, metric_names, metric_title
from mmcl_bench.results.records import TaskRecord
from mmcl_bench.results.store import FUSION, Stored

if TYPE_CHECKING:
    from rich.table import Table


DATA = "Data"
"""Head of the column that says what of its data a row lacks, in tables where any row lacks some."""


@dataclass(frozen=True)
class FoldsGroup(Group):
    """A method on several class folds of a task as one group, whose jobs are those of all folds."""

    folds: tuple[Group, ...]

    @property
    def task(self) -> TaskRecord:
        task = self.first.task
        splits = ", ".join(with_folds_together(str(fold.task.split) for fold in self.folds))
        identity = task.identity.replace(f"split={task.split}", f"split={splits}", 1)
        return task.model_copy(update={"identity": identity, "split": splits})

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({seed for fold in self.folds for seed in fold.seeds}))

    def command_of(self, n_seeds: int) -> str:
        # Fusions and scores from elsewhere are made fold by fold.
        apart = self.foreign or self.method.name == FUSION or len({fold.seeds for fold in self.folds}) > 1
        return " && ".join(fold.command for fold in self.folds) if apart else super().command_of(n_seeds)

    @property
    def remarks(self) -> list[str]:
        """None: they are of single folds, and stand there."""
        return []

    def _verb(self) -> list[str]:
        verb, _, *options = super()._verb()
        (task,) = {re.sub(r"\[split=[^],]*,?", "[", fold.task.identity).removesuffix("[]") for fold in self.folds}
        return [verb, task, "--splits", ",".join(str(fold.task.split) for fold in self.folds), *options]

    @cached_property
    def task_key(self) -> str:
        return " ".join(fold.task_key for fold in self.folds)

    @cached_property
    def key(self) -> str:
        return " ".join(fold.key for fold in self.folds)


@dataclass(frozen=True)
class SplitMean:
    """A method on several numbered splits of a task, with its mean figures."""

    rows: tuple[LeaderboardRow, ...]
    """One a split, by number."""
    figures: Mapping[str, Interval]
    """By metric: the mean over splits of the mean over seeds, by :func:`.statistics.split_interval`. Of class folds,
    the pooled figure with its interval of other classes."""
    of_these_classes: Mapping[str, Interval] = field(default_factory=dict)
    """Of class folds, the same figures with their intervals of the data set's own classes."""

    @property
    def of_class_folds(self) -> bool:
        return self.group.task.is_class_fold

    @property
    def classes(self) -> str:
        """``each of 27 classes unseen 5 times``, ``21 of 27 classes unseen 1 to 2 times``"""
        unseen = Counter(at for row in self.rows for at, seen in enumerate(row.group.first.seen) if not seen)
        n_classes, (fewest, most) = len(self.group.first.seen), (min(unseen.values()), max(unseen.values()))
        who = f"each of {n_classes}" if len(unseen) == n_classes else f"{len(unseen)} of {n_classes}"
        return f"{who} classes unseen {counted(most, 'time') if fewest == most else f'{fewest} to {most} times'}"

    @property
    def group(self) -> Group:
        """That of the first split."""
        return self.rows[0].group

    @cached_property
    def as_row(self) -> LeaderboardRow:
        """Class folds as one task, with the intervals of these classes: by these, two methods on a set compare."""
        folds = tuple(row.group for row in self.rows)
        jobs = tuple(job for fold in folds for job in fold.jobs)
        return LeaderboardRow(FoldsGroup(jobs, folds), self.of_these_classes, math.nan)

    @property
    def data_key(self) -> tuple[str, str]:
        """Of the task without the number of its split, on data of one content."""
        return _key(self.group)[:2]

    @property
    def splits_key(self) -> str:
        """Of the very splits, on their data: means with different keys do not compare."""
        return " ".join(row.group.task_key for row in self.rows)

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
            "metrics": _plain(self.figures),
            **({"metrics_of_these_classes": _plain(self.of_these_classes)} if self.of_class_folds else {}),
        }


def split_means(rows: Iterable[LeaderboardRow]) -> list[SplitMean]:
    """The means of methods that have two numbered splits of a task or more. Those of a task, its data and a setting
    stand together: those of most splits first, and the best of them.

    Rows that differ in anything else than the split, its data or the limit of a smoke run included, do not meet. Of a
    split whose class texts changed, the row that was run last counts.
    """
    having = sorted(
        (row for row in rows if _numbered(row.group)[1]), key=lambda row: (*_key(row.group), row.group.started)
    )
    found = []
    for _, members in groupby(having, key=lambda row: _key(row.group)[:-1]):
        of_splits = tuple({_numbered(row.group)[1]: row for row in members}.values())
        if len(of_splits) > 1:
            found.append(_pooled(of_splits) if of_splits[0].group.task.is_class_fold else _mean(of_splits))
    return sorted(
        found, key=lambda mean: (*mean.data_key, SETTINGS.index(mean.group.setting), -len(mean.rows), -_main(mean))
    )


def lead_over(mean: SplitMean, other: SplitMean) -> PooledDifference | None:
    """How far a method is ahead of another by the main metric, on the class folds that both have; None without any."""
    metric = mean.group.task.main_metric
    theirs = {row.group.task_key: row.group for row in other.rows}
    pairs = [(row.group, theirs[row.group.task_key]) for row in mean.rows if row.group.task_key in theirs]
    if metric not in METRICS or not pairs or not all(_same_clips(a, b) for a, b in pairs):
        return None
    ours, others = ([_by_clip(group) for group in groups] for groups in zip(*pairs, strict=True))
    return pooled_difference(METRICS.get(metric), ours, others, LEVEL)


def standings(means: Iterable[SplitMean]) -> dict[str, str]:
    """By key of :attr:`SplitMean.as_row`: whether a method is the best of its setting on the same class folds, or tied
    with it, as the interval of these classes of its paired difference includes 0; else empty, also where that interval
    is not known. ``means`` are best first."""
    first: dict[tuple[str, str], SplitMean] = {}
    found = {}
    for mean in means:
        best = first.setdefault((mean.splits_key, mean.group.setting), mean)
        lead = None if best is mean else lead_over(mean, best)
        paired = None if lead is None else lead.of_these_classes
        tied = paired is not None and not math.isnan(paired.low) and not excludes_zero(paired)
        found[mean.as_row.group.key] = BEST if best is mean else TIED if tied else ""
    return found


def _same_clips(a: Group, b: Group) -> bool:
    """Whether two groups have scores of the same clips."""
    return np.array_equal(np.sort(_clips(a)), np.sort(_clips(b)))


def _clips(group: Group) -> np.ndarray:
    """The names of the clips that are tested, in the order of the score sheets: each split has one of its own."""
    names: np.ndarray = group.jobs[0].samples["sample_id"].to_numpy()
    return names


def _by_clip(group: Group) -> list[Scored]:
    """The score sheet of each seed by rising name of the clips: by that order intervals tell that splits have the same
    clips. Where each split tests others of them, as with ``unseen_clips=all``, those that two share count twice."""
    order = np.argsort(_clips(group))
    return [sheet.rows(order) for sheet in group.runs()]


def means_of(stored: Sequence[Stored]) -> list[SplitMean]:
    """:func:`split_means` of jobs. Class folds need no intervals of single folds, which take the most time."""
    alone = without_class_folds(stored)
    kept = {job.result.job_hash for job in alone}
    of_folds = group_jobs(job for job in stored if job.result.job_hash not in kept)
    return split_means([*leaderboard_rows(alone), *(LeaderboardRow(group, {}, math.nan) for group in of_folds)])


def tables_of(stored: Sequence[Stored]) -> list[Table]:
    """A terminal table a task with numbered splits, one column a method; of class folds, one row a method."""
    return [_table_of(list(means)) for _, means in groupby(means_of(stored), key=lambda mean: mean.data_key)]


def pooled_keys(groups: Iterable[Group]) -> set[str]:
    """Keys of those groups that are a method on one of several class folds of a task: these are pooled, and are no
    rows of their own."""
    folds = [group for group in groups if group.task.is_class_fold]
    several = Counter(key[:-1] for key in {_key(group) for group in folds})
    return {group.key for group in folds if several[_key(group)[:-1]] > 1}


def without_class_folds(stored: Sequence[Stored]) -> list[Stored]:
    """The jobs that are not pooled over class folds."""
    of_folds = pooled_keys(group_jobs(stored))
    return [job for job in stored if Group((job,)).key not in of_folds]


def _table_of(means: Sequence[SplitMean]) -> Table:
    incomplete = means[0].group.incomplete
    task = means[0].task + (f"  incomplete data, {incomplete}" if incomplete else "")
    return _folds_table(task, means) if means[0].of_class_folds else _table(task, means)


def _folds_table(task: str, means: Sequence[SplitMean]) -> Table:
    """A row a method, with the metrics of most interest, and below each its interval of these classes."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(f"{task}\npooled over class folds: {_told_once([mean.classes for mean in means])}", style="bold"),
        caption=Text(_FOLDS_LEGEND),
        title_justify="left",
        caption_justify="left",
    )
    names = headline_metrics(means)
    table.add_column("", overflow="fold", min_width=15)
    for head in (*map(metric_title, names), "folds", "seeds"):
        table.add_column(head, justify="right")
    for mean in means:
        cells = [f"{percent(mean.figures.get(name))}\n{bounds_text(mean.of_these_classes.get(name))}" for name in names]
        table.add_row(*map(Text, [mean.group.label, *cells, str(len(mean.rows)), mean.seeds]))
    return table


_FOLDS_LEGEND = (
    "percent; a fold counts by its unseen test clips. 95% intervals: the first is for other classes of the same kind, "
    "the second for these classes, in other folds, with other seeds and clips"
)


def headline_metrics(means: Sequence[SplitMean]) -> list[str]:
    """The main metric, H and AUSUC, as far as they are reported."""
    known = metric_names(mean.group for mean in means)
    return [name for name in dict.fromkeys([means[0].group.task.main_metric, "gzsl_h", "ausuc"]) if name in known]


def bounds_text(figure: Interval | None) -> str:
    """``[50.1, 60.2]``; a dash where it is not known."""
    return percent(figure).partition(" ")[2] or "–"


def _told_once(texts: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


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
    partly = _partly(means)
    heads = ["Task", *partly, "Splits", "Setting", "Method", "Settings", "Preset", "Seeds", *map(metric_title, metrics)]
    cells = [
        [
            *(mean.task, *(mean.group.incomplete for _ in partly), mean.splits, mean.group.setting),
            *(mean.group.method.name, mean.group.settings, mean.group.method.preset, mean.seeds),
            *(percent(mean.figures.get(name)) for name in metrics),
        ]
        for mean in means
    ]
    return pd.DataFrame(cells, columns=heads)


def frame_of_folds(means: Sequence[SplitMean]) -> pd.DataFrame:
    """Figures over class folds as texts, a row each: of each metric with the interval of other classes, then with that
    of these classes; and how far each is ahead of the first of its task and setting by the main metric."""
    metrics = metric_names(mean.group for mean in means)
    partly = _partly(means)
    heads = ["Task", *partly, "Setting", "Method", "Settings", "Preset", "Folds", "Classes", "Seeds"]
    heads += [*map(metric_title, metrics), *(f"{metric_title(name)}, these classes" for name in metrics)]
    cells = [
        [
            *(mean.task, *(mean.group.incomplete for _ in partly), mean.group.setting, mean.group.method.name),
            *(mean.group.settings, mean.group.method.preset),
            *(len(mean.rows), mean.classes, mean.seeds),
            *(percent(figures.get(name)) for figures in (mean.figures, mean.of_these_classes) for name in metrics),
            lead,
        ]
        for mean, lead in zip(means, leads(means), strict=True)
    ]
    return pd.DataFrame(cells, columns=[*heads, "Against the first"])


def numbers_of_folds(means: Sequence[SplitMean]) -> pd.DataFrame:
    """Figures over class folds as a leaderboard of their own, see :func:`.tables.frame_of`: ``_low`` and ``_high`` are
    the bounds for these classes, ``_other_classes_low`` and ``_other_classes_high`` those for other classes.
    ``oracle_minus_honest`` is the mean over folds, ``task_hash`` that of the folds' hashes. It has no columns of what
    else differs between folds."""
    frame = leaderboard_of([mean.as_row for mean in means])
    frame = frame.drop(columns=["n_test", "oracle", "parameters", "flops"])
    hashes = ["".join(sorted({row.group.task.hash for row in mean.rows})) for mean in means]
    frame["task_hash"] = [hashlib.sha256(each.encode()).hexdigest()[:12] for each in hashes]
    frame["seeds"] = [mean.seeds for mean in means]
    frame["oracle_minus_honest"] = [fmean(row.oracle_minus_honest for row in mean.rows) for mean in means]
    frame.insert(frame.columns.get_loc("seeds"), "folds", [len(mean.rows) for mean in means])
    frame.insert(frame.columns.get_loc("seeds"), "classes", [mean.classes for mean in means])
    for name in metric_names(mean.group for mean in means):
        for bound in ("high", "low"):
            values = [getattr(mean.figures.get(name), bound, math.nan) for mean in means]
            frame.insert(frame.columns.get_loc(f"{name}_high") + 1, f"{name}_other_classes_{bound}", values)
    return frame


def _partly(means: Sequence[SplitMean]) -> list[str]:
    return [DATA] if any(mean.group.incomplete for mean in means) else []


def leads(means: Sequence[SplitMean]) -> list[str]:
    """How far each is ahead of the first of its task, data and setting, on the folds that both have, with the interval
    of these classes: ``first``, ``-3.1 [-9.0, 2.8]``."""
    first: dict[tuple[str, str, str], SplitMean] = {}
    found = []
    for mean in means:
        best = first.setdefault((*mean.data_key, mean.group.setting), mean)
        lead = None if best is mean else lead_over(mean, best)
        if lead is None:
            found.append("first" if best is mean else "not paired")
        else:
            paired = lead.of_these_classes
            found.append(signed_percent(paired.difference, paired.low, paired.high))
    return found


def _pooled(rows: tuple[LeaderboardRow, ...]) -> SplitMean:
    folds = [_by_clip(row.group) for row in rows]
    of_other_classes, of_these_classes = {}, {}
    for name in rows[0].group.task.metrics:
        if name in METRICS:
            figure = pooled(METRICS.get(name), folds, LEVEL)
            of_other_classes[name], of_these_classes[name] = figure.of_other_classes, figure.of_these_classes
        else:
            of_other_classes[name] = of_these_classes[name] = stored_mean([row.group for row in rows], name)
    return SplitMean(rows, of_other_classes, of_these_classes)


def _mean(rows: tuple[LeaderboardRow, ...]) -> SplitMean:
    first, splits = rows[0].group, [_by_clip(row.group) for row in rows]
    figures = {
        name: split_interval(METRICS.get(name), splits, level=LEVEL, generator=first.generator(f"mean of {name}"))
        for name in first.task.metrics
        if name in METRICS
    }
    return SplitMean(rows, figures)


def _plain(figures: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {
        name: {key: None if math.isnan(value) else value for key, value in asdict(figure).items()}
        for name, figure in figures.items()
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


def _key(group: Group) -> tuple[str, str, str, int]:
    """The task without its number, the data, all of the method that a figure depends on, and the number."""
    task, number = _numbered(group)
    method = group.method
    made = [method.name, method.version, method.preset, method.settings, group.first.limit]
    data = [group.first.provenance.data_fingerprints, group.incomplete]
    return task, json.dumps(data, sort_keys=True), json.dumps(made, sort_keys=True), number
