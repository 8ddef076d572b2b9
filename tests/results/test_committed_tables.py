"""Rows of our own figures in results/ are of the present methods and tasks, and say how they are made."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task

RESULTS = Path(__file__).parents[2] / "results"
OWN_SETS = ("supervised/jhmdb14@2", "supervised/jhmdb14-answers@2", "zero-shot/jhmdb14@3")
SEVERAL_FOLDS = re.compile(r"(fold-\d+)( to fold-\d+)?(, [^],]*fold-\d+( to fold-\d+)?)*")
TABLES = sorted(path.name for path in RESULTS.glob("*.csv") if path.name != "published.csv")


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_of_the_newest_method_and_task(name: str) -> None:
    rows = pd.read_csv(RESULTS / name, dtype=str, keep_default_na=False)
    newest = {method: str(METHODS.get(method).version) for method in rows.method.unique() if method in METHODS.names()}
    of_methods = rows[rows.method.isin(newest)]
    assert (of_methods.method_version == of_methods.method.map(newest)).all()
    for task in rows.task.unique():
        if not task.startswith(OWN_SETS):  # such a task needs the prepared data
            single = SEVERAL_FOLDS.sub(r"\1", task)
            assert load_task(single).identity == single
    assert set(rows.dirty) == {"False"}
    assert rows.command.str.startswith("mmcl-bench ").all()
    assert rows.commit.str.fullmatch(r"[0-9a-f]{40}( [0-9a-f]{40})*").all()
