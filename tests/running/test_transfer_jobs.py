"""Jobs of transfer: a source-free method adapts what it saved, and classes known by texts are those of the target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mmcl_bench.core.grants import Setting
from mmcl_bench.datasets.classes import class_texts
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.evaluation.choosing import TITLES
from mmcl_bench.inference.predict import TrainedModel
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared.saved import read_model, write_model
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.report.choices import choices
from mmcl_bench.report.tables import leaderboard_rows
from mmcl_bench.results.store import Stored
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from transfer_toys import BY_TEXTS, ONE


class Heights(Method):
    """Scores by how high clips are, and tells what it saw."""

    name: ClassVar[str] = "heights"
    summary: ClassVar[str] = "a test's own"
    n_classes: int
    offset: float = 0.0

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self._layout = problem.train.clips.layout
        self.n_classes = len(problem.classes)
        self.problem = problem
        return FitReport(chosen={"epoch": 7}, history=[{"epoch": 1.0}], notes={"fitted": True})

    def score(self, clips: ClipView) -> np.ndarray:
        heights = np.array([clips.bodies(clip)[0].positions[..., 1].mean() for clip in range(len(clips))])
        return heights[:, None] * np.arange(self.n_classes) + self.offset

    def save(self, folder: Path) -> list[str]:
        return write_model(folder, self, self._layout, {"n_classes": self.n_classes, "offset": self.offset})

    def load(self, folder: Path, device: str = "cpu") -> None:
        saved = read_model(folder, type(self))
        self._layout, self.n_classes, self.offset = saved.layout, saved.facts["n_classes"], saved.facts["offset"]


class SourceFree(Heights):
    name: ClassVar[str] = "heights-source-free"
    setting: ClassVar[Setting] = Setting.SOURCE_FREE
    adapted: ClassVar[list[tuple[list[str], int, dict[str, int]]]] = []

    def selects(self, family: str) -> bool:
        return True

    def adapt(self, target: ClipView, context: Context) -> FitReport:
        self.adapted.append((sorted(vars(self)), len(target), dict(context.chosen or {})))
        self.offset = float(len(target))
        return FitReport(chosen={"rounds": 2}, history=[{"epoch": 1.0, "entropy": 0.5}], notes={"adapted": True})


@pytest.fixture
def where(transfer_data_root: Path, tmp_path: Path) -> Iterator[RunSite]:
    for method in (Heights, SourceFree):
        METHODS.register(method.name)(method)
    yield RunSite(transfer_data_root, tmp_path / "results")
    for method in (Heights, SourceFree):
        METHODS.unregister(method.name)


def ran(where: RunSite, task: str, method: type[Method]) -> Stored:
    return run_job(make_job(load_task(task, where.data_root), method, 0), where)[0]


def test_a_source_free_method_adapts_a_model_that_holds_nothing_of_the_source(where: RunSite) -> None:
    SourceFree.adapted.clear()
    stored = ran(where, ONE, SourceFree)
    # Four shared classes by the two odd subjects of UTD-MHAD, in the final fit: the first is scored on source clips.
    of_a_loaded_model = ["_layout", "n_classes", "offset", "settings"]
    assert SourceFree.adapted == [(of_a_loaded_model, 8, {"epoch": 7})]
    result = stored.result
    assert set(result.history) == {"selection", "final", "final adaptation"}
    assert {"fitted", "adapted"} <= set(result.notes)
    assert result.method.setting is Setting.SOURCE_FREE
    assert (stored.scores[:, 0] == 8).all(), "what is scored, and kept, is the adapted model"
    assert TrainedModel.of(stored).method.offset == 8  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["nearest-class-mean", "shot"])
def test_the_first_fit_is_scored_as_it_chose_before_anything_of_the_target(
    name: str, where: RunSite, small_backbone: str
) -> None:
    short = {"extractor_epochs": "1", "extractor_min_steps": "0", "backbone": small_backbone}
    short |= {"steps": "20", "copies": "1"} | ({"adaptation_steps": "5"} if name == "shot" else {})
    job = make_job(load_task(ONE, where.data_root), METHODS.get(name), 0, overrides=short)
    result = run_job(job, where)[0].result
    chosen = next(row for row in result.history["selection"] if row["epoch"] == result.selection.chosen["step"])
    assert result.selection.validation["top1"] == pytest.approx(chosen["validation"])


def test_a_job_keeps_what_the_report_needs_to_say_what_each_score_chooses(where: RunSite, small_backbone: str) -> None:
    short = {"extractor_epochs": "1", "extractor_min_steps": "0", "backbone": small_backbone}
    short |= {"steps": "20", "copies": "1", "choose_by": "dev"}
    job = make_job(load_task(ONE, where.data_root), METHODS.get("mcc"), 0, overrides=short)
    stored, _ = run_job(job, where)
    found, oracle = choices(leaderboard_rows([stored])), stored.result.oracle
    assert found is not None
    assert oracle is not None
    assert oracle.epochs_tried == tuple(range(2, 21, 2))
    assert found.by[TITLES["dev"]] == stored.result.metrics["top1"].value
    assert (found.last, found.oracle) == (oracle.figures[-1], max(oracle.figures))


def test_a_map_of_both_domains_is_kept_with_the_classes_of_its_clips(where: RunSite) -> None:
    task, method = load_task(ONE, where.data_root), METHODS.get("logistic-source-only")
    stored, _ = run_job(make_job(task, method, 0, overrides={"features": "joints"}), where)
    kept = stored.domain_map()
    assert kept is not None
    assert kept.source.shape == (len(kept.source_labels), 2)
    assert len(kept.source_labels) == stored.result.n_train
    np.testing.assert_array_equal(kept.target_labels, stored.samples["column"])
    both = np.concatenate([kept.source, kept.target])
    assert both[:, 0].std() > both[:, 1].std() > 0
    assert stored.model_files == ["model.json", "model.safetensors"]
    assert ran(where, ONE, Heights).domain_map() is None


def test_by_texts_the_classes_of_a_result_are_those_of_the_target(where: RunSite) -> None:
    stored = ran(where, BY_TEXTS, Heights)
    result, names = stored.result, class_texts("utd-mhad").names
    assert result.classes == names
    assert list(result.metrics) == ["top1", "macro_top1", "top5", "top1_counterpart", "top1_new"]
    scores = stored.scores
    assert scores.shape == (27 * 2, 27)
    # The 26 classes of the sources come first.
    np.testing.assert_allclose(scores[:, 1] * 26 / 27, scores[:, 0], rtol=1e-5)
    right = scores.argmax(axis=1) == stored.samples["column"].to_numpy()
    with_counterpart = np.array(result.seen)[stored.samples["column"]]
    assert result.metrics["top1"].value == pytest.approx(right.mean())
    assert result.metrics["top1_counterpart"].value == pytest.approx(right[with_counterpart].mean())
    assert result.metrics["top1_new"].value == pytest.approx(right[~with_counterpart].mean())
    assert result.metrics["top1_new"].n == (27 - 9) * 2
    assert result.selection.calibration == 0
    assert set(result.selection.validation) == set(result.metrics)
    model = TrainedModel.of(stored)
    dataset = SkeletonDataset.open(where.data_root / "utd-mhad")
    clips = ClipView([dataset.bodies(row) for row in range(2)], [14] * 2, "kinect-v1")
    assert model.probabilities(clips).shape == (2, 27)
