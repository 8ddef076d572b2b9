"""What zero-shot methods leave for a map of clips among class texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmcl_bench import read_results
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import EMBEDDINGS, Stored
from mmcl_bench.running import runner
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from small_backbone import SMALL

pytestmark = pytest.mark.usefixtures("small_backbone")

SHORT = {
    "skeleton-only": {"epochs": "1", "min_steps": "0", "n_frames": "8", "backbone": SMALL},
    "devise": {"extractor_epochs": "1", "extractor_min_steps": "0", "backbone": SMALL},
}


def run(root: Path, results: Path, method: str, task: str = "zero-shot/nw-ucla[split=8/2]") -> Stored:
    job = make_job(load_task(task), METHODS.get(method), 0, overrides=SHORT.get(method))
    run_job(job, RunSite(root, results))
    stored = Stored.read(results / "jobs" / job.folder)
    assert stored is not None
    return stored


@pytest.mark.parametrize("method", ["devise", "devise-joints", "skeleton-only"])
def test_similarities_to_the_kept_class_texts_give_the_stored_choice(
    toy_data_root: Path, tmp_path: Path, method: str
) -> None:
    stored = run(toy_data_root, tmp_path, method)
    kept, scored = stored.embeddings(), stored.scored()
    assert kept is not None
    assert kept.samples.dtype == kept.prototypes.dtype == np.float16
    np.testing.assert_array_equal(kept.rows, np.flatnonzero(scored.of_unseen_class))
    np.testing.assert_allclose(np.linalg.norm(kept.samples.astype(np.float64), axis=1), 1, atol=2e-3)
    similarity = kept.samples.astype(np.float64) @ kept.prototypes.astype(np.float64).T
    scores = scored.scores[kept.rows][:, ~scored.seen].astype(np.float64)
    clear = np.abs(np.diff(similarity, axis=1)).ravel() > 5e-3
    assert clear.any()
    np.testing.assert_array_equal(similarity.argmax(axis=1)[clear], scores.argmax(axis=1)[clear])


def test_a_map_of_a_large_test_keeps_some_of_the_clips(
    toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MOST_EMBEDDED", 3)
    kept = run(toy_data_root, tmp_path, "devise-joints").embeddings()
    assert kept is not None
    assert kept.samples.shape[0] == 3


@pytest.mark.parametrize(
    ("method", "task"),
    [("chance", "zero-shot/nw-ucla[split=8/2]"), ("skeleton-only", "supervised/nw-ucla[split=x-sub]")],
)
def test_without_a_space_of_texts_nothing_is_kept(toy_data_root: Path, tmp_path: Path, method: str, task: str) -> None:
    stored = run(toy_data_root, tmp_path, method, task)
    assert stored.embeddings() is None
    assert EMBEDDINGS not in stored.result.files


def test_embeddings_are_no_file_of_the_model(toy_data_root: Path, tmp_path: Path) -> None:
    stored = run(toy_data_root, tmp_path, "devise-joints")
    assert stored.model_files == ["model.json", "model.safetensors"]


def test_a_damaged_map_is_a_damaged_result(toy_data_root: Path, tmp_path: Path) -> None:
    stored = run(toy_data_root, tmp_path, "devise-joints")
    (stored.folder / EMBEDDINGS).write_bytes(b"")
    assert Stored.read(stored.folder) is None


def test_results_load_from_where_the_setting_says(
    toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(toy_data_root, tmp_path / "elsewhere", "chance")
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "elsewhere"))
    assert set(read_results()["method"]) == {"chance"}
