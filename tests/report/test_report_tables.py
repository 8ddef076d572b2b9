from __future__ import annotations

import io
import math
import shlex

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mmcl_bench.core.grants import Setting
from mmcl_bench.report import tables
from mmcl_bench.report.lineage import origin_of
from mmcl_bench.results.groups import group_jobs
from mmcl_bench.results.store import Stored
from stored_jobs import leaderboard

LABELS = np.array([0, 1, 2, 3] * 10)


def sheet(right: int) -> np.ndarray:
    """Scores of 40 clips, of which the first ``right`` are predicted right."""
    predicted = np.where(np.arange(40) < right, LABELS, (LABELS + 1) % 4)
    return np.eye(4, dtype=np.float32)[predicted]


def printed(stored, width=160):
    console = Console(width=width, file=io.StringIO())
    console.print(tables.run_table(stored))
    return console.file.getvalue()


def words(stored):
    """What is printed, on one line."""
    return " ".join(printed(stored).split())


def test_seeds_share_a_row_with_the_mean_of_their_figures(store_job):
    jobs = [store_job(seed=seed, scores=sheet(right), labels=LABELS) for seed, right in ((0, 20), (1, 30))]
    board = leaderboard(jobs)
    assert len(board) == 1
    row = board.iloc[0]
    assert row["seeds"] == 2
    assert row["top1"] == pytest.approx((20 / 40 + 30 / 40) / 2)
    assert row["top1_low"] < row["top1"] < row["top1_high"]


def test_two_seeds_that_disagree_have_an_interval_over_clips_alone(store_job):
    jobs = [store_job(seed=seed, scores=sheet(right), labels=LABELS) for seed, right in ((0, 5), (1, 35))]
    row = leaderboard(jobs).iloc[0]
    # Of 40 clips 5 are right in both runs, 30 in one of them and 5 in none.
    of_clips = np.repeat([1.0, 0.5, 0.0], [5, 30, 5])
    half = 1.96 * of_clips.std() / np.sqrt(40)
    assert row["top1"] == pytest.approx(0.5)
    assert (row["top1_low"], row["top1_high"]) == pytest.approx((0.5 - half, 0.5 + half), abs=0.02)
    assert "two seeds are too few for an interval over seeds" in " ".join(printed(jobs).split())


def test_three_seeds_have_an_interval_over_seeds(store_job):
    jobs = [store_job(seed=seed, scores=sheet(5 + 15 * seed), labels=LABELS) for seed in range(3)]
    row = leaderboard(jobs).iloc[0]
    # Student's t of three values with 5, 20 and 35 of 40 right, wider by the spread of clips.
    assert row["top1_high"] - row["top1_low"] > 0.8
    assert "95% intervals over test samples and seeds" in " ".join(printed(jobs).split())


def test_rows_of_one_seed_and_of_three_have_one_caption_that_holds_for_both(store_job):
    jobs = [store_job(seed=seed) for seed in range(3)] + [store_job(method="other")]
    assert "over test samples, and over seeds where there are three or more" in " ".join(printed(jobs).split())


def test_a_metric_whose_plugin_is_not_here_has_its_mean_over_seeds_and_no_interval(store_job):
    jobs = [store_job(seed=seed) for seed in range(2)]
    stored = []
    for job, value in zip(jobs, (0.5, 0.7), strict=True):
        result = job.result
        task = result.task.model_copy(update={"metrics": ("top1", "mine")})
        metrics = {"top1": result.metrics["top1"], "mine": result.metrics["top1"].model_copy(update={"value": value})}
        stored.append(Stored(job.folder, result.model_copy(update={"task": task, "metrics": metrics})))
    (row,) = tables.leaderboard_rows(stored)
    assert row.figures["mine"].value == pytest.approx(0.6)
    assert math.isnan(row.figures["mine"].low)


def test_jobs_with_other_texts_of_a_part_are_no_further_seeds(store_job):
    rows = tables.leaderboard_rows(
        [store_job(slot_texts="1"), store_job(slot_texts="1", seed=1), store_job(slot_texts="2")]
    )
    assert sorted(row.group.seeds for row in rows) == [(0,), (0, 1)]


def test_the_difference_over_two_seeds_is_said_to_be_wide(store_job):
    jobs = [
        store_job(method=method, seed=seed, scores=sheet(right + seed), labels=LABELS)
        for method, right in (("good", 35), ("bad", 8))
        for seed in range(2)
    ]
    text = " ".join(printed(jobs).split())
    assert "(two seeds, so it is wide)" in text


def test_one_seed_keeps_the_interval_that_its_result_holds(store_job):
    job = store_job(scores=sheet(25), labels=LABELS)
    row = leaderboard([job]).iloc[0]
    figure = job.result.metrics["top1"]
    assert (row["top1"], row["top1_low"], row["top1_high"]) == (figure.value, figure.low, figure.high)


