from __future__ import annotations

import csv
from collections import Counter

import pandas as pd
import pytest

from mmcl_bench.protocols import splits
from mmcl_bench.report.published import METRICS, beside, matching, read_published
from mmcl_bench.report.tables import leaderboard_rows
from mmcl_bench.results.groups import group_jobs

SPLIT = {"datasets": ("ntu60",), "split": "55/5", "parameters": {"side": "x-sub"}}


@pytest.fixture(scope="module")
def published():
    return read_published()


def task_of(store_job, **facts_of_task):
    return group_jobs([store_job(**facts_of_task)])[0].task


def test_every_published_figure_of_the_reference_is_carried_over(published, reference_dir):
    with (reference_dir / "published_zero_shot.csv").open() as file:
        rows = list(csv.DictReader(file))
    theirs = Counter(
        (row["method"], *(row[name] for name in ("zsl_acc", "gzsl_seen", "gzsl_unseen", "gzsl_h"))) for row in rows
    )
    of_zero_shot = published[published["source"].ne("") & ~published["family"].eq("supervised")]
    ours = Counter(
        (row["method"], row["zsl_top1"] or row["top1"], row["gzsl_seen"], row["gzsl_unseen"], row["gzsl_h"])
        for _, row in of_zero_shot.iterrows()
    )
    assert list(theirs - ours) == [("ReViSE", "", "74.2", "34.7", "29.2")], "a misprint, which is mended"
    assert {row[0].split()[0] for row in ours - theirs} == {"ReViSE", "SkeletonLLM", "SCALE"}
    supervised = pd.read_csv(reference_dir / "published_supervised.csv", dtype=str)
    figures = supervised.drop(columns=["method", "source"]).stack().dropna().tolist()
    assert sorted(published[published["family"].eq("supervised")]["top1"]) == sorted(figures)


def test_every_row_says_where_it_is_from_and_how_it_was_chosen(published):
    assert published["source"].ne("").all()
    assert set(published["selection"]) == {"test", "validation", "unknown"}
    chosen_somewhere = published["selection"].ne("unknown")
    assert published[chosen_somewhere]["how_selected"].ne("").all()
    assert set(published["transductive"]) == {"yes", "no", "unknown"}
    generalized = published[["gzsl_seen", "gzsl_unseen", "gzsl_h"]].ne("").any(axis=1)
    assert published["calibration"].ne("").tolist() == generalized.tolist()


def test_h_is_that_of_s_and_u_or_said_to_be_a_misprint(published):
    both = published[published["gzsl_seen"].ne("")]
    seen, unseen, harmonic = (both[f"gzsl_{name}"].astype(float) for name in ("seen", "unseen", "h"))
    off = (2 * seen * unseen / (seen + unseen) - harmonic).abs().gt(0.15)
    assert both[off]["note"].str.contains("misprint").all()
    assert off.sum() == 1


def test_a_leak_of_labels_and_texts_of_unseen_classes_are_told(published):
    assert published[published["method"].eq("PURLS")]["how_selected"].str.contains("label leak").all()
    assert set(published[published["unseen_texts"].eq("yes")]["method"]) == {"STAR", "Flora", "SkeletonContext"}


@pytest.mark.parametrize("method", ["SynSE", "SMIE", "PGFA", "TDSM", "STAR", "Neuron", "SA-DVAE", "FS-VAE", "Flora"])
def test_codes_that_choose_on_the_unseen_classes_are_flagged(published, method):
    own = published[published["method"].eq(method) & ~published["split"].str.contains("train")]
    assert set(own["selection"]) == {"test"}


def test_figures_are_percentages(published):
    values = published[list(METRICS)].replace("", "0").astype(float)
    assert values.to_numpy().min() >= 0
    assert values.to_numpy().max() <= 100
    assert values.gt(0).any(axis=1).all()


@pytest.mark.parametrize("table", ["ntu60", "ntu120", "pku-mmd", "utd-mhad", "nw-ucla", "uwa3d-ii"])
def test_class_splits_that_we_have_are_named_as_we_name_them(published, table):
    known = set(splits.splits(table))
    named = set(published[published["dataset"].eq(table) & published["family"].eq("zero-shot")]["split"])
    others = {split for split in named if any(word in split for word in ("mean of 3", "train)", "not stated"))}
    assert named - others <= known


def test_rows_of_the_same_data_set_split_and_side_match(published, store_job):
    found = matching(published, task_of(store_job, family="zero-shot", **SPLIT))
    assert set(zip(found["dataset"], found["split"], found["side"], strict=True)) == {("ntu60", "55/5", "x-sub")}
    assert {"SynSE", "STAR", "PGFA"} <= set(found["method"])


@pytest.mark.parametrize(
    "change",
    [
        {"synthetic": True},
        {"split": "55/5:smie-1"},
        {"datasets": ("ntu60-pyskl",)},
        {"parameters": {"side": "x-view"}},
        {"parameters": {"side": "x-sub", "duplicates": "removed"}},
        {"parameters": {"side": "x-sub", "unseen_clips": "all"}},
        {"parameters": {"side": "x-sub", "labels": "25%"}},
        {"parameters": {"side": "x-sub", "tested": "validation-1"}},
        {"family": "supervised"},
    ],
    ids=str,
)
def test_other_tasks_match_nothing(published, store_job, change):
    assert matching(published, task_of(store_job, **{"family": "zero-shot", **SPLIT, **change})).empty


def test_all_clips_of_unseen_classes_match_rows_that_state_no_side(published, store_job):
    small = {"datasets": ("utd-mhad",), "split": "22/5", "parameters": {"side": "x-sub", "unseen_clips": "all"}}
    assert "PURLS" in set(matching(published, task_of(store_job, family="zero-shot", **small))["method"])


def test_another_form_of_the_same_clips_matches(published, store_job):
    task = task_of(store_job, datasets=("ntu60-cs-npz",), split="x-sub", name="cs")
    assert "CTR-GCN" in set(matching(published, task)["method"])


def test_published_rows_stand_by_year_and_transductive_ones_apart(published, store_job):
    found = beside(published, leaderboard_rows([store_job(family="zero-shot", **SPLIT)]))
    for rows in (found.inductive, found.with_unseen_texts):
        years = [row.year.split()[-1] for row in rows]
        assert years == sorted(years)
    assert {row.method for row in found.with_unseen_texts} == {"STAR", "Flora", "SkeletonContext"}
    assert "STAR" not in {row.method for row in found.inductive}
    assert {row.method for row in found.transductive} == {"PGFA", "Skeleton-Cache (test-time, best backbone)"}
    assert [row.source for row in found.ours] == ["this report"]


def test_a_missing_file_is_no_figures(tmp_path, store_job):
    rows = leaderboard_rows([store_job(family="zero-shot", **SPLIT)])
    assert beside(read_published(tmp_path / "none.csv"), rows) is None
