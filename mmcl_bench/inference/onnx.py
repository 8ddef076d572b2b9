"""Scoring networks as ONNX files that work without this package, checked against the network they were made from.

Input ``positions`` float32 (N, 3, T, V, M): joints of prepared clips, absent bodies all zeros, as
:attr:`~mmcl_bench.methods.base.DenseScorer.prepare` makes them. Output ``scores`` float32 (N, K). Streams and class
texts are part of the network. The number of clips can vary, and so can that of bodies if every track is a sample; the
number of frames is the job's.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically
from mmcl_bench.inference import preprocessing
from mmcl_bench.skeleton.layouts import get_layout

if TYPE_CHECKING:
    from onnx import ModelProto

    from mmcl_bench.inference.predict import TrainedModel
    from mmcl_bench.methods.base import DenseScorer

TOLERANCE = 1e-4
"""Of scores, relative to the largest."""
INPUT, OUTPUT = "positions", "scores"
_FREE_BODIES = 2
"""Bodies of the example clips of a network that takes any number."""


@dataclass(frozen=True)
class Exported:
    """The file that was written, and how closely its scores agree."""

    input_shape: tuple[str | int, ...]
    output_shape: tuple[str | int, ...]
    metadata: dict[str, str]
    difference: float | None
    """Largest difference to the network's own scores, relative to the largest of these; None: not checked."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def export_onnx(model: TrainedModel, output: Path) -> Exported:
    """Writes the scoring network of a trained model to ``output`` if its scores agree, and beside it the Python file
    that prepares clips for it.

    Raises :class:`UserError` when the method has no network, packages are missing or the scores differ.
    """
    scorer = model.method.dense_scorer()
    if scorer is None:
        raise UserError(f"method {model.method.name} has no network to export; choose a job of one that has, like mmcl")
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        raise UserError(f"export needs {' and '.join(missing)}; pip install 'mmcl-bench[onnx]'")
    if not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such folder; make it, or choose another --output")
    import onnx

    proto = _exported(scorer)
    metadata = _metadata(model, scorer)
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto)
    difference = _difference(proto, scorer)
    if difference is not None and not difference <= TOLERANCE:
        raise UserError(
            f"{output}: not written, as its scores differ by {difference:.1e} of the largest from the network's own; "
            "try other versions of onnxscript and onnxruntime"
        )
    write_atomically(output, lambda path: path.write_bytes(proto.SerializeToString()))
    code = Path(preprocessing.__file__).read_bytes()
    write_atomically(preprocessing_path(output), lambda path: path.write_bytes(code))
    return Exported(_shape(proto.graph.input[0]), _shape(proto.graph.output[0]), metadata, difference)


def preprocessing_path(output: Path) -> Path:
    """The Python file beside an ONNX file that prepares clips for it, with a name that can be imported."""
    return output.with_name(re.sub(r"\W", "_", output.stem) + "_preprocessing.py")


def _exported(scorer: DenseScorer) -> ModelProto:
    free = {0: torch.export.Dim("clips")}
    if scorer.n_bodies is None:
        free[4] = torch.export.Dim("bodies")
    # Networks fold their normalisations where nothing is differentiated.
    with torch.no_grad(), _without_hints():
        program = torch.onnx.export(
            torch.export.export(scorer.module, (_example(scorer, 3),), dynamic_shapes=(free,)),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(free,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return program.model_proto


@contextmanager
def _without_hints() -> Iterator[None]:
    """Silences onnxscript's messages about optimisations that it left out."""
    log = logging.getLogger("onnxscript")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _example(scorer: DenseScorer, n_clips: int) -> torch.Tensor:
    """Random (synthetic) positions; in every other clip the last body is absent."""
    generator = torch.Generator().manual_seed(n_clips)
    n_joints, n_bodies = len(get_layout(scorer.layout)), scorer.n_bodies or _FREE_BODIES
    positions = torch.randn(n_clips, 3, scorer.n_frames, n_joints, n_bodies, generator=generator)
    if n_bodies > 1:
        positions[1::2, ..., -1] = 0
    return positions


def _metadata(model: TrainedModel, scorer: DenseScorer) -> dict[str, str]:
    result = model.stored.result
    return {
        "mmcl_bench": result.provenance.mmcl_bench,
        "commit": result.provenance.commit or "unknown",
        "task": result.task.identity,
        "task_hash": result.task.hash,
        "job_hash": result.job_hash,
        "method": f"{result.method.name}@{result.method.version}",
        "classes": json.dumps(model.classes, ensure_ascii=False),
        "seen": json.dumps(model.seen.tolist()),
        "calibration": repr(result.selection.calibration),
        "layout": str(scorer.layout),
        "joints": json.dumps(get_layout(scorer.layout).joints),
        "frames": str(scorer.n_frames),
        "bodies": "any" if scorer.n_bodies is None else str(scorer.n_bodies),
        "streams": ",".join(scorer.streams),
        "preprocessing": json.dumps(_preprocessing(scorer)),
        "synthetic_data": str(result.task.synthetic).lower(),
    }


def _preprocessing(scorer: DenseScorer) -> dict[str, Any]:
    """What :func:`.preprocessing.prepare` needs to know, with joints by their place."""
    layout = get_layout(scorer.layout)
    sides = {side: [layout.index(f"{side}_{pair}") for pair in ("shoulder", "hip")] for side in ("left", "right")}
    hips = [layout.index(joint) for joint in layout.hips]
    return {**scorer.preprocessing, "frames": scorer.n_frames, "bodies": scorer.n_bodies, "hips": hips, **sides}


def _difference(proto: ModelProto, scorer: DenseScorer) -> float | None:
    """Difference of onnxruntime's scores to torch's, for batches of two sizes; None where it is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = []
    for n_clips in (1, 5):
        positions = _example(scorer, n_clips)
        with torch.inference_mode():
            expected = scorer.module(positions).numpy()
        (scores,) = session.run([OUTPUT], {INPUT: positions.numpy()})
        found.append(np.abs(scores - expected).max() / np.abs(expected).max())
    return float(max(found))


def _shape(value: Any) -> tuple[str | int, ...]:
    return tuple(axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim)
