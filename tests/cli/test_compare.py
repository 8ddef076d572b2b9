"""``mmcl-bench compare``: tables for people, everything for programs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.report.tables import write_frame
from mmcl_bench.results.store import stored_results
from stored_jobs import leaderboard

VIEW = "supervised/nw-ucla[split=x-view]"


def call(*words: str) -> None:
    app([*words], standalone_mode=False)


@pytest.fixture(scope="module")
def results(toy_data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on two toy tasks, two seeds each."""
    root = tmp_path_factory.mktemp("cli-compare") / "results"
    where = ["--data-root", str(toy_data_root), "--results", str(root)]
    for split in ("x-view", "x-sub"):
        for method in ("logistic", "chance"):
            call(
                "run",
                "supervised",
                "--dataset",
                "nw-ucla",
                "--split",
                split,
                "--method",
                method,
                "--seeds",
                "2",
                *where,
            )
    return root


@pytest.fixture(autouse=True)
def places(results: Path, toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCL_BENCH_DATA", str(toy_data_root))
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(results))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def words_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    call("compare", *words, "--resamples", "200")
    return " ".join(capsys.readouterr().out.split())


def record(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    call("compare", *words, "--json", "--resamples", "200")
    return json.loads(capsys.readouterr().out)


def test_several_tasks_are_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    message = words_of(capsys, "logistic", "chance")
    assert "Holm: adjusted over the 2 tasks. A is ahead on 2; p Holm is at most 0.05 on 2: 2 for A, 0 for B" in message
    assert VIEW.replace("[", "@2[") in message


def test_one_task_is_shown_by_metric_class_and_sample(capsys: pytest.CaptureFixture[str]) -> None:
    message = words_of(capsys, "logistic", "chance", "--task", VIEW)
    for part in (
        "Top-5",
        "Macro top-1",
        "McNemar p",
        "by class, Top-1",
        "pick up with one hand",
        "more with --samples",
    ):
        assert part in message
    every = words_of(capsys, "logistic", "chance", "--task", VIEW, "--samples")
    assert "more with --samples" not in every
    found = record(capsys, "logistic", "chance", "--task", VIEW)
    assert f"{len(found['samples'])} answers differ" in every
    assert all(sample["sample_id"] in every for sample in found["samples"])


def test_json_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "logistic", "chance")
    assert found["paired"] is True
    headlines = [row for row in found["differences"] if row["headline"]]
    assert len(headlines) == 2
    assert all(0 <= row["p"] <= row["p_holm"] <= 1 for row in headlines)
    for row in headlines:
        of_task = [each for each in found["classes"] if each["task"] == row["task"]]
        assert sum(each["won"] for each in of_task) == row["won"]
        assert sum(each["lost"] for each in of_task) == row["lost"]
    outcomes = {sample["outcome"] for sample in found["samples"]}
    assert outcomes <= {"won", "lost", "wrong"}


def test_csv_holds_differences_or_samples(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words_of(capsys, "logistic", "chance", "--output", "d.csv")
    words_of(capsys, "logistic", "chance", "--samples", "--output", "s.csv")
    with (tmp_path / "d.csv").open() as file:
        assert {row["metric"] for row in csv.DictReader(file)} == {"top1", "top5", "macro_top1"}
    with (tmp_path / "s.csv").open() as file:
        assert {"sample_id", "class", "a_says", "b_says", "outcome"} <= set(next(csv.DictReader(file)))


def test_one_against_several_is_a_row_each(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    folder = next(str(job.folder) for job in stored_results(results) if job.result.method.name == "chance")
    message = words_of(capsys, "logistic", "chance", folder)
    assert "one pair of runs says nothing of other seeds Holm: adjusted over all rows" in message
    found = record(capsys, "logistic", "chance", folder)
    assert [each["b"] for each in found["comparisons"]] == found["b"] == ["chance", folder]
    rows = [row for each in found["comparisons"] for row in each["differences"]]
    first, second, third = sorted((row for row in rows if row["headline"]), key=lambda row: row["p"])
    assert [first["p_holm"], second["p_holm"]] == pytest.approx([3 * first["p"], max(3 * first["p"], 2 * second["p"])])
    assert third["p_holm"] >= second["p_holm"]
    assert all(row["p"] <= row["p_holm"] for row in rows)


def test_differences_are_added_to_a_csv(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def added(*words: str) -> list[dict[str, str]]:
        words_of(capsys, *words, "--output", "d.csv", "--add")
        with (tmp_path / "d.csv").open() as file:
            return [row for row in csv.DictReader(file) if row["headline"] == "True"]

    (of_view,) = added("logistic", "chance", "--task", VIEW)
    assert of_view["command"] == f"mmcl-bench compare logistic chance --task '{VIEW}' --resamples 200"
    added("chance", "logistic", "--task", VIEW)
    again = added("logistic", "chance", "--task", VIEW)
    assert [row["a_name"] for row in again] == ["chance", "logistic"]
    assert again[-1] == of_view
    by_other = added("logistic", "chance", "--metric", "macro_top1", "--task", VIEW)
    assert [row["metric"] for row in by_other] == ["top1", "top1", "macro_top1"]


def test_what_is_no_csv_of_differences_is_left_as_it_is(tmp_path: Path) -> None:
    for content in (b"task,top1\n", b"task,difference,command\n1,2\n", b"task,difference,command\n\xff,2,3\n"):
        (tmp_path / "d.csv").write_bytes(content)
        with pytest.raises(UserError, match=r"d\.csv: .*; choose another --output"):
            call("compare", "logistic", "chance", "--output", "d.csv", "--add")
        assert (tmp_path / "d.csv").read_bytes() == content


def test_leaderboards_are_said_to_be_unpaired(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    (path,) = write_frame(leaderboard(stored_results(results)), tmp_path)
    message = words_of(capsys, str(path), str(path))
    assert "unpaired: a leaderboard has no scores" in message
    found = record(capsys, str(path), "logistic")
    assert found["paired"] is False
    assert {row["method"] for row in found["differences"]} == {"logistic (quick)"}
    with pytest.raises(UserError, match="leaderboards have no scores"):
        call("compare", str(path), str(path), "--samples")
    with pytest.raises(UserError, match="one at a time"):
        call("compare", "logistic", "chance", str(path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["logistic"], "give B, what A is compared with, or --revision"),
        (["logistic", "chance", "--revision", "v0.1"], "not both"),
        (["logistik", "chance"], "Did you mean logistic"),
        (["logistic", "chance", "--task", "transfer/*"], "no finished job of a task that matches"),
        (["logistic", "chance", "--metric", "gzsl_h"], "unknown supervised metric"),
        (["logistic", "chance", "--output", "no/d.csv"], "no such folder"),
        (["logistic", "chance", "--add"], "--add is about the differences in --output"),
        (["logistic", "chance", "logistic", "--samples"], "one comparison at a time"),
        (["no.csv", "--revision", "v0.1"], "unknown method with finished jobs 'no.csv'"),
        (["HEAD:no.csv", "chance"], "name a revision that has the file"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        call("compare", *words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
