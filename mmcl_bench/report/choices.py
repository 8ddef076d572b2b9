"""What each label-free score would have chosen, and how much of the oracle's gain over the last step it finds.

No training is repeated: a job keeps the scores of every step of its first fit and the test figures of the steps of its
final one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from mmcl_bench.core.text import counted
from mmcl_bench.evaluation.choosing import TITLES, ChosenBy, column_of, smoothed
from mmcl_bench.report.tables import LeaderboardRow, percent_value
from mmcl_bench.results.records import Result


@dataclass(frozen=True)
class Choices:
    """Means over jobs of the main metric on test."""

    by: dict[str, float]
    """Of the step that each score chooses, by the score's title."""
    last: float
    """Of the last step."""
    oracle: float
    """Of each job's best step on test."""
    n_jobs: int
    n_tasks: int

    @property
    def counts(self) -> str:
        """``6 jobs, 1 task``"""
        return f"{counted(self.n_jobs, 'job')}, {counted(self.n_tasks, 'task')}"

    def share(self, by: str) -> float:
        """How much of the difference of oracle and last step a score finds, 1 for all of it; below 0 where its choice
        is worse than the last step, nan where there is no difference."""
        gain = self.oracle - self.last
        return (self.by[by] - self.last) / gain if gain > 0 else math.nan


def choices(rows: Sequence[LeaderboardRow]) -> Choices | None:
    """Of the jobs that kept label-free scores and a test figure of every step; None where there is none."""
    found = [(row.group.task_key, of_job) for row in rows for job in row.group.jobs if (of_job := _of_job(job.result))]
    if not found:
        return None
    chosen, last, oracle = zip(*(of_job for _, of_job in found), strict=True)
    by = {title: fmean(each[name] for each in chosen) for name, title in TITLES.items()}
    return Choices(by, fmean(last), fmean(oracle), len(found), len({task for task, _ in found}))


def frame_of(table: Choices) -> pd.DataFrame:
    """The table as texts, a row a score."""
    return pd.DataFrame(
        [
            {
                "Chosen by": by,
                "Figure": percent_value(figure),
                "Last step": percent_value(table.last),
                "Oracle": percent_value(table.oracle),
                "Share of the oracle's gain": percent_value(table.share(by)),
            }
            for by, figure in table.by.items()
        ]
    )


def numbers_of(table: Choices) -> pd.DataFrame:
    """The table as fractions of 1, a row a score."""
    rows = [(by, figure, table.last, table.oracle, table.share(by)) for by, figure in table.by.items()]
    named = pd.DataFrame(rows, columns=["chosen_by", "figure", "last_step", "oracle", "share_of_gain"])
    return named.assign(jobs=table.n_jobs, tasks=table.n_tasks)


def _of_job(result: Result) -> tuple[dict[ChosenBy, float], float, float] | None:
    """Test figures of the step that each score chooses, of the last step and of the best one."""
    history, oracle = result.history.get("selection", []), result.oracle
    columns = {column_of(by) for by in TITLES}
    if oracle is None or not history or any(columns - row.keys() for row in history):
        return None
    figures = {
        epoch: figure for epoch, figure in zip(oracle.epochs_tried, oracle.figures, strict=False) if figure is not None
    }
    chosen = {by: max(steps, key=lambda step: steps[step]) for by in TITLES for steps in [smoothed(history, by)]}
    if not figures.keys() >= {*chosen.values(), int(history[-1]["epoch"])}:
        return None
    return {by: figures[step] for by, step in chosen.items()}, figures[int(history[-1]["epoch"])], oracle.value
