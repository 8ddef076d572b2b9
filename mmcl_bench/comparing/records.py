"""What a comparison is made of and what it finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mmcl_bench.evaluation.metrics import Scored
from mmcl_bench.evaluation.statistics import Difference, Interval, McNemar, PairedDifference
from mmcl_bench.results.groups import unversioned
from mmcl_bench.results.records import TaskRecord
from mmcl_bench.results.store import Stored

if TYPE_CHECKING:
    import pandas as pd


LEVEL = 0.95


@dataclass(frozen=True)
class Sheet:
    """The scores of one run with their samples."""

    seed: int | None
    """None for scores of a file, which has none."""
    sample_ids: np.ndarray
    """str (N,)"""
    scored: Scored


@dataclass(frozen=True)
class Entry:
    """What one side has of a task: the runs of one method and its settings."""

    label: str
    key: str
    """Tells it from any other, for random numbers that repeat themselves."""
    task: TaskRecord
    data: Mapping[str, str]
    """Fingerprint by data set."""
    classes: tuple[str, ...]
    foreign: bool
    sheets: Callable[[], list[Sheet]]
    """Reads them anew, one a seed."""
    jobs: tuple[Stored, ...] = ()
    """What is stored of it; none for a file of scores."""

    @property
    def unversioned(self) -> str:
        return unversioned(self.task.identity)

    @property
    def comparable(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Entries of one task, version and data have the same."""
        return self.task.hash, tuple(sorted(self.data.items()))


@dataclass(frozen=True)
class Leaderboard:
    """A side that has figures with intervals and no scores."""

    where: str
    frame: pd.DataFrame


Side = list[Entry] | Leaderboard


@dataclass(frozen=True)
class Pair:
    """A run of each side on the samples that both have, in one order."""

    seed: int | None
    sample_ids: np.ndarray
    a: Scored
    b: Scored


@dataclass(frozen=True)
class MetricDifference:
    """How far a is ahead of b by one metric."""

    metric: str
    a: float
    b: float
    """Means over the paired runs."""
    paired: PairedDifference
    mcnemar: tuple[McNemar, ...] = ()
    """One a pair of runs, for accuracies."""
    mcnemar_p: float = math.nan
    """Of all pairs together."""
    p_holm: float = math.nan
    """Adjusted over what is compared together."""
    mcnemar_holm: float = math.nan
    """Adjusted likewise; of the headline metric alone."""

    @property
    def p_value(self) -> float:
        return self.paired.p_value


@dataclass(frozen=True)
class ClassDifference:
    """Wins and losses in one class, in sum over the paired runs."""

    name: str
    seen: bool
    n: int
    """Clips of one run."""
    a: float
    b: float
    """Accuracies, mean over runs."""
    won: int
    lost: int


@dataclass(frozen=True)
class Change:
    """A sample on which the two sides say different things."""

    seed: int | None
    sample_id: str
    true: str
    a: str
    b: str
    outcome: str
    """``won``: a alone is right; ``lost``: b alone is; ``wrong``: neither."""


@dataclass(frozen=True)
class TaskComparison:
    """Two entries on one task."""

    a: Entry
    b: Entry
    headline: str
    """The metric that the tasks are compared by."""
    metrics: tuple[MetricDifference, ...]
    classes: tuple[ClassDifference, ...]
    changes: tuple[Change, ...]
    n_samples: int
    """That both sides have scores of."""
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> TaskRecord:
        return self.a.task

    @property
    def main(self) -> MetricDifference:
        return next(each for each in self.metrics if each.metric == self.headline)


@dataclass(frozen=True)
class SplitsComparison:
    """Two methods on several class splits of one family, the split being the unit."""

    task: str
    a_label: str
    b_label: str
    splits: tuple[str, ...]
    metric: str
    a: float
    b: float
    """Means over the splits of the mean over seeds."""
    paired: PairedDifference
    p_holm: float = math.nan
    """Adjusted over what is compared together."""


@dataclass(frozen=True)
class FoldsDifference:
    """How far a is ahead of b by one metric, pooled over class folds."""

    metric: str
    a: float
    b: float
    of_other_classes: PairedDifference
    of_these_classes: PairedDifference
    p_holm: float = math.nan
    """Of these classes, adjusted over what is compared together."""

    @property
    def p_value(self) -> float:
        return self.of_these_classes.p_value


@dataclass(frozen=True)
class FoldsComparison:
    """Two methods on the class folds of a task, paired by fold."""

    task: str
    a: str
    b: str
    """What the methods are called."""
    folds: tuple[str, ...]
    headline: str
    metrics: tuple[FoldsDifference, ...]
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> FoldsDifference:
        return next(each for each in self.metrics if each.metric == self.headline)


@dataclass(frozen=True)
class UnpairedComparison:
    """A row of two leaderboards, by one metric."""

    task: str
    version: int
    method: str
    metric: str
    a: Interval
    b: Interval
    difference: Difference
    p_holm: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """All that two sides share."""

    tasks: tuple[TaskComparison, ...] = ()
    folds: tuple[FoldsComparison, ...] = ()
    """The class folds of a task are one comparison, and none of :attr:`tasks`."""
    splits: tuple[SplitsComparison, ...] = ()
    unpaired: tuple[UnpairedComparison, ...] = ()
    notes: tuple[str, ...] = field(default=())


def notes_of_each(found: Comparison) -> list[str]:
    """Notes of its tasks and of its class folds, each once."""
    notes = [*(each.notes for each in found.tasks), *(each.notes for each in found.folds)]
    return list(dict.fromkeys(note for of_each in notes for note in of_each))
