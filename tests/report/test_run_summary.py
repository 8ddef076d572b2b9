"""The summary after a run of several tasks."""

from __future__ import annotations

import numpy as np
import pytest

from mmcl_bench.core.grants import Setting
from mmcl_bench.report.run_summary import summary_tables

LABELS = np.array([0, 1, 2, 3] * 10)


def sheet(right: int) -> np.ndarray:
    """Scores of 40 clips, of which the first ``right`` are predicted right."""
    predicted = np.where(np.arange(40) < right, LABELS, (LABELS + 1) % 4)
    return np.eye(4, dtype=np.float32)[predicted]


def cells(table):
    columns = [[str(column.header), *map(str, column.cells)] for column in table.columns]
    return [[cell.strip() for cell in row] for row in zip(*columns, strict=True)]


@pytest.fixture
def jobs(store_job):
    right = {("one", "a"): 38, ("one", "b"): 37, ("one", "c"): 8, ("two", "a"): 12, ("two", "b"): 30}
    return [store_job(name=task, method=method, scores=sheet(n), labels=LABELS) for (task, method), n in right.items()]


def test_the_best_of_each_task_and_what_ties_with_it_are_marked(jobs):
    (table,) = summary_tables(jobs)
    assert [[cell.split(" ")[0] for cell in row[:1]] + row[1:] for row in cells(table)][1:] == [
        ["b", "92.5=", "75.0*", "83.8"],
        ["a", "95.0*", "30.0", "62.5"],
        ["c", "20.0", "", ""],
    ]


def test_settings_are_not_ranked_with_one_another(store_job):
    right = {"a": 30, "tent": 38}
    settings = {"a": Setting.INDUCTIVE, "tent": Setting.TRANSDUCTIVE}
    stored = [
        store_job(name=task, method=method, scores=sheet(n), labels=LABELS, setting=settings[method])
        for task in ("one", "two")
        for method, n in right.items()
    ]
    (table,) = summary_tables(stored)
    assert [row[1:] for row in cells(table)[1:]] == [["75.0*", "75.0*", "75.0"], ["95.0*", "95.0*", "95.0"]]


def test_smoke_runs_are_named_so(store_job):
    (table,) = summary_tables([store_job(name=name, limit=8) for name in ("one", "two")])
    assert "smoke runs, never ranked" in str(table.title)
