"""The regression gate at the command line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import CARD
from mmcl_bench.methods import METHODS
from mmcl_bench.running.engines import Assignment, OnProgress, Outcome, attempt
from mmcl_bench.running.engines.local import Local
from stored_jobs import stored_job

ROOT = Path(__file__).parents[2]
SUITE = """title = "mine"
[[matrix]]
tasks = ["supervised/nw-ucla"]
splits = ["x-view"]
methods = ["logistic"]
seeds = 2
"""
TASK = ["run", "supervised", "--dataset", "nw-ucla", "--split", "x-view"]


@pytest.fixture(autouse=True)
def places(toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMCL_BENCH_DATA", str(toy_data_root))
    monkeypatch.setenv("MMCL_BENCH_RESULTS", "results")
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def call(*words: str) -> int:
    """The exit code."""
    return int(app([*words], standalone_mode=False) or 0)


def store(folder: str, skill: float = 0.5, seeds: int = 4, **changes: Any) -> None:
    for seed in range(seeds):
        stored_job(Path(folder), seed=seed, skill=skill, n_test=200, **changes)


@pytest.fixture
def accepted() -> None:
    """A baseline of one task with two methods."""
    store("results")
    store("results", method="linear", skill=0.4)
    assert call("baseline", "accept") == 0


def test_the_jobs_of_the_baseline_pass(accepted: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check") == 0
    assert "2 rows: 2 same" in capsys.readouterr().out


def test_a_fall_fails_and_is_in_every_report(accepted: None, capsys: pytest.CaptureFixture[str]) -> None:
    store("now", skill=0.2)
    store("now", method="linear", skill=0.4)
    assert call("check", "--results", "now", "--junit", "out/junit.xml", "--markdown", "out/check.md") == 1
    message = capsys.readouterr()
    assert "2 rows: 1 same, 1 fell" in message.out
    (line,) = (line for line in message.err.splitlines() if "fell" in line)
    assert re.match(r"supervised/toy@1 mmcl \(quick\): Top-1 fell: [\d.]+ % -> [\d.]+ %, -[\d.]+ points where", line)
    (suite,) = ElementTree.parse("out/junit.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert "**fell**" in Path("out/check.md").read_text()


def test_a_rise_is_a_warning(accepted: None, capsys: pytest.CaptureFixture[str]) -> None:
    store("now", skill=0.9)
    store("now", method="linear", skill=0.4)
    assert call("check", "--results", "now") == 0
    assert "warning: supervised/toy@1 mmcl (quick): Top-1 rose" in capsys.readouterr().err


def test_another_task_or_other_data_are_refused_in_one_line_each(
    accepted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    store("now", task_hash="b" * 64)
    store("now", method="linear", fingerprint="e" * 64)
    assert call("check", "--results", "now") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [("hash" in line, "fingerprint" in line) for line in lines] == [(False, True), (True, False)]


def test_what_is_missing_is_named_and_may_be_allowed(accepted: None, capsys: pytest.CaptureFixture[str]) -> None:
    store("now")
    assert call("check", "--results", "now") == 2
    assert "supervised/toy@1 linear (quick): missing: no finished job" in capsys.readouterr().err
    assert call("check", "--results", "now", "--allow-missing") == 0
    assert capsys.readouterr().err == "warning: 1 row not judged, which --allow-missing permits\n"
    assert call("check", "--results", "nowhere", "--allow-missing") == 2, "nothing was judged"


def test_a_fall_counts_more_than_what_is_missing(accepted: None) -> None:
    store("now", skill=0.2)
    assert call("check", "--results", "now") == 1


def test_json_has_a_record_a_row(accepted: None, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    store("now", skill=0.45)
    assert call("check", "--results", "now", "--allow-missing", "--json") == 0
    by_method = {record["method"]: record for record in json.loads(capsys.readouterr().out)}
    assert by_method["linear (quick)"]["verdict"] == "missing"
    record = by_method["mmcl (quick)"]
    assert (record["verdict"], record["basis"], record["n"]) == ("held", "seeds", 200)
    assert record["difference"] == pytest.approx(record["now"] - record["baseline"])
    assert record["gained"] - record["lost"] == pytest.approx(200 * record["difference"])


def test_a_step_summary_is_added_to_and_hinted_at(
    accepted: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    call("check")
    assert '--markdown "$GITHUB_STEP_SUMMARY"' in capsys.readouterr().err
    call("check", "--markdown", "summary.md")
    assert Path("summary.md").read_text().startswith("before\n### mmcl-bench check")


def test_accepting_a_fall_needs_a_reason(accepted: None) -> None:
    shutil.rmtree("results/jobs")
    store("results", skill=0.1)
    before = Path("results/baseline.json").read_bytes()
    with pytest.raises(UserError, match="--allow-drop"):
        call("baseline", "accept")
    with pytest.raises(UserError, match="reason in words"):
        call("baseline", "accept", "--allow-drop", " ")
    assert Path("results/baseline.json").read_bytes() == before
    call("baseline", "accept", "--allow-drop", "another sensor")
    rows = json.loads(Path("results/baseline.json").read_text())["rows"]
    assert [[drop["reason"] for drop in row["drops"]] for row in rows] == [[], ["another sensor"]]


def test_accepting_again_changes_no_byte(accepted: None) -> None:
    before = Path("results/baseline.json").read_bytes()
    call("baseline", "accept")
    assert Path("results/baseline.json").read_bytes() == before


def test_measured_reruns_are_kept_until_they_are_measured_again_or_the_method_has_a_new_version(accepted: None) -> None:
    store("elsewhere", skill=0.501)
    call("baseline", "accept", "--reruns", "elsewhere")
    call("baseline", "accept")
    baseline = Path("results/baseline.json")
    content = json.loads(baseline.read_text())
    assert [row["reruns"] and row["reruns"]["pairs"] for row in content["rows"]] == [None, 4]
    content["rows"][1]["method_version"] -= 1
    baseline.write_text(json.dumps(content))
    call("baseline", "accept")
    rows = json.loads(baseline.read_text())["rows"]
    assert [row["reruns"] for row in rows] == [None, None], "the noise of reruns is another one"


def test_a_rerun_runs_what_is_missing_and_only_that(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    call(*TASK, "--method", "logistic", "--seeds", "2", "--set", "C=0.1")
    call(*TASK, "--method", "chance", "--seeds", "3")
    call("baseline", "accept", "--allow-dirty")
    capsys.readouterr()
    assert call("check", "--rerun", "--results", "now") == 0
    assert "2 rows: 2 same" in capsys.readouterr().out
    ran = [json.loads(path.read_text()) for path in Path("now/jobs").glob("*/result.json")]
    assert sorted((each["method"]["name"], each["seed"]) for each in ran) == [
        ("chance", 0),
        ("chance", 1),
        ("chance", 2),
        ("logistic", 0),
    ], "a method without chance takes one seed"
    assert call("check", "--rerun", "--results", "now") == 0
    assert capsys.readouterr().err.count("stored result of") == 4
    assert call("check", "--rerun", "--fresh", "--seeds", "1", "--results", "now") == 0
    assert "stored result of" not in capsys.readouterr().err


def test_a_rerun_refuses_other_data_before_it_trains(
    capsys: pytest.CaptureFixture[str], toy_data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(*TASK, "--method", "logistic", "--seeds", "2")
    call("baseline", "accept", "--allow-dirty")
    shutil.copytree(toy_data_root / "nw-ucla", "other/nw-ucla")
    card = Path("other/nw-ucla") / CARD
    card.write_text(re.sub(r'("fingerprint": ")....', r"\g<1>0000", card.read_text()))
    monkeypatch.setenv("MMCL_BENCH_DATA", "other")
    capsys.readouterr()
    assert call("check", "--rerun", "--results", "now") == 2
    assert "refused: the data of nw-ucla have the fingerprint 0000" in capsys.readouterr().err
    assert not Path("now/jobs").exists()


def test_a_job_that_ends_with_an_error_fails_and_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(*TASK, "--method", "logistic", "--seeds", "2")
    call(*TASK, "--method", "chance", "--seeds", "2")
    call("baseline", "accept", "--allow-dirty")
    capsys.readouterr()

    def broken(*_: object) -> None:
        raise ValueError("shapes (3,) and (4,) not aligned")

    with monkeypatch.context() as patch:
        patch.setattr(METHODS.get("logistic"), "fit", broken)
        assert call("check", "--rerun", "--results", "now", "--allow-missing", "--junit", "junit.xml") == 1
    message = capsys.readouterr()
    assert "2 rows: 1 same, 1 broke" in message.out
    assert re.search(r"logistic \(quick\): broke: seed 0: .*shapes \(3,\)", message.err)
    (suite,) = ElementTree.parse("junit.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "0")
    assert call("check", "--rerun", "--results", "now") == 0, "what failed is tried again"


def test_workers_and_threads_are_those_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    call(*TASK, "--method", "chance", "--seeds", "2")
    call("baseline", "accept", "--allow-dirty")
    asked: list[tuple[int | None, set[int | None]]] = []

    def alone(
        engine: Local, assignments: Sequence[Assignment], on_progress: OnProgress
    ) -> Generator[tuple[int, Outcome]]:
        asked.append((engine.workers, {each.threads for each in assignments}))
        for place, assignment in enumerate(assignments):
            yield place, attempt(assignment)

    monkeypatch.setattr(Local, "run", alone)
    assert call("check", "--rerun", "--results", "now", "--workers", "2", "--threads", "1") == 0
    assert asked == [(2, {1})]


def test_a_rerun_without_the_data_names_the_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(*TASK, "--method", "logistic", "--seeds", "2")
    call("baseline", "accept", "--allow-dirty")
    monkeypatch.setenv("MMCL_BENCH_DATA", "empty")
    monkeypatch.delenv("MMCL_BENCH_SOURCES", raising=False)
    assert call("check", "--rerun", "--results", "now") == 2
    assert re.search(r"logistic \(quick\): missing: .*nw-ucla", capsys.readouterr().err)


def test_a_suite_chooses_rows(capsys: pytest.CaptureFixture[str]) -> None:
    call(*TASK, "--method", "logistic", "--seeds", "2")
    call(*TASK, "--method", "logistic", "--seeds", "2", "--set", "C=0.1")
    call("baseline", "accept", "--allow-dirty")
    Path("mine.toml").write_text(SUITE + "settings = { C = 0.1 }\n")
    capsys.readouterr()
    call("check", "--suite", "mine.toml", "--json")
    (record,) = json.loads(capsys.readouterr().out)
    assert record["method"] == "logistic (quick, C=0.1)"


def test_a_suite_finds_its_rows_when_a_preset_has_changed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(*TASK, "--method", "logistic", "--seeds", "2")
    call("baseline", "accept", "--allow-dirty")
    Path("mine.toml").write_text(SUITE)
    logistic = METHODS.get("logistic")
    worse = logistic.Settings(C=1e-9)
    monkeypatch.setattr(logistic, "presets", {**logistic.presets, "quick": worse})
    capsys.readouterr()
    assert call("check", "--suite", "mine.toml", "--rerun", "--results", "now") == 1
    assert "note: supervised/nw-ucla@2[split=x-view] logistic (quick): the preset is another: C" in (
        capsys.readouterr().err
    )


def test_what_a_suite_names_and_the_baseline_lacks_is_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    call(*TASK, "--method", "logistic", "--seeds", "2")
    call("baseline", "accept", "--allow-dirty")
    Path("mine.toml").write_text(SUITE.replace('"logistic"', '"logistic", "chance"'))
    assert call("check", "--suite", "mine.toml") == 2
    assert "mine.toml names supervised/nw-ucla[split=x-view], chance (quick)" in capsys.readouterr().err
    with pytest.raises(UserError, match="no row"):
        call("check", "--suite", "mine.toml", "--task", "zero-shot/*")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check"], "no baseline"),
        (["check", "--fresh"], "--rerun"),
        (["check", "--seeds", "2"], "--rerun"),
        (["check", "--workers", "2"], "--rerun"),
        (["baseline", "accept"], "no finished job"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        call(*words)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("task", ["supervised", "supervised/toy", "supervised/toy@1", "super*"])
def test_a_task_is_named_as_in_compare(accepted: None, capsys: pytest.CaptureFixture[str], task: str) -> None:
    store("results", family="zero-shot")
    assert call("baseline", "accept", "--task", "zero-shot") == 0
    capsys.readouterr()
    assert call("compare", "mmcl", "linear", "--task", task, "--resamples", "100") == 0
    assert call("check", "--task", task) == 0
    assert "2 rows: 2 same" in capsys.readouterr().out


def test_a_task_that_no_row_is_of_is_named(accepted: None) -> None:
    with pytest.raises(UserError, match="zero-shot"):
        call("check", "--task", "zero-shot/*")


def test_the_workflow_of_the_page_is_one_that_github_reads() -> None:
    text = (ROOT / "docs" / "gate.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    workflow = yaml.safe_load(block)
    # YAML 1.1 reads the key "on" as true; GitHub does not.
    assert {"pull_request"} <= set(workflow[True])
    (job,) = workflow["jobs"].values()
    assert job["runs-on"]
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    commands = [
        line for step in job["steps"] for line in step.get("run", "").splitlines() if "mmcl-bench check" in line
    ]
    (command,) = commands
    known = set(re.findall(r"--[a-z-]+", (ROOT / "mmcl_bench" / "cli" / "check.py").read_text()))
    options = set(re.findall(r"--[a-z-]+", command))
    assert options - known <= {"--rerun", "--junit", "--markdown", "--results", "--seeds", "--suite"}


def test_what_cannot_be_accepted_is_skipped_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    store("results")
    store("results", method="linear", seeds=1)
    store("results", method="edited", dirty=True)
    assert call("baseline", "accept") == 0
    message = capsys.readouterr().err
    assert re.search(r"skipped: .*linear.*: one seed says nothing.* better five: mmcl-bench .* --seeds 5", message)
    assert re.search(r"skipped: .*edited.* ran from a checkout with uncommitted changes", message)
    assert "1 of 1 row written to results/baseline.json, 2 skipped" in message
    assert [row["method"] for row in json.loads(Path("results/baseline.json").read_text())["rows"]] == ["mmcl"]


def test_where_nothing_can_be_accepted_it_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    store("results", seeds=1)
    with pytest.raises(UserError, match="one seed says nothing"):
        call("baseline", "accept")
    assert not Path("results/baseline.json").exists()
