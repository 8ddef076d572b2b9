"""A job runs once, honestly, and what it leaves is enough to compute every number again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mmcl_bench import read_results
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.evaluation.metrics import METRICS
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.results.store import RESULT, SAMPLES, SCORES, Stored, require_results
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.runner import RunSite, _checked, run_job
from small_backbone import SMALL
from torch_threads import threads

pytestmark = pytest.mark.usefixtures("small_backbone")

ZERO_SHOT = "zero-shot/nw-ucla[split=8/2]"


def job(task: str = ZERO_SHOT, method: str = "skeleton-only", seed: int = 0, **overrides: str) -> Job:
    chosen = METHODS.get(method)
    short = {"epochs": "2", "min_steps": "0", "streams": "joint", "n_frames": "8", "backbone": SMALL}
    overrides = {**short, **overrides} if method in ("mmcl", "skeleton-only") else overrides
    return make_job(load_task(task), chosen, seed, overrides=overrides)


@pytest.fixture
def where(toy_data_root: Path, tmp_path: Path) -> RunSite:
    return RunSite(toy_data_root, tmp_path / "results")


def test_every_metric_follows_from_the_stored_scores(where: RunSite) -> None:
    stored, is_new = run_job(job(), where)
    assert is_new
    again = Stored.read(stored.folder)
    assert again is not None
    for name, figure in again.result.metrics.items():
        value = METRICS.get(name)(again.scored())
        assert figure.value == pytest.approx(value)
        assert figure.low is not None
        assert figure.low <= value <= (figure.high or 0)


def test_stored_labels_are_those_of_the_data_set(where: RunSite) -> None:
    stored, _ = run_job(job(), where)
    index = SkeletonDataset.open(where.data_root / "nw-ucla").index.set_index("sample_id")
    samples = stored.samples
    assert samples["column"].tolist() == index.label[samples.sample_id].tolist()
    assert set(index.subject[samples.sample_id] % 2) == {0}
    assert len(stored.scores) == len(samples) == stored.result.n_test


def test_the_same_job_again_is_the_stored_one_and_fresh_repeats_its_numbers(where: RunSite) -> None:
    first, _ = run_job(job(), where)
    written = (first.folder / RESULT).read_bytes()
    scores = (first.folder / SCORES).read_bytes()
    second, is_new = run_job(job(), where)
    assert not is_new
    assert (second.folder / RESULT).read_bytes() == written
    third, is_new = run_job(job(), where, fresh=True)
    assert is_new
    assert (third.folder / SCORES).read_bytes() == scores
    assert third.result.metrics == first.result.metrics


@pytest.mark.parametrize("name", [RESULT, SCORES, SAMPLES])
def test_a_damaged_result_is_run_again(where: RunSite, name: str) -> None:
    stored, _ = run_job(job(method="chance"), where)
    path = stored.folder / name
    path.write_bytes(path.read_bytes()[:-7])
    assert Stored.read(stored.folder) is None
    again, is_new = run_job(job(method="chance"), where)
    assert is_new
    assert again.result.metrics == stored.result.metrics


def test_selection_is_on_validation_and_the_oracle_stands_beside(where: RunSite) -> None:
    result = run_job(job(), where)[0].result
    assert result.selection.rule == "validation"
    assert result.selection.chosen["epoch"] in (1, 2)
    assert set(result.selection.validation) == set(result.metrics)
    assert result.oracle is not None
    assert result.oracle.metric == "zsl_top1"
    figures = dict(zip(result.oracle.epochs_tried, result.oracle.figures, strict=True))
    assert result.oracle.value == figures[result.oracle.epoch] == max(figures.values())
    assert figures[result.selection.chosen["epoch"]] == result.metrics["zsl_top1"].value
    assert set(result.history) == {"selection", "final"}


def test_a_supervised_preset_fixes_the_epochs_and_says_so(where: RunSite) -> None:
    result = run_job(job("supervised/nw-ucla[split=x-view]"), where)[0].result
    assert (result.selection.rule, result.selection.chosen) == ("fixed", {})
    assert len(result.history["final"]) == 2


def test_results_state_where_they_come_from(where: RunSite) -> None:
    result = run_job(job(method="devise-joints"), where)[0].result
    card = SkeletonDataset.open(where.data_root / "nw-ucla").card
    provenance = result.provenance
    assert provenance.data_fingerprints == {"nw-ucla": card.fingerprint}
    assert set(provenance.weight_hashes) == {"minilm"}
    assert provenance.packages["torch"]
    assert provenance.peak_memory_bytes > 2**20
    for seconds in (provenance.fit_seconds, provenance.score_seconds):
        assert seconds is not None
        assert 0 <= seconds <= provenance.wall_seconds + 0.1
    assert (result.method.uses_unseen_texts, result.method.frozen) == (False, None)
    assert result.task.synthetic, "the stand-in is synthetic, and the result says so"


def test_what_is_under_way_is_told_of_a_method_without_steps_too(where: RunSite) -> None:
    told: list[str] = []
    run_job(job(method="devise-joints"), replace(where, progress=lambda phase, *of: told.append(phase)))
    phases = list(dict.fromkeys(told))
    assert phases[0] == "reading clips"
    assert phases.index("selection: fit") < phases.index("final: fit") < phases.index("scoring")


def test_a_killed_job_goes_on_and_ends_with_the_same_numbers(where: RunSite) -> None:
    wanted = job(epochs="4")
    undisturbed, _ = run_job(wanted, RunSite(where.data_root, where.results_root / "whole"))

    def kill(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if phase == "final: training" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(wanted, RunSite(where.data_root, where.results_root, progress=kill))
    assert not list(where.results_root.glob(f"jobs/*/{RESULT}"))
    finished, _ = run_job(wanted, where)
    np.testing.assert_array_equal(finished.scores, undisturbed.scores)
    assert finished.result.metrics == undisturbed.result.metrics
    assert undisturbed.result.provenance.fit_seconds
    assert finished.result.provenance.fit_seconds is None, "that of the stopped run is not known"
    assert finished.result.method.frozen is False
    assert not (finished.folder / "work").exists()


def test_a_job_that_goes_on_with_other_threads_says_so(where: RunSite, caplog: pytest.LogCaptureFixture) -> None:
    def stop(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if phase == "final: training" and done > total // 2:
            raise KeyboardInterrupt

    supervised = "supervised/nw-ucla[split=x-sub]"  # nothing is chosen in it, so there is one fit, on all threads
    wanted = job(supervised, epochs="4")
    with threads(1), pytest.raises(KeyboardInterrupt):
        run_job(wanted, replace(where, progress=stop))
    with threads(2):
        finished, _ = run_job(wanted, where)
        undisturbed, _ = run_job(job(supervised, epochs="4", seed=1), where)
    assert finished.result.notes["threads"] == [1, 2]
    assert f"{finished.folder}: begun with threads: 1, goes on with 2" in caplog.text
    assert "threads" not in undisturbed.result.notes


class Kept(Method):
    """Scores at random, and keeps three epochs of which it chooses the second."""

    name: ClassVar[str] = "kept"
    summary: ClassVar[str] = "for tests"
    families: ClassVar[frozenset[str]] = frozenset({"supervised"})
    restored: ClassVar[list[int]] = []

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self.n_classes = len(problem.classes)
        return FitReport(chosen={"epoch": 2, "of": 3}, snapshot=2)

    def score(self, clips: ClipView) -> np.ndarray:
        return np.random.default_rng(0).random((len(clips), self.n_classes), dtype=np.float32)

    def snapshots(self) -> list[int]:
        return [1, 2, 3]

    def restore(self, epoch: int) -> None:
        self.restored.append(epoch)


def test_after_the_oracle_a_method_holds_the_chosen_epoch(where: RunSite) -> None:
    METHODS.register("kept")(Kept)
    try:
        wanted = make_job(load_task("supervised/nw-ucla[split=x-sub]"), Kept, 0, limit=60)
        assert run_job(wanted, where)[0].result.oracle is not None
    finally:
        METHODS.unregister("kept")
    # What the second gives was scored before.
    assert Kept.restored == [1, 3, 2]


def test_two_runners_at_once_do_a_job_once(where: RunSite) -> None:
    with ThreadPoolExecutor(2) as pool:
        ran = list(pool.map(lambda _: run_job(job(method="chance"), where), range(2)))
    assert sorted(is_new for _, is_new in ran) == [False, True]
    assert ran[0][0].result == ran[1][0].result


def test_results_load_as_one_table(where: RunSite) -> None:
    for seed in (0, 1):
        run_job(job(method="chance", seed=seed), where)
    run_job(job(method="devise-joints", penalties="[10]"), where)
    table = read_results(where.results_root)
    assert set(table.seed) == {0, 1}
    assert table[table.main].metric.tolist() == ["zsl_top1"] * 3
    assert dict(zip(table.method, table.settings, strict=True)) == {"chance": "", "devise-joints": "penalties=[10.0]"}
    assert table.task.unique().tolist() == ["zero-shot/nw-ucla@3[split=8/2]"]


def test_no_result_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished job"):
        require_results(tmp_path)


def test_a_data_set_that_is_not_prepared_names_the_line_to_type(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mmcl-bench data prepare nw-ucla"):
        run_job(job(), RunSite(tmp_path / "data", tmp_path / "results"))


class Bad(Method):
    """Gives scores of the wrong shape."""

    name: ClassVar[str] = "bad"
    summary: ClassVar[str] = "for this test"

    def fit(self, problem: Problem, context: Context) -> FitReport:
        return FitReport()

    def score(self, clips: ClipView) -> np.ndarray:
        return np.zeros((len(clips), 2), dtype=np.float32)


def test_scores_of_a_wrong_shape_leave_no_result(where: RunSite) -> None:
    METHODS.register("bad")(Bad)
    try:
        with pytest.raises(ValueError, match=r"method bad gave scores of shape \(\d+, 2\)"):
            run_job(make_job(load_task(ZERO_SHOT), Bad, 0), where)
    finally:
        METHODS.unregister("bad")
    assert not list(where.results_root.glob(f"jobs/*/{RESULT}"))


def test_result_json_is_plain_json_without_nan(where: RunSite) -> None:
    stored, _ = run_job(job(method="chance"), where)

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} in result.json")

    json.loads((stored.folder / RESULT).read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((2, 3), dtype=complex), "method theirs: scores must be real numbers, not complex128"),
        (np.array([["a", "b", "c"]] * 2), "method theirs: scores must be real numbers, not <U1"),
        (np.full((2, 3), -np.inf), "method theirs gave scores that are not finite"),
        (np.zeros((2, 4)), "method theirs gave scores of shape"),
    ],
)
def test_scores_of_a_method_that_are_none_are_named(scores: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _checked(scores, 2, 3, "theirs")
    assert _checked(np.array([[1e9, 1e9 + 1, 0]] * 2), 2, 3, "theirs").argmax(axis=1).tolist() == [1, 1]