def test_tasks_never_share_a_terminal_table(store_job):
    jobs = [store_job(name="one"), store_job(name="other", method="devise"), store_job(name="one", method="chance")]
    first, second = tables.run_tables(jobs)
    assert (len(first.columns), len(second.columns)) == (3, 2)
    assert "one@" in str(first.title)
    assert "other@" in str(second.title)


def test_smoke_runs_are_not_ranked(store_job):
    board = leaderboard([store_job(), store_job(method="quick-look", limit=8)])
    assert board["method"].tolist() == ["mmcl"]


def test_older_versions_of_a_method_or_a_task_have_no_row(store_job):
    jobs = [store_job(method="devise"), store_job(), store_job(name="other", method_version=2)]
    jobs += [store_job(name="redone", version=version, method="devise") for version in (1, 2)]
    board = leaderboard(jobs)
    assert set(zip(board["task"], board["method"], board["method_version"], strict=True)) == {
        ("supervised/toy@1", "devise", 1),
        ("supervised/other@1", "mmcl", 2),
        ("supervised/redone@2", "devise", 1),
    }


def test_a_fusion_is_as_old_as_its_members_and_foreign_scores_are_of_no_version(store_job):
    def fusion(version):
        made_of = [{"method": "mmcl", "version": version, "settings": {}}] * 2
        how = {"method": "mmcl", "streams": f"joint,bone-{version}", "weights": "equal", "scale": "logits"}
        return store_job(method="fusion", settings={"members": made_of}, overrides=how)

    jobs = [store_job(method_version=2), fusion(1), fusion(2), store_job(preset="foreign", notes={"foreign": True})]
    board = leaderboard(jobs)
    assert sorted(zip(board["method"], board["preset"], strict=True)) == [
        ("fusion", "quick"),
        ("mmcl", "foreign"),
        ("mmcl", "quick"),
    ]
    assert "bone-2" in board.set_index("method").loc["fusion", "settings"]


@pytest.mark.parametrize(
    "other",
    [
        {"task_hash": "b" * 64},
        {"fingerprint": "e" * 64},
        {"settings": {"epochs": 3}},
        {"name": "other"},
        {"method": "devise"},
    ],
)
def test_what_does_not_compare_is_not_pooled(store_job, other):
    base = {"settings": {"epochs": 2}}
    board = leaderboard([store_job(**base), store_job(**{**base, "seed": 1, **other})])
    assert board["seeds"].tolist() == [1, 1]


def test_a_job_in_a_copied_folder_counts_once(store_job):
    job = store_job()
    assert [len(group.jobs) for group in group_jobs([job, job])] == [1]


def test_rows_of_a_task_fall_by_its_main_metric(store_job):
    jobs = [store_job(method=f"m{right}", scores=sheet(right), labels=LABELS) for right in (10, 30, 20)]
    jobs += [store_job(name="another", method="m5", scores=sheet(5), labels=LABELS)]
    board = leaderboard(jobs)
    assert board["method"].tolist() == ["m5", "m30", "m20", "m10"]


def test_transductive_rows_say_so(store_job):
    board = leaderboard([store_job(), store_job(method="adapts", setting=Setting.TRANSDUCTIVE)])
    assert dict(zip(board["method"], board["setting"], strict=True)) == {"mmcl": "inductive", "adapts": "transductive"}


def test_the_oracle_is_a_mean_over_seeds_and_missing_where_a_seed_lacks_it(store_job):
    both = [store_job(seed=seed, oracle=value) for seed, value in ((0, 0.8), (1, 0.9))]
    half = [store_job(method="devise", seed=seed, oracle=value) for seed, value in ((0, 0.8), (1, None))]
    oracles = leaderboard(both + half).set_index("method")["oracle"]
    assert oracles["mmcl"] == pytest.approx(0.85)
    assert math.isnan(oracles["devise"])


def test_the_command_survives_a_shell_and_names_what_was_overridden(store_job):
    jobs = [
        store_job(name="toy[split=55/5]", settings={"rate": rate, "kind": "a"}, overrides={"rate": rate}, seed=2)
        for rate in (0.1, 0.2)
    ]
    commands = {tuple(shlex.split(command)) for command in leaderboard(jobs)["command"]}
    words = ("mmcl-bench", "run", "supervised/toy[split=55/5]@1", "--method", "mmcl", "--preset", "quick")
    assert commands == {(*words, "--seeds", "3", "--set", f"rate={rate}") for rate in (0.1, 0.2)}


