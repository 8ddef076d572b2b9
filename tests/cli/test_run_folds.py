"""Class folds on the command line: one name runs, plans and lists all; summary, report and comparison pool them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from typing_in import Said

from mmcl_bench.evaluation.class_folds import pooled
from mmcl_bench.evaluation.metrics import ZSL_TOP1
from mmcl_bench.results.store import stored_results
from stored_jobs import class_folds, stored_job

Type = Callable[..., Said]
RUN = "zero-shot --dataset nw-ucla --splits folds --method chance"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on three repetitions of folds, one of them with two seeds, and on a task without folds."""
    root = tmp_path_factory.mktemp("class-folds")
    store = partial(stored_job, root)
    class_folds(store, {"devise": 0.5, "chance": 0.0}, repetitions=3)
    class_folds(store, {"devise": 0.5}, repetitions=3, seed=1)
    for method in ("devise", "chance"):
        store(family="zero-shot", name="alone", method=method, task_hash="9" * 64)
    return root


def test_one_name_runs_all_folds_and_ends_with_one_table(typed: Type, tmp_path: Path) -> None:
    planned = typed(f"plan {RUN}").out
    assert "zero-shot/nw-ucla@3[split=8/2:fold-1 to fold-25] (25 folds)" in planned
    assert planned.count("chance") == 1
    message = typed(f"run {RUN}")
    assert message.code == 0
    assert "pooled over class folds: each of 10 classes unseen 5 times" in message.out
    assert "fold-3" not in message.out
    folds = [[job.scored()] for job in stored_results(tmp_path / "results")]
    figure = pooled(ZSL_TOP1, folds)
    assert f"{100 * figure.of_other_classes.value:.1f} [" in message.out


def test_json_has_both_intervals(typed: Type, tmp_path: Path) -> None:
    names = [f"8/2:fold-{number}" for number in (1, 2, 5)]
    record = json.loads(typed(f"run {RUN} --json".replace("folds", ",".join(names))).out)[-1]
    assert record["task"] == "zero-shot/nw-ucla@3[split=8/2:fold]"
    assert record["splits"] == names
    figure = pooled(ZSL_TOP1, [[job.scored()] for job in stored_results(tmp_path / "results")])
    assert record["metrics"]["zsl_top1"]["low"] == pytest.approx(figure.of_other_classes.low)
    assert record["metrics_of_these_classes"]["zsl_top1"]["low"] is None, "no class is unseen twice"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("run zero-shot --dataset utd-mhad --splits 22/5:fold-26", "Did you mean 22/5:fold-1 to fold-25"),
        ("run zero-shot --dataset utd-mhad --split 21/6:fold-1", "unknown split '21/6:fold-1'"),
        ("run zero-shot --dataset ntu60 --splits folds", "zero-shot/ntu60 has no folds of its classes"),
        ("run supervised --dataset nw-ucla --splits folds", "supervised/nw-ucla has no folds of its classes"),
        ("run zero-shot --dataset nw-ucla --split 8/2 --splits folds", "both name the split; give one"),
        ("run zero-shot/nw-ucla[split=folds]", "is the 25 splits 8/2:fold-1 to 8/2:fold-25"),
    ],
)
def test_what_has_no_such_folds_is_one_line(typed: Type, tmp_path: Path, line: str, what: str) -> None:
    message = typed(line)
    assert message.code == 2
    assert what in message.err
    assert message.err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_under_a_pattern_sets_without_folds_are_left_out_and_all_means_no_folds(typed: Type) -> None:
    jobs = json.loads(typed("plan zero-shot/n* --splits folds --method chance --json").out)["jobs"]
    assert {job["task"].partition("@")[0] for job in jobs} == {"zero-shot/nw-ucla"}
    jobs = json.loads(typed("plan zero-shot/nw-ucla --splits all --method chance --json").out)["jobs"]
    assert [job["task"] for job in jobs] == ["zero-shot/nw-ucla@3[split=5/5]", "zero-shot/nw-ucla@3[split=8/2]"]


def test_folds_are_listed_in_one_line_and_each_on_request(typed: Type) -> None:
    lines = [line for line in typed("list splits", "utd-mhad/*").out.splitlines() if "fold" in line]
    assert len(lines) == 1
    assert "utd-mhad/22/5:fold-1 to fold-25" in lines[0]
    assert "5 or 6 of 27, each 5 times" in lines[0]
    assert typed("list splits", "utd-mhad/*fold*").out.count("22/5:fold-") == 25
    assert typed("list splits --json", "utd-mhad/*").out.count("22/5:fold-") == 25
    (row,) = [line for line in typed("list tasks").out.splitlines() if "zero-shot/utd-mhad" in line]
    assert "3 splits, 25 folds" in row


