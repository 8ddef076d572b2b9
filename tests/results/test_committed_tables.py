"""Rows of our own figures in results/ are of the present methods and tasks, and say how they are made."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task

RESULTS = Path(__file__).parents[2] / "results"
OWN_SETS = ("supervised/jhmdb14@2", "supervised/jhmdb14-answers@2", "zero-shot/jhmdb14@3")
SEVERAL_FOLDS = re.compile(r"(fold-\d+)( to fold-\d+)?(, [^],]*fold-\d+( to fold-\d+)?)*")
OTHERS = {"published.csv", "differences.csv", "transfer-choices.csv"}
TABLES = sorted({path.name for path in RESULTS.glob("*.csv")} - OTHERS)
NUMBER = re.compile(r"(split=[^],]*?)-\d+( to [^],]*)?(, [^],=]+)*(?=[],])")


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / name, dtype=str, keep_default_na=False)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_of_the_newest_method_and_task(name: str) -> None:
    rows = read(name)
    newest = {method: str(METHODS.get(method).version) for method in rows.method.unique() if method in METHODS.names()}
    of_methods = rows[rows.method.isin(newest)]
    assert (of_methods.method_version == of_methods.method.map(newest)).all()
    for task in rows.task.unique():
        if not task.startswith(OWN_SETS):  # such a task needs the prepared data
            single = load_task(SEVERAL_FOLDS.sub(r"\1", task))
            assert single.identity == SEVERAL_FOLDS.sub(r"\1", task)
            # Several folds have a hash of their hashes.
            assert single.identity != task or {*rows.task_hash[rows.task == task]} == {single.hash[:12]}, task
    assert set(rows.dirty) == {"False"}
    assert rows.command.str.startswith("mmcl-bench ").all()
    assert rows.commit.str.fullmatch(r"[0-9a-f]{40}( [0-9a-f]{40})*").all()


def test_differences_are_between_figures_of_the_tables() -> None:
    """A difference is on one task, over class folds, or in the mean of numbered splits."""
    figures = pd.concat([read("leaderboard.csv"), read("class-folds.csv")])
    figures["without_number"] = [NUMBER.sub(r"\1", task) for task in figures.task]
    for row in read("differences.csv").itertuples():
        assert row.command.startswith(f"mmcl-bench compare {shlex.quote(row.a_name)} ")
        of_task = figures[figures.task.eq(row.task)]
        of_task = of_task if len(of_task) else figures[figures.without_number.eq(row.task)]
        sides = []
        for label in (row.a_method, row.b_method):
            name, preset = re.fullmatch(r"([\w-]+) \((\w+).*", label).groups()
            sides.append(of_task[of_task.method.eq(name) & of_task.preset.eq(preset)])
            assert len(sides[-1]), f"{row.task} has no row of {label}"
        # What has more seeds than the other is compared on those that both have, of which no table has its figure.
        same_seeds = set(sides[0].seeds) & set(sides[1].seeds)
        for own, label, value in zip(sides, (row.a_method, row.b_method), (row.a, row.b), strict=True):
            if not same_seeds:
                continue
            found = pd.to_numeric(own[row.metric]).groupby(own.settings).mean()
            assert found.sub(float(value)).abs().min() < 1e-4, f"{row.task} {row.metric} {label}: {value}, not {found}"
        assert float(row.difference) == pytest.approx(float(row.a) - float(row.b), abs=1e-5)
