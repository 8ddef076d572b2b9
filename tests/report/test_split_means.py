"""Means over folds and other numbered splits."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest

from mmcl_bench.evaluation.class_folds import pooled_difference
from mmcl_bench.evaluation.metrics import METRICS
from mmcl_bench.report.page import build_report
from mmcl_bench.report.split_means import (
    frame_of,
    frame_of_folds,
    leads,
    means_of,
    split_means,
    standings,
    without_class_folds,
)
from mmcl_bench.report.tables import leaderboard_rows
from mmcl_bench.results.store import write_result
from stored_jobs import class_folds, stored_job

LABELS = np.arange(40) % 4


def sheet(right: int) -> np.ndarray:
    """Scores of 40 clips, of which the first ``right`` are predicted right."""
    predicted = np.where(np.arange(40) < right, LABELS, (LABELS + 1) % 4)
    return np.eye(4, dtype=np.float32)[predicted]


def folds(store_job, rights, method="mmcl", **others):
    return [
        store_job(
            *(),
            split=f"fold-{number}",
            task_hash=f"{number}" * 64,
            method=method,
            labels=LABELS,
            scores=sheet(right),
            seed=seed,
            **others,
        )
        for (number, seed), right in rights.items()
    ]


def test_the_mean_is_over_folds_of_the_mean_over_seeds(store_job):
    jobs = folds(store_job, {(1, 0): 20, (1, 1): 30, (2, 0): 40, (3, 0): 10})
    (mean,) = split_means(leaderboard_rows(jobs))
    figure = mean.figures["top1"]
    assert figure.value == pytest.approx((25 / 40 + 1 + 10 / 40) / 3)
    assert figure.low < 0.5 < figure.high, "three folds that differ so leave it open"
    assert (mean.splits, mean.seeds) == ("fold-1 to fold-3", "1 to 2")


def test_methods_and_smoke_runs_do_not_meet_and_gaps_are_named(store_job):
    jobs = [
        *folds(store_job, {(1, 0): 20, (3, 0): 30}),
        *folds(store_job, {(1, 0): 40, (2, 0): 40}, method="devise"),
        *folds(store_job, {(2, 0): 0}, limit=8),
        store_job(split="x-sub", task_hash="9" * 64),
    ]
    means = split_means(leaderboard_rows(jobs))
    assert [(mean.group.method.name, mean.splits) for mean in means] == [
        ("devise", "fold-1 to fold-2"),
        ("mmcl", "fold-1, fold-3"),
    ]
    assert frame_of(means)["Method"].tolist() == ["devise", "mmcl"]


@pytest.mark.parametrize("split", [None, "x-sub", "55/5", "-3", "fold-²"])
def test_splits_without_a_number_have_no_mean(store_job, split):
    jobs = [store_job(split=split, task_hash=letter * 64) for letter in "ab"]
    assert split_means(leaderboard_rows(jobs)) == []


def test_a_method_with_a_single_class_fold_is_a_row_of_its_own(store_job):
    several = class_folds(store_job, {"devise": 0.5})
    (alone, *_) = class_folds(store_job, {"eszsl": 0.5})
    assert without_class_folds([*several, alone]) == [alone]
    (mean,) = means_of([*several, alone])
    assert (mean.group.method.name, mean.classes) == ("devise", "each of 4 classes unseen 2 times")
    (part,) = means_of(several[:3])
    assert part.classes == "each of 4 classes unseen 1 to 2 times"
    assert np.isnan(part.of_these_classes["zsl_top1"].low)


def test_two_wordings_of_a_single_class_fold_stay_rows_of_their_own(store_job):
    jobs = [class_folds(store_job, {"star": 0.5}, slot_texts=texts)[0] for texts in ("1", "2")]
    assert without_class_folds(jobs) == jobs


def test_class_folds_by_a_metric_whose_plugin_is_not_here_have_its_mean(store_job, tmp_path):
    for job in class_folds(store_job, {"devise": 0.5, "eszsl": 0.4}):
        task = job.result.task.model_copy(update={"metrics": ("mine",), "main_metric": "mine"})
        figures = {"mine": job.result.metrics["zsl_top1"]}
        write_result(job.folder, job.result.model_copy(update={"task": task, "metrics": figures}))
    page = build_report(tmp_path, tmp_path / "reports", "tasks").page.read_text()
    assert "mine" in page


def test_class_folds_are_one_column_with_ties_by_their_paired_interval(store_job):
    skills = {"eszsl": 0.5, "devise": 0.45, "chance": 0.0}
    rows = leaderboard_rows(class_folds(store_job, skills, repetitions=3))
    means = split_means(rows)
    best = means[0].as_row
    assert best.group.task.identity == "zero-shot/toy@1[split=2/2:fold-1 to fold-6]"
    assert best.main == means[0].of_these_classes["zsl_top1"]
    found = standings(means)
    assert found.pop(best.group.key) == "best"
    for mean in means[1:]:
        folds = [[[row.group.runs()[0]] for row in each.rows] for each in (mean, means[0])]
        paired = pooled_difference(METRICS.get("zsl_top1"), *folds).of_these_classes
        assert found[mean.as_row.group.key] == ("tied" if paired.low <= 0 <= paired.high else "")
    assert set(found.values()) == {"tied", ""}
    fewer = split_means(
        [row for row in rows if row.group.method.name != "devise" or row.group.task.split != "2/2:fold-6"]
    )
    keys = {mean.group.method.name: mean.as_row.group.task_key for mean in fewer}
    assert keys["eszsl"] == keys["chance"] != keys["devise"], "other folds are another column"
    gap = split_means([row for row in rows if row.group.task.split in ("2/2:fold-1", "2/2:fold-3")])
    assert gap[0].as_row.group.task.split == "2/2:fold-1, 2/2:fold-3"


def test_folds_share_their_clips_in_whatever_order_each_stored_them(tmp_path):
    """Each task draws an order of its own; intervals that took clips in another order for others would be narrower."""

    def store_in_another_order(**given):
        order = np.random.default_rng(int(given["task_hash"][0])).permutation(40)
        return stored_job(tmp_path / "shuffled", order=order, **given)

    skills = {"eszsl": 0.5, "devise": 0.45}
    means, shuffled = (
        split_means(leaderboard_rows(class_folds(store, skills)))
        for store in (partial(stored_job, tmp_path), store_in_another_order)
    )
    for one, other in zip(means, shuffled, strict=True):
        for name, figure in one.of_these_classes.items():
            low_high = (other.of_these_classes[name].low, other.of_these_classes[name].high)
            assert low_high == pytest.approx((figure.low, figure.high)), name
    assert leads(shuffled) == leads(means)


def test_class_folds_are_in_ranks_and_in_the_overview(store_job, tmp_path):
    for dataset in ("one", "two"):
        class_folds(store_job, {"eszsl": 0.6, "devise": 0.3}, dataset=dataset)
    for method, skill in (("eszsl", 0.6), ("devise", 0.3)):
        store_job(family="zero-shot", name="three", method=method, skill=skill)
    build_report(tmp_path, tmp_path / "reports", "none")
    tables = tmp_path / "reports" / "tables"
    by_task = pd.read_csv(tables / "zero-shot-methods-by-task.csv").set_index("Method")
    pooled = pd.read_csv(tables / "zero-shot-class-folds.csv").set_index(["Task", "Method"])
    for dataset in ("one", "two"):
        column = by_task[f"{dataset}@1[split=2/2:fold-1 to fold-4]: ZSL top-1"]
        for method in ("eszsl", "devise"):
            value, _, bounds = column[f"{method} (quick)"].partition(" ")
            row = pooled.loc[f"zero-shot/{dataset}@1[split=2/2:fold]", method]
            assert row["ZSL top-1"].startswith(value)
            assert row["ZSL top-1, these classes"].endswith(bounds)
    ranks = pd.read_csv(tables / "zero-shot-ranks.csv").set_index("Method")["Mean rank"]
    assert ranks.to_dict() == {"eszsl (quick)": 1.0, "devise (quick)": 2.0}
    page = (tmp_path / "reports" / "index.html").read_text()
    assert "over 3 tasks" in page
    assert "Class folds of a set are one column" in page
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    for dataset in ("one", "two"):
        assert any(f"zero-shot/{dataset}@1[split=2/2:fold], pooled over 4 folds" in caption for caption in captions)


def test_an_interval_that_is_not_known_makes_no_tie_and_is_not_shown(store_job, tmp_path):
    means = means_of(class_folds(store_job, {"eszsl": 0.6, "devise": 0.3}, repetitions=1))  # each class unseen once
    assert list(standings(means).values()) == ["best", ""]
    first, second = leads(means)
    assert first == "first"
    assert float(second) < 0, "a difference without bounds"
    build_report(tmp_path, tmp_path / "reports", "none")
    assert "nan" not in (tmp_path / "reports/tables/zero-shot-class-folds.csv").read_text()


def test_folds_of_an_incomplete_copy_and_fewer_folds_are_not_ranked_with_the_others(store_job, tmp_path):
    jobs = class_folds(store_job, {"devise": 0.3, "chance": 0.0})
    part = class_folds(store_job, {"eszsl": 0.9}, fingerprint="0" * 64, incomplete={"toy-set": "3 of 4 clips"})
    few = class_folds(store_job, {"eszsl": 0.9})[:2]
    means = means_of([*jobs, *part, *few])
    told = {
        (mean.group.method.name, bool(mean.group.incomplete)): lead
        for mean, lead in zip(means, leads(means), strict=True)
    }
    assert told["eszsl", True] == told["devise", False] == "first"
    assert float(told["eszsl", False].partition(" ")[0]) > 0, "on the folds that both have"
    assert frame_of_folds(means)["Data"].tolist().count("") == 3
    # In the folder there are all folds of the best method.
    build_report(tmp_path, tmp_path / "reports", "none")
    latex = (tmp_path / "reports/tables/zero-shot-class-folds.tex").read_text().splitlines()
    assert len([line for line in latex if "textbf" in line]) == 2, "the best of the whole copy and of the other"
    (second,) = (line for line in latex if "underline" in line)
    assert "devise" in second


def test_a_fold_whose_class_texts_changed_counts_once_as_it_was_run_last(store_job):
    split = "2/2:fold-1"
    changed = store_job(
        family="zero-shot",
        identity=f"zero-shot/toy@1[split={split}]",
        split=split,
        task_hash="e" * 64,
        unseen=(0, 1),
        method="devise",
        started="2025-01-01T00:00:00+00:00",
    )
    (mean,) = means_of([*class_folds(store_job, {"devise": 0.3}), changed])
    assert [row.group.task.hash[0] for row in mean.rows] == ["e", "2", "3", "4"]


def test_another_wording_of_a_method_s_summary_does_not_part_its_folds(store_job):
    before, after = (class_folds(store_job, {"devise": 0.3}, summary=words) for words in ("a map", "a linear map"))
    (mean,) = means_of([*before[:2], *after[2:]])
    assert len(mean.rows) == 4