def test_real_and_synthetic_never_share_a_file(store_job, tmp_path):
    jobs = [store_job(), store_job(family="zero-shot", name="synth", synthetic=True)]
    paths = tables.write_frame(leaderboard(jobs), tmp_path / "out")
    assert [path.name for path in paths] == ["leaderboard.csv", "leaderboard-synthetic.csv"]
    real, synthetic = map(pd.read_csv, paths)
    assert real["synthetic"].tolist() == [False]
    assert synthetic["synthetic"].tolist() == [True]
    assert "ausuc" in synthetic
    assert "ausuc" not in real


def test_the_same_results_give_the_same_bytes_in_any_order(store_job, tmp_path):
    jobs = [store_job(method=method, seed=seed) for method in ("mmcl", "devise") for seed in (0, 1)]
    first = tables.write_frame(leaderboard(jobs), tmp_path / "a")[0].read_bytes()
    second = tables.write_frame(leaderboard(jobs[::-1]), tmp_path / "b")[0].read_bytes()
    assert first == second
    assert b"\r" not in first


def test_a_leaderboard_that_lost_its_rows_is_removed(store_job, tmp_path):
    job = store_job()
    (tmp_path / "leaderboard-synthetic.csv").write_text("old")
    assert [path.name for path in tables.write_frame(leaderboard([job]), tmp_path)] == ["leaderboard.csv"]
    assert not (tmp_path / "leaderboard-synthetic.csv").exists()


def test_the_interval_of_a_clear_lead_on_the_same_clips_excludes_0(store_job):
    good, bad = (store_job(method=name, scores=sheet(n), labels=LABELS) for name, n in (("good", 38), ("bad", 10)))
    comparison = tables.compare(*(group_jobs([job])[0] for job in (good, bad)))
    assert comparison is not None
    assert comparison.paired.difference == pytest.approx(28 / 40)
    assert comparison.resolved
    text = " ".join(printed([good, bad]).split())
    assert "good (quick) - bad (quick): +70.0" in text
    assert "95% interval excludes 0" in text


def test_equal_methods_are_not_told_apart(store_job):
    jobs = [store_job(method=name, scores=sheet(20), labels=LABELS) for name in ("a", "b")]
    assert "95% interval includes 0" in words(jobs)


def test_groups_are_compared_on_the_seeds_that_both_have(store_job):
    ours = [store_job(method="a", seed=seed, scores=sheet(right), labels=LABELS) for seed, right in ((0, 40), (1, 20))]
    theirs = [store_job(method="b", seed=seed, scores=sheet(right), labels=LABELS) for seed, right in ((1, 10), (2, 0))]
    comparison = tables.compare(group_jobs(ours)[0], group_jobs(theirs)[0])
    assert comparison.paired.difference == pytest.approx(10 / 40)
    assert comparison.seeds == (1,)
    assert ", over seed 1: 95% interval excludes 0" in str(comparison)


def test_other_seeds_or_clips_do_not_pair(store_job):
    base = group_jobs([store_job()])[0]
    assert tables.compare(base, group_jobs([store_job(method="b", seed=1)])[0]) is None
    assert tables.compare(base, group_jobs([store_job(method="b", fingerprint="e" * 64)])[0]) is None


def test_the_table_after_a_run_shows_percent_intervals_task_and_origin(store_job):
    job = store_job(name="toy[split=55/5]", method="[red]m[/red]", synthetic=True, scores=sheet(25), labels=LABELS)
    text = printed([job])
    figure = job.result.metrics["top1"]
    assert f"62.5 [{100 * figure.low:.1f}, {100 * figure.high:.1f}]" in text
    assert "supervised/toy[split=55/5]@1 synthetic" in words([job])
    assert "[red]m[/red]" in text


def test_a_smoke_run_is_shown_after_it_ran_but_named_so(store_job):
    assert "limit 8: never ranked" in words([store_job(limit=8)])


def test_records_are_json_values_with_none_for_the_undefined(store_job):
    labels = np.array([2, 3] * 10)
    record = tables.run_records([store_job(family="zero-shot", labels=labels)])[0]
    assert record["metrics"]["gzsl_seen"]["value"] is None
    assert record["metrics"]["zsl_top1"]["n"] == 20
    assert record["seeds"] == [0]


@pytest.mark.parametrize(("oracle", "shown"), [(None, False), (0.9, True)])
def test_the_table_after_a_run_has_oracle_rows_where_any_method_has_one(store_job, oracle, shown):
    table = tables.run_table([store_job(), store_job(method="devise", oracle=oracle)])
    heads = [cell.plain for cell in table.columns[0].cells]
    assert ("best epoch on test (oracle)" in heads, "oracle minus honest" in heads) == (shown, shown)
    assert "seeds" in heads


def test_one_thread_is_no_threads(store_job):
    (group,) = group_jobs([store_job()])
    assert any(", 1 thread, " in value for _, value in origin_of(group))
