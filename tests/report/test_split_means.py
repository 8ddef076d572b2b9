"""Means over folds and other numbered splits."""

from __future__ import annotations

import numpy as np
import pytest

from mmcl_bench.report.split_means import frame_of, means_of, split_means, without_class_folds
from mmcl_bench.report.tables import leaderboard_rows
from stored_jobs import class_folds

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
