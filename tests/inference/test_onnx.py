"""An exported network scores as the job's own does, in a runtime that knows nothing of this package."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.inference import onnx as onnx_export
from mmcl_bench.inference.onnx import Exported, export_onnx
from mmcl_bench.inference.predict import TrainedModel
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.results.store import Stored
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from mmcl_bench.skeleton.clips import BodyTrack
from small_backbone import SMALL

pytestmark = pytest.mark.usefixtures("small_backbone")

TASKS = {"any number of bodies": "supervised/nw-ucla[split=x-view]", "two bodies": "zero-shot/nw-ucla[split=8/2]"}
SETTINGS = {
    "any number of bodies": {"streams": '["joint", "bone-motion"]'},
    "two bodies": {"n_bodies": "2", "streams": '["bone", "joint-motion"]'},
}
SHORT = {"epochs": "1", "min_steps": "0", "n_frames": "12", "backbone": SMALL}


def job(kind: str, data: Path, results: Path) -> Stored:
    overrides = {**SHORT, **SETTINGS[kind]}
    wanted = make_job(load_task(TASKS[kind]), METHODS.get("skeleton-only"), 0, overrides=overrides)
    return run_job(wanted, RunSite(data, results))[0]


@pytest.fixture(scope="module", params=list(TASKS))
def exported(
    request: pytest.FixtureRequest,
    small_backbone: str,
    toy_data_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[TrainedModel, Exported, Path]:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("onnx")
    model = TrainedModel.of(job(request.param, toy_data_root, folder))
    return model, export_onnx(model, folder / "model.onnx"), folder / "model.onnx"


def clips(n: int) -> ClipView:
    """Synthetic clips of one and two bodies."""
    generator = np.random.default_rng(n)
    bodies = [
        [BodyTrack(0, generator.normal(size=(11, 20, 3)).astype(np.float32)) for _ in range(1 + at % 2)]
        for at in range(n)
    ]
    return ClipView(bodies, [11] * n, "kinect-v1")


@pytest.mark.parametrize("n_clips", [1, 6])
def test_scores_are_those_of_the_method_for_any_batch(
    n_clips: int, exported: tuple[TrainedModel, Exported, Path]
) -> None:
    import onnxruntime

    model, _, path = exported
    scorer = model.method.dense_scorer()
    assert scorer is not None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"positions": scorer.prepare(clips(n_clips))})
    np.testing.assert_allclose(scores, model.method.score(clips(n_clips)), rtol=1e-4, atol=1e-4)


def test_the_file_says_what_it_is(exported: tuple[TrainedModel, Exported, Path]) -> None:
    import onnx

    model, report, path = exported
    proto = onnx.load(path)
    message = {entry.key: entry.value for entry in proto.metadata_props}
    assert message == report.metadata
    result = model.stored.result
    assert json.loads(message["classes"]) == list(result.classes)
    assert (message["task"], message["job_hash"]) == (result.task.identity, result.job_hash)
    assert (message["layout"], message["frames"]) == ("kinect-v1", "12")
    assert len(json.loads(message["joints"])) == 20
    assert message["streams"].split(",") == result.method.settings["streams"]
    assert report.input_shape == ("clips", 3, 12, 20, "bodies" if message["bodies"] == "any" else 2)
    assert report.output_shape == ("clips", 10)
    assert report.difference is not None
    assert report.difference < 1e-4


def test_the_function_beside_it_prepares_clips_as_the_method_does(
    exported: tuple[TrainedModel, Exported, Path],
) -> None:
    model, report, path = exported
    place = path.with_name("model_preprocessing.py")
    code = (
        "import sys; sys.modules['torch'] = sys.modules['mmcl_bench'] = None; from model_preprocessing import prepare"
    )
    subprocess.run([sys.executable, "-c", code], cwd=path.parent, check=True)
    spec = importlib.util.spec_from_file_location("model_preprocessing", place)
    assert spec is not None
    assert spec.loader is not None
    shipped = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shipped)

    scorer = model.method.dense_scorer()
    assert scorer is not None
    generator = np.random.default_rng(3)
    whole, late = (generator.normal(size=(n, 20, 3)).astype(np.float32) for n in (11, 6))
    view = ClipView([[BodyTrack(0, whole), BodyTrack(4, late)]], [11], "kinect-v1")
    padded = np.full((11, 20, 3), np.nan)
    padded[4:10] = late
    expected = scorer.prepare(view)
    np.testing.assert_allclose(shipped.prepare([whole, padded], report.metadata), expected, atol=2e-5)

    gap = whole.copy()
    gap[3, 5] = np.nan
    filled = whole.copy()
    filled[3, 5] = (whole[2, 5] + whole[4, 5]) / 2
    np.testing.assert_allclose(shipped.prepare([gap], report.metadata), shipped.prepare([filled], report.metadata))
    with pytest.raises(ValueError, match="joint 7 is never seen"):
        shipped.prepare([np.where(np.arange(20)[:, None] == 7, np.nan, whole)], report.metadata)


def test_scores_that_differ_leave_no_file(
    exported: tuple[TrainedModel, Exported, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    monkeypatch.setattr(onnx_export, "_exported", lambda scorer: onnx.load(exported[2]))
    monkeypatch.setattr(onnx_export, "_difference", lambda proto, scorer: 0.5)
    with pytest.raises(UserError, match=r"not written, as its scores differ by 5\.0e-01"):
        export_onnx(exported[0], tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_method_without_a_network_is_one_line(toy_data_root: Path, tmp_path: Path) -> None:
    run_job(make_job(load_task(TASKS["two bodies"]), METHODS.get("chance"), 0), RunSite(toy_data_root, tmp_path))
    with pytest.raises(UserError, match="method chance has no network to export"):
        app(["export", "zero-shot", "--output", "m.onnx", "--results", str(tmp_path)], standalone_mode=False)


def test_a_missing_package_is_one_line(toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job("two bodies", toy_data_root, tmp_path)
    monkeypatch.setattr(onnx_export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnx and onnxscript; pip install 'mmcl-bench\[onnx\]'"):
        app(["export", "zero-shot", "--output", "m.onnx", "--results", str(tmp_path)], standalone_mode=False)
