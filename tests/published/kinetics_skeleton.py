"""Kinetics-skeleton as published: a zip of one JSON file a clip, and a label file for each of the two folders."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_bench.datasets.classes import class_texts
from mmcl_bench.skeleton.layouts import OPENPOSE_18

_PLACES = {
    "nose": (0, 0.62), "neck": (0, 0.5), "eye": (0.03, 0.65), "ear": (0.07, 0.63), "shoulder": (0.17, 0.5),
    "elbow": (0.24, 0.25), "wrist": (0.26, 0.02), "hip": (0.1, -0.03), "knee": (0.12, -0.42), "ankle": (0.13, -0.8),
}  # fmt: skip
"""To the left of the person, who looks at the camera, and up of the middle of the hips."""


def moving_person(seed: int, n_frames: int) -> np.ndarray:
    """A synthetic (T, 18, 2) as shares of the image, y down, whose joints sway smoothly."""
    generator = np.random.default_rng(seed)
    stance = np.zeros((18, 2))
    for joint, name in enumerate(OPENPOSE_18.joints):
        side, _, part = name.partition("_")
        left, up = _PLACES[part] if side in ("left", "right") else _PLACES[name]
        stance[joint] = 0.5 + 0.4 * (-left if side == "right" else left), 0.5 - 0.4 * up
    time = np.arange(n_frames)[:, None, None] / 30
    rate, phase = generator.uniform(1, 6, (2, 18, 2))
    return stance + generator.uniform(0.01, 0.03, (18, 2)) * np.sin(rate * time + phase)


def clip(seed: int, label: int, n_bodies: int) -> dict[str, Any]:
    """The content of a clip's file; the last frame shows nobody, and one ear is not seen."""
    n_frames = 14 + seed % 5
    bodies = [moving_person(seed + 1000 * body, n_frames) for body in range(n_bodies)]
    score = np.round(np.random.default_rng(seed).uniform(0.3, 1, (n_bodies, n_frames, 18)), 3)
    score[..., 16] = 0
    frames = [
        {
            "frame_index": frame + 1,
            "skeleton": [
                {"pose": np.round(body[frame], 3).ravel().tolist(), "score": each[frame].tolist()}
                for body, each in zip(bodies, score, strict=True)
            ],
        }
        for frame in range(n_frames)
    ]
    frames.append({"frame_index": n_frames + 1, "skeleton": []})
    return {"data": frames, "label": class_texts("kinetics-400").names[label], "label_index": label}


def write(folder: Path) -> Path:
    path = folder / "kinetics-skeleton.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for seed, part in enumerate(("train", "val")):
            listed = {}
            for number in range(6):
                name, label = f"-synthetic{part[0]}{number}", (5, 57, 399)[number % 3]
                content = clip(100 * seed + number, label, 1 + number // 3)
                zipped.writestr(f"kinetics-skeleton/kinetics_{part}/{name}.json", json.dumps(content))
                listed[name] = {"has_skeleton": True, "label": content["label"], "label_index": label}
            nobody = {**content, "data": [{"frame_index": 1, "skeleton": []}]}
            zipped.writestr(f"kinetics-skeleton/kinetics_{part}/nobody{part}.json", json.dumps(nobody))
            listed[f"nobody{part}"] = {**listed[name], "has_skeleton": False}
            zipped.writestr(f"kinetics-skeleton/kinetics_{part}_label.json", json.dumps(listed))
    return path
