"""Prepares clips for a network that mmcl-bench exported as ONNX. Needs numpy alone, and lies beside every such file.

>>> import onnxruntime  # doctest: +SKIP
>>> session = onnxruntime.InferenceSession("model.onnx")  # doctest: +SKIP
>>> positions = prepare([body], session.get_modelmeta().custom_metadata_map)  # doctest: +SKIP
>>> scores = session.run(["scores"], {"positions": positions})[0]  # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def prepare(bodies: Sequence[np.ndarray], metadata: Mapping[str, str]) -> np.ndarray:
    """One clip -> float32 (1, 3, frames, joints, bodies), the network's input.

    ``bodies`` are arrays (T, V, 3) over the frames of the clip, one for each person: metres, y up, joints in the order
    of ``metadata["joints"]``. Frames before a person comes or after they leave are all NaN, as is a joint that was not
    seen. The first person is the one whose place, heading and size are taken out. ``metadata`` is that of the file.

    Raises ValueError for a joint that is never seen: put it where its neighbour is.
    """
    facts = json.loads(metadata["preprocessing"])
    tracks = [_track(np.asarray(body, dtype=np.float32)) for body in bodies]
    tracks = [(start, positions) for start, positions in tracks if len(positions)]
    if not tracks:
        raise ValueError("nobody is seen in the clip")
    for step in facts["normalise"]:
        change = _STEPS[step](tracks[0][1], facts)
        tracks = [(start, change(positions).astype(np.float32)) for start, positions in tracks]
    first = min(start for start, _ in tracks)
    last = max(start + len(positions) for start, positions in tracks) - 1
    frames = np.linspace(first, last, facts["spread_over"])
    margin = (1 - facts["share"]) / 2
    kept = (facts["spread_over"] - 1) * np.linspace(margin, 1 - margin, facts["frames"])
    most = facts["bodies"] or len(tracks)
    out = np.zeros((1, 3, facts["frames"], tracks[0][1].shape[1], most), dtype=np.float32)
    for place, (start, positions) in enumerate(tracks[:most]):
        spread = _sampled(positions, frames - start)
        out[0, ..., place] = _sampled(spread, kept).transpose(2, 0, 1)
    return out


def _track(body: np.ndarray) -> tuple[int, np.ndarray]:
    """The first frame in which a body is seen, and its positions from there to the last, without gaps."""
    seen = np.isfinite(body).all(-1)
    there = np.flatnonzero(seen.any(1))
    if not len(there):
        return 0, body[:0]
    start, stop = int(there[0]), int(there[-1]) + 1
    body, seen = body[start:stop].copy(), seen[start:stop]
    if not seen.any(0).all():
        raise ValueError(f"joint {int(np.flatnonzero(~seen.any(0))[0])} is never seen; put it where its neighbour is")
    frames = np.arange(len(body))
    for joint in np.flatnonzero(~seen.all(0)):
        at = frames[seen[:, joint]]
        for axis in range(3):
            body[:, joint, axis] = np.interp(frames, at, body[at, joint, axis])
    return start, body


def _sampled(positions: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(T, V, 3) at fractional frames (F,), linearly interpolated; the end poses hold before and after."""
    frames = np.clip(frames, 0, len(positions) - 1)
    lower = np.floor(frames).astype(int)
    upper = np.minimum(lower + 1, len(positions) - 1)
    weight = (frames - lower)[:, None, None]
    sampled: np.ndarray = (1 - weight) * positions[lower] + weight * positions[upper]
    return sampled


def _root(body: np.ndarray, facts: Mapping[str, Any]) -> Any:
    """Moves the middle of the hips in the first frame to the origin."""
    origin = body[0, facts["hips"]].mean(0)
    return lambda positions: positions - origin


def _facing(body: np.ndarray, facts: Mapping[str, Any]) -> Any:
    """Turns about the vertical until shoulders and hips, of the first eight frames, lie along x from left to right."""
    left, right = (body[:8, facts[side]].sum(1)[:, [0, 2]] for side in ("left", "right"))
    across = right - left
    x, z = (across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)).mean(0)
    length = np.hypot(x, z)
    if length < 1e-6:
        return lambda positions: positions
    cos, sin = x / length, z / length
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return lambda positions: positions @ turn.T


def _scale(body: np.ndarray, facts: Mapping[str, Any]) -> Any:
    """Divides by the torso length: the median distance from the middle of the hips to that of the shoulders."""
    shoulders = body[:, [facts["left"][0], facts["right"][0]]].mean(1)
    torso = np.median(np.linalg.norm(shoulders - body[:, facts["hips"]].mean(1), axis=-1))
    return lambda positions: positions / torso if torso > 1e-6 else positions


_STEPS = {"root": _root, "facing": _facing, "scale": _scale}
