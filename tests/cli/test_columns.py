"""Tables of all verbs have their columns in one order."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typing_in import type_in

from mmcl_bench.comparing.gate_report import table as table_of_check
from mmcl_bench.core.grants import Setting
from mmcl_bench.report.page import build_report
from stored_jobs import stored_job


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs that fill every kind of table: tasks, splits, class folds, adaptation, two methods with two seeds each."""
    root = tmp_path_factory.mktemp("columns")
    for seed in (0, 1):
        for method, skill in (("good", 0.8), ("poor", 0.1)):
            facts: dict[str, Any] = {"method": method, "skill": skill, "seed": seed}
            stored_job(root, name="toy", task_hash="a" * 64, **facts)
            for number in (1, 2):
                split = f"2/2:smie-{number}"
                stored_job(
                    root, family="zero-shot", name="own", split=split, task_hash=str(number) * 64, oracle=0.9, **facts
                )
        for method, setting in (("source-only", Setting.INDUCTIVE), ("dann", Setting.UNLABELLED)):
            pair = {"datasets": ("a", "b"), "settings": {"bottleneck": 8}, "setting": setting}
            stored_job(root, family="transfer", name="a-to-b", method=method, seed=seed, **pair)
    return root


def test_columns_stand_in_one_order(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = build_report(results, tmp_path / "out", "none")
    files = [path for path in summary.tables if path.suffix == ".md"]
    tables = {
        path.name: path.read_text(encoding="utf-8").partition("\n|")[2].splitlines()[0].split("|") for path in files
    }
    verbs: dict[str, Callable[[str], bool]] = {
        "compare good poor": lambda line: "A - B" in line,
        f"baseline accept --output {tmp_path / 'baseline.json'}": lambda line: line.startswith("task"),
    }
    for verb, is_head in verbs.items():
        said = type_in([*verb.split(), "--results", str(results)], monkeypatch, capsys)
        tables[verb] = re.split(r"\s{2,}", next(filter(is_head, said.out.splitlines())))
    tables["check"] = [str(column.header) for column in table_of_check([]).columns]
    assert len(tables) > 6
    places: dict[tuple[str, str], str] = {}
    for name, heads in tables.items():
        own = list(dict.fromkeys(head.strip(" *").lower() for head in heads if head.strip()))
        for before, after in combinations(own, 2):
            assert (after, before) not in places, f"{before}, {after} in {name}; not in {places[after, before]}"
            places[before, after] = name
