from __future__ import annotations

import numpy as np
import pytest

from mmcl_bench.evaluation.metrics import Scored
from mmcl_bench.report.methods_by_task import methods_by_task
from mmcl_bench.report.page import build_report
from mmcl_bench.report.projection import map_samples, plane
from mmcl_bench.report.ranking import rank_methods, rankings
from mmcl_bench.report.tables import leaderboard_rows
from mmcl_bench.results.groups import newest
from mmcl_bench.results.store import Embeddings


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows_of(store_job, skills):
    """A row for each (method, task), named by the skill of the method there."""
    return leaderboard_rows(
        store_job(name=task, method=method, skill=skill) for (method, task), skill in skills.items()
    )


def test_ranks_are_means_over_shared_tasks(store_job):
    skills = {(method, task): skill for method, skill in (("a", 0.9), ("b", 0.05)) for task in ("x", "y", "z")}
    found = rank_methods(rows_of(store_job, skills))
    assert found.ranks.methods == ("a (quick)", "b (quick)")
    assert found.ranks.average == (1, 2)
    assert found.tasks == ("supervised/x@1", "supervised/y@1", "supervised/z@1")


def test_the_newest_version_of_a_method_is_ranked(store_job, tmp_path):
    """Version 1 of a is worse than b everywhere, and so is not what the page ranks or shows."""
    for task in "xyz":
        for method, version, skill in (("a", 1, 0.0), ("a", 2, 0.9), ("b", 1, 0.3)):
            store_job(name=task, method=method, method_version=version, skill=skill)
    summary = build_report(tmp_path, tmp_path / "reports", "none")
    assert (summary.n_jobs, summary.n_older) == (6, 3)
    ranks = (tmp_path / "reports" / "tables" / "supervised-ranks.csv").read_text()
    assert ranks == "Method,Mean rank\na (quick),1.00\nb (quick),2.00\n"
    assert "3 of older versions left out" in summary.page.read_text(encoding="utf-8")


def test_a_method_counts_under_the_wording_of_its_own_texts_that_ran_last(store_job):
    others = [store_job(name=task, method="b", skill=0.4) for task in "xyz"]
    wordings = [
        store_job(name=task, method="a", skill=skill, slot_texts=texts, started=f"2024-05-0{day}T10:00:00+00:00")
        for task in "xyz"
        for texts, skill, day in (("old", 0.0, 1), ("new", 0.9, 2))
    ]
    rows = leaderboard_rows([*others, *wordings])
    assert rankings(rows)["inductive", ""].ranks.methods == ("a (quick)", "b (quick)")
    best = next(method for method in methods_by_task(rows).methods if method.group.method.name == "a")
    assert len(best.rows) == 3
    assert best.mean > 0.8


@pytest.mark.parametrize("fit_seconds", [None, 1.0])
def test_a_report_tells_values_of_a_preset_apart_that_changed_its_meaning(store_job, tmp_path, fit_seconds):
    for task in "xyz":
        store_job(name=task, method="b", skill=0.4, fit_seconds=fit_seconds)
        for epochs in (2, 5):
            store_job(name=task, method="a", skill=epochs / 6, settings={"epochs": epochs}, fit_seconds=fit_seconds)
    build_report(tmp_path, tmp_path / "reports", "tasks")
    ranks = (tmp_path / "reports" / "tables" / "supervised-ranks.csv").read_text()
    assert ranks.count(", values ") == 2


def test_a_method_that_adapts_a_base_is_as_old_as_that(store_job):
    jobs = [
        store_job(method="adapts", seed=version, settings={"base_method": {"name": "a", "version": version}})
        for version in (1, 2)
    ]
    assert newest(jobs) == jobs[1:]


def test_a_method_of_one_task_is_left_out_and_named(store_job):
    skills = {(method, task): 0.5 for method in "ab" for task in ("x", "y", "z")} | {("tried", "x"): 0.9}
    found = rank_methods(rows_of(store_job, skills))
    assert found.left_out == ("tried (quick)",)
    assert len(found.tasks) == 3


def test_chance_is_not_ranked(store_job):
    skills = {(method, task): 0.5 for method in ("a", "b", "chance") for task in "xyz"}
    assert sorted(rank_methods(rows_of(store_job, skills)).ranks.methods) == ["a (quick)", "b (quick)"]


