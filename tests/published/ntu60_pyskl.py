"""NTU RGB+D 60 as pyskl publishes it: one pickle of protocol 2."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from published.ntu60 import moving_person


def annotation(name: str, n_bodies: int) -> dict[str, Any]:
    seed = int("".join(filter(str.isdigit, name))) % 100_003
    n_frames = 12 + seed % 9
    bodies = [moving_person(seed + body, n_frames) + np.array([body, 0, 0]) for body in range(n_bodies)]
    return {
        "frame_dir": name,
        "label": int(name[-3:]) - 1,
        "keypoint": np.stack(bodies).astype(np.float16),
        "total_frames": n_frames,
    }


def annotated(names: Sequence[str], second: str, trains: Callable[[str], bool]) -> dict[str, Any]:
    """The content of a file; ``second`` is the name of its other side, and ``trains`` says of a name where it is."""
    subjects = {"xsub_train": "P001", "xsub_val": "P003"}
    split = {key: [name for name in names if subject in name] for key, subject in subjects.items()}
    split[f"{second}_train"] = [name for name in names if trains(name)]
    split[f"{second}_val"] = [name for name in names if not trains(name)]
    return {"split": split, "annotations": [annotation(name, 2 if name[-4:] >= "A050" else 1) for name in names]}


def write(folder: Path) -> Path:
    names = [
        f"S001C{camera:03d}P{subject:03d}R001A{action:03d}"
        for camera, subject, action in product((1, 2, 3), (1, 3), (9, 50))
    ]
    path = folder / "ntu60_3danno.pkl"
    path.write_bytes(pickle.dumps(annotated(names, "xview", lambda name: "C001" not in name), protocol=2))
    return path
