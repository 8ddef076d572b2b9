from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mmcl_bench.core.grants import Setting
from mmcl_bench.report.lineage import origin_of
from mmcl_bench.report.methods_by_task import frame_of, methods_by_task
from mmcl_bench.report.page import build_report
from mmcl_bench.report.split_means import means_of
from mmcl_bench.report.tables import leaderboard_rows
from mmcl_bench.results.store import read_results
from stored_jobs import class_folds

ZERO_SHOT = {"family": "zero-shot"}


def table_of(*jobs):
    return methods_by_task(leaderboard_rows(jobs))


def honest(job):
    return job.result.metrics[job.result.task.main_metric].value


def test_oracle_minus_honest_is_a_mean_over_tasks_of_means_over_seeds(store_job):
    runs = [("one", 0), ("one", 1), ("other", 0), ("third", 0)]
    jobs = [store_job(**ZERO_SHOT, name=name, seed=seed, oracle=0.99) for name, seed in runs]
    other = store_job(**ZERO_SHOT, name="one", method="chance")
    gaps = [0.99 - honest(job) for job in jobs]
    of_tasks = [(gaps[0] + gaps[1]) / 2, gaps[2], gaps[3]]
    low, high = stats.t.interval(0.95, 2, np.mean(of_tasks), stats.sem(of_tasks))
    found = next(each for each in table_of(*jobs, other).methods if each.group.method.name == "mmcl")
    interval = found.oracle_minus_honest
    assert interval.value == pytest.approx(np.mean(of_tasks))
    assert (interval.low, interval.high) == pytest.approx((max(low, 0), min(high, 1)))


def test_a_chosen_step_that_the_oracle_did_not_try_may_be_the_best_on_test(store_job, tmp_path):
    job = store_job(**ZERO_SHOT, oracle=0.01)
    (found,) = leaderboard_rows([job])
    assert found.oracle == honest(job) > 0.01
    assert found.oracle_minus_honest == 0
    assert "chosen step" in dict(origin_of(found.group))["Oracle"]
    assert read_results(tmp_path).set_index("metric").loc["zsl_top1", "oracle"] == honest(job)


def test_one_run_has_no_interval_and_a_method_without_steps_no_oracle(store_job):
    table = table_of(store_job(oracle=0.9), store_job(method="chance"))
    alone, chance = (next(m for m in table.methods if m.group.method.name == name) for name in ("mmcl", "chance"))
    assert math.isnan(alone.oracle_minus_honest.low)
    assert chance.oracle_minus_honest is None
    shown = frame_of(table).set_index("Method")["Oracle minus honest"]
    assert "[" not in shown["mmcl (quick)"]
    assert shown["chance (quick)"] == "–"


def test_a_method_alone_needs_no_table(store_job):
    assert table_of(store_job(), store_job(name="other")) is None


def test_rows_stand_by_what_methods_were_allowed_and_say_it(store_job):
    table = table_of(
        store_job(**ZERO_SHOT, method="adapts", setting=Setting.TRANSDUCTIVE, skill=1.0),
        store_job(**ZERO_SHOT, method="star", uses_unseen_texts=True, frozen=True, skill=0.9),
        store_job(**ZERO_SHOT, method="mmcl", uses_unseen_texts=False, frozen=False, skill=0.1),
        store_job(**ZERO_SHOT, method="eszsl", uses_unseen_texts=False, frozen=True, skill=0.5, fit_seconds=1.25),
        store_job(**ZERO_SHOT, method="eszsl", name="other", frozen=True, skill=0.5, fit_seconds=2.25),
    )
    shown = frame_of(table)
    assert shown["Method"].tolist() == [
        *("eszsl (quick)", "mmcl (quick)", "star (quick, unseen texts)", "adapts (quick, transductive)")
    ]
    assert shown["Setting"].tolist() == ["inductive", "inductive", "unseen texts", "transductive"]
    assert shown["Flags"].tolist() == [
        *("frozen extractor", "end to end"),
        *("frozen extractor, texts of unseen classes in training", "transductive"),
    ]
    assert shown["Fit"].tolist() == ["1.8 s", "–", "–", "–"]
    assert {"toy@1: ZSL top-1", "toy@1: H", "other@1: H"} <= set(shown.columns)


def test_methods_that_score_with_images_are_flagged_and_ranked_apart(store_job, tmp_path):
    table = table_of(
        store_job(method="rgb-fusion", scores_with=("rgb",), skill=1.0),
        store_job(method="rgb-fusion", scores_with=("rgb",), skill=1.0, name="other"),
        store_job(method="mmcl", skill=0.1),
        store_job(method="mmcl", skill=0.1, name="other"),
    )
    shown = frame_of(table)
    assert shown["Method"].tolist() == ["mmcl (quick)", "rgb-fusion (quick, RGB at test)"]
    assert shown["Setting"].tolist() == ["inductive", "RGB at test"]
    assert shown["Flags"].tolist() == ["", "RGB at test"]
    page = build_report(tmp_path, tmp_path / "reports", "none").page.read_text()
    assert "RGB at test: scores with images beside the skeleton, so not comparable" in " ".join(page.split())
    rows = read_results(tmp_path)
    assert set(rows[rows.method == "rgb-fusion"].scores_with) == {"rgb"}


def test_the_page_keeps_methods_with_unseen_texts_out_of_the_inductive_rows(store_job, tmp_path):
    store_job(**ZERO_SHOT, method="mmcl", oracle=0.9)
    store_job(**ZERO_SHOT, method="star", oracle=0.95, uses_unseen_texts=True)
    summary = build_report(tmp_path, tmp_path / "reports", "tasks")
    page = summary.page.read_text()
    assert "unseen texts: reads texts of unseen classes in training, so not comparable" in " ".join(page.split())
    assert "What choosing the step on the test set would have given" in page
    assert {path.name for path in summary.figures} >= {"zero-shot-oracle-minus-honest.png"}
    assert (tmp_path / "reports" / "tables" / "zero-shot-methods-by-task.csv").is_file()


def test_oracle_minus_honest_of_class_folds_has_its_interval_over_folds(store_job):
    jobs = [
        job
        for seed in range(3)
        for job in class_folds(store_job, {"devise": 0.4, "chance": 0.0}, seed=seed, oracle=0.99)
    ]
    gaps = np.array([[0.99 - honest(job) for job in jobs if job.result.method.name == "devise"]]).reshape(3, 4)
    of_folds = gaps.mean(axis=0)
    low, high = stats.t.interval(0.95, 3, of_folds.mean(), stats.sem(of_folds))
    table = methods_by_task([mean.as_row for mean in means_of(jobs)])
    found = next(each for each in table.methods if each.group.method.name == "devise").oracle_minus_honest
    assert found.value == pytest.approx(of_folds.mean())
    assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)))


def test_tasks_that_differ_in_their_data_alone_are_two_columns(store_job):
    one, other = (store_job(fingerprint=letter * 64, skill=0.9) for letter in "ab")
    table = table_of(one, other, store_job(fingerprint="a" * 64, method="chance"))
    columns = [head for head in frame_of(table) if head.startswith("toy@1 (")]
    assert len([head for head in columns if head.endswith("Top-1")]) == 2
    assert "–" not in frame_of(table).set_index("Method").loc["mmcl (quick)", columns].tolist()