def test_a_task_counts_once_under_its_default_text_encoder(store_job):
    def rows(encoders):
        return leaderboard_rows(
            store_job(
                family="zero-shot",
                method=method,
                identity=f"zero-shot/{task}@1" + ("" if encoder == "minilm" else f"[text={encoder}]"),
                task_hash=f"{task}{encoder}".encode().hex().ljust(64, "0")[:64],
                parameters={"text": encoder},
            )
            for task in "xyz"
            for method in "ab"
            for encoder in encoders
            if (method, encoder) != ("b", "rare")
        )

    (found,) = rankings(rows(("minilm", "smollm2"))).values()
    assert found.tasks == ("zero-shot/x@1", "zero-shot/y@1", "zero-shot/z@1")
    (found,) = rankings(rows(("rare", "smollm2"))).values()
    assert found.tasks == ("zero-shot/x@1[text=smollm2]", "zero-shot/y@1[text=smollm2]", "zero-shot/z@1[text=smollm2]")


def test_a_task_on_data_of_two_contents_counts_once(store_job):
    jobs = [
        store_job(name=task, method=method, fingerprint=letter * 64)
        for task in "xyz"
        for method in "abc"
        for letter in "01"
        if (method, letter) != ("c", "0")
    ]
    (found,) = rankings(leaderboard_rows(jobs)).values()
    assert found.tasks == ("supervised/x@1", "supervised/y@1", "supervised/z@1")
    assert sorted(found.ranks.methods) == ["a (quick)", "b (quick)", "c (quick)"]


def test_one_label_with_two_meanings_of_its_preset_is_two_methods(store_job):
    skills = {("a", 1): 0.9, ("a", 2): 0.0, ("b", 1): 0.3}
    jobs = [
        store_job(name=task, method=method, settings={"rate": rate}, skill=skill)
        for (method, rate), skill in skills.items()
        for task in "xyz"
    ]
    ranks = rank_methods(leaderboard_rows(jobs)).ranks
    places = dict(zip(ranks.methods, ranks.average, strict=True))
    assert len(places) == 3
    assert places["b (quick)"] == 2


@pytest.mark.parametrize("tasks", ["", "xy"])
def test_too_few_tasks_give_no_ranks(store_job, tasks):
    assert rank_methods(rows_of(store_job, {(method, task): 0.5 for method in "ab" for task in tasks})) is None


def test_a_plane_keeps_distances_within_the_span_of_three_texts():
    generator = np.random.default_rng(0)
    prototypes, samples = unit(generator.normal(size=(3, 16))), unit(generator.normal(size=(30, 16)))
    mapped, texts = plane(samples, prototypes)
    between = lambda rows: np.linalg.norm(rows[:, None] - rows[None], axis=-1)  # noqa: E731
    np.testing.assert_allclose(between(texts), between(prototypes))
    span = np.linalg.qr((prototypes[1:] - prototypes[0]).T)[0]
    np.testing.assert_allclose(between(mapped), between(samples @ span), atol=1e-9)


def test_two_texts_lie_on_the_first_axis_and_the_second_spreads_the_clips():
    generator = np.random.default_rng(1)
    prototypes, samples = unit(generator.normal(size=(2, 8))), unit(generator.normal(size=(20, 8)))
    mapped, texts = plane(samples, prototypes)
    np.testing.assert_allclose(texts[:, 1], 0)
    # The nearer text along the axis is the one of higher similarity.
    nearer = np.abs(mapped[:, :1] - texts[:, 0]).argmin(axis=1)
    np.testing.assert_array_equal(nearer, (samples @ prototypes.T).argmax(axis=1))
    assert mapped[:, 1].std() > 0.1


def test_equal_texts_and_a_single_clip_are_drawn_somewhere():
    mapped, texts = plane(unit(np.ones((1, 4))), unit(np.ones((3, 4))))
    assert np.isfinite(mapped).all()
    assert np.isfinite(texts).all()


def test_labels_and_right_choices_are_those_of_the_score_sheet(store_job):
    scores = np.array([[9, 0, 1, 2], [0, 0, 5, 4], [0, 0, 4, 5]], dtype=np.float32)
    labels = np.array([2, 2, 2])
    kept = Embeddings(np.eye(3, 5, dtype=np.float16)[:2], np.array([0, 1]), np.eye(2, 5, dtype=np.float16))
    job = store_job(family="zero-shot", scores=scores, labels=labels, embeddings=kept)
    mapped = map_samples(job, Scored(scores, labels, np.array(job.result.seen)))
    assert mapped.classes == ["walk", "sit"]
    assert mapped.labels.tolist() == [0, 0]
    assert mapped.correct.tolist() == [False, True]


def test_without_embeddings_there_is_no_map(store_job):
    job = store_job(family="zero-shot")
    assert map_samples(job, job.scored()) is None