def test_a_comparison_pools_the_folds(typed: Type, results: Path, tmp_path: Path) -> None:
    table = typed("compare devise chance --results", str(results), "--task", "zero-shot/toy*").out
    assert "zero-shot/toy@1[split=2/2:fold]\npooled over 6 class folds" in table
    assert "fold-3" not in table
    csv = tmp_path / "both.csv"
    found = json.loads(
        typed("compare devise chance --resamples 200 --json --results", str(results), "--output", str(csv)).out
    )
    assert found["folds"] == {"zero-shot/toy@1[split=2/2:fold]": [f"2/2:fold-{number}" for number in range(1, 7)]}
    (row,) = [row for row in found["differences"] if row["headline"] and "folds" in row]
    sheets: dict[str, list[float]] = {name: [] for name in ("devise", "chance")}
    for job in stored_results(results):
        if job.result.task.is_class_fold and job.result.seed == 0:
            sheets[job.result.method.name].append(ZSL_TOP1(job.scored()))
    assert row["difference"] == pytest.approx(sum(sheets["devise"]) / 6 - sum(sheets["chance"]) / 6), (
        "equal folds, the seed that both have"
    )
    assert row["other_classes_low"] < row["difference"] < row["other_classes_high"]
    alone = next(row for row in found["differences"] if "alone" in row["task"])
    assert min(row["p_holm"], alone["p_holm"]) == pytest.approx(2 * min(row["p"], alone["p"]))
    assert pd.read_csv(csv)["task"].nunique() == 2


def test_samples_are_shown_of_one_fold(typed: Type, results: Path) -> None:
    line = "compare devise chance --resamples 200 --samples --results"
    message = typed(line, str(results), "--task", "zero-shot/toy*")
    assert message.code == 2
    assert "samples are shown of one fold at a time; add --task '*2/2:fold-1*'" in message.err
    assert "fold-2" in typed(line, str(results), "--task", "*2/2:fold-2*").out


def test_the_report_has_a_row_a_method_and_no_task_a_fold(typed: Type, results: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    assert typed("report --figures none --results", str(results), "--reports", str(reports)).code == 0
    page = (reports / "index.html").read_text(encoding="utf-8")
    assert "1 task, class folds of 1 task" in page
    assert "each of 4 classes unseen 3 times" in page
    assert "fold-3" not in page
    frame = pd.read_csv(reports / "tables" / "zero-shot-class-folds.csv")
    assert frame["Method"].tolist() == ["devise", "chance"]
    assert frame["Folds"].tolist() == [6, 6]
    assert frame["Against the first"][0] == "first"
    assert frame["ZSL top-1"].str.contains("[", regex=False).all()
    assert len(pd.read_csv(reports / "leaderboard.csv")) == 14, "every fold has its row there"
    pooled_rows = pd.read_csv(reports / "class-folds.csv")
    assert pooled_rows["method"].tolist() == ["devise", "chance"]
    assert pooled_rows["seeds"].tolist() == [2, 1]
    assert pooled_rows["task"].unique().tolist() == ["zero-shot/toy@1[split=2/2:fold-1 to fold-6]"]
    for row, of_others, of_these in zip(
        pooled_rows.to_dict("records"), frame["ZSL top-1"], frame["ZSL top-1, these classes"], strict=True
    ):
        figures = [row["zsl_top1"], row["zsl_top1_other_classes_low"], row["zsl_top1_other_classes_high"]]
        assert "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * figure for figure in figures)) == of_others
        assert "[{:.1f}, {:.1f}]".format(100 * row["zsl_top1_low"], 100 * row["zsl_top1_high"]) in of_these
    assert not (reports / "class-folds-synthetic.csv").exists()
    board = str(reports / "class-folds.csv")
    compared = json.loads(typed("compare --json", board, board).out)["differences"]
    assert [row["difference"] for row in compared] == [0.0, 0.0]


def test_the_command_of_a_pooled_row_makes_its_jobs(typed: Type, tmp_path: Path) -> None:
    folds = [f"8/2:fold-{number}" for number in (1, 2, 5)]
    typed(f"run {RUN}".replace("folds", ",".join(folds)))
    reports = tmp_path / "reports"
    assert typed("report --figures none --reports", str(reports)).code == 0
    (row,) = pd.read_csv(reports / "class-folds-synthetic.csv").to_dict("records")
    program, verb, *words = row["command"].split()
    assert (program, verb) == ("mmcl-bench", "run")
    jobs = json.loads(typed(" ".join(["plan", *words, "--json"])).out)["jobs"]
    assert [(job["task"].split("split=")[1], job["state"]) for job in jobs] == [(f"{fold}]", "done") for fold in folds]
    assert f"run {words[0]} --splits {','.join(folds)} --method chance" in row["command"]


def test_a_report_of_folds_alone_is_whole(typed: Type, tmp_path: Path) -> None:
    class_folds(partial(stored_job, tmp_path), {"devise": 0.5}, repetitions=1)
    assert typed("report --figures none --results", str(tmp_path), "--reports", str(tmp_path / "reports")).code == 0
    page = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert "class folds of 1 task" in page
    assert "each of 4 classes unseen 1 time<" in page.replace(" ·", "<")
