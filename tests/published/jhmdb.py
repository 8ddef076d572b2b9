"""JHMDB as published, in one zip: MATLAB files, one a clip, and split lists."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from scipy.io import savemat

from mmcl_bench.skeleton.layouts import OPENPOSE_18, get_layout
from published import kinetics_skeleton

ACTIONS = ("brush_hair", "catch", "wave")
SIDES = {0: "112", 1: "121", 2: "211", 3: "222"}
"""Of clips 0 to 3 of an action, in splits 1 to 3: 1 trains, 2 tests."""


def moving_person(seed: int, n_frames: int) -> np.ndarray:
    """A synthetic (T, 15, 2) in pixels of 320 x 240, y down."""
    seen = kinetics_skeleton.moving_person(seed, n_frames) * (320, 240)
    place = {name: seen[:, at] for at, name in enumerate(OPENPOSE_18.joints)}
    place["head"] = place["nose"]
    place["spine"] = (place["left_hip"] + place["right_hip"] + place["neck"]) / 3
    return np.stack([place[joint] for joint in get_layout("jhmdb-15").joints], axis=1)


def name_of(action: str, number: int) -> str:
    """Clips 0 and 1 are of one source video, which all actions share."""
    source = "Some_Film" if number < 2 else f"Other_Video_{number}"
    return f"{source}_{action}_f_cm_np1_fr_goo_{number}"


def joint_file(seed: int, n_frames: int, **changes: np.ndarray) -> bytes:
    """The content of a clip's file."""
    pixels = moving_person(seed, n_frames).transpose(2, 1, 0)
    scale = np.full((1, n_frames), 1.2)
    world = np.stack([(pixels[0] / 320 - 0.5) * 320 / 240 / scale, (pixels[1] / 240 - 0.5) / scale])
    file = io.BytesIO()
    whole = {"pos_img": pixels, "pos_world": world, "scale": scale, "viewpoint": "N", **changes}
    savemat(file, whole, do_compression=bool(seed % 2))
    return file.getvalue()


def write(folder: Path) -> Path:
    path = folder / "jhmdb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for at, action in enumerate(ACTIONS):
            for number in SIDES:
                content = joint_file(10 * at + number, 15 + number)
                zipped.writestr(f"joint_positions/{action}/{name_of(action, number)}/joint_positions.mat", content)
            for split in range(3):
                lines = [f"{name_of(action, number)}.avi {sides[split]} \n" for number, sides in SIDES.items()]
                zipped.writestr(f"splits/{action}_test_split{split + 1}.txt", "".join(lines))
    return path
