"""NTU RGB+D 60 as published: a zip of ``.skeleton`` text files."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmcl_bench.skeleton.layouts import KINECT_V2

ZIP = "nturgbd_skeletons_s001_to_s017.zip"
_PLACES = {
    "spine_base": (0, 0), "spine_mid": (0, 0.3), "spine_shoulder": (0, 0.5), "neck": (0, 0.58), "head": (0, 0.72),
    "shoulder": (0.18, 0.5), "elbow": (0.25, 0.25), "wrist": (0.27, 0.02), "hand": (0.28, -0.06),
    "hand_tip": (0.28, -0.13), "thumb": (0.24, -0.07), "hip": (0.1, -0.03), "knee": (0.12, -0.42),
    "ankle": (0.13, -0.8), "foot": (0.14, -0.87),
}  # fmt: skip
"""To the left and up of the hip centre, in metres."""


class Sighting(NamedTuple):
    """One body in one frame, as the files have it."""

    body_id: int
    positions: np.ndarray
    """(25, 3)"""


def moving_person(seed: int, n_frames: int) -> np.ndarray:
    """A synthetic (T, 25, 3) of a person in front of the camera, whose joints sway smoothly."""
    generator = np.random.default_rng(seed)
    stance = np.zeros((25, 3))
    for joint, name in enumerate(KINECT_V2.joints):
        side, _, part = name.partition("_")
        left, up = _PLACES[part] if side in ("left", "right") else _PLACES[name]
        stance[joint] = (-left if side == "right" else left, up, 3)
    time = np.arange(n_frames)[:, None, None] / 30
    rate, phase = generator.uniform(1, 6, (2, 25, 3))
    return stance + generator.uniform(0.02, 0.1, (25, 3)) * np.sin(rate * time + phase)


def skeleton_file(frames: Sequence[Sequence[Sighting]], line_end: str = "\r\n") -> bytes:
    """The text of a ``.skeleton`` file; what this project does not read is made up."""
    lines = [str(len(frames))]
    for sightings in frames:
        lines.append(str(len(sightings)))
        for body_id, positions in sightings:
            lines += [f"{body_id} 0 1 1 1 1 0 -0.1062439 0.03214923 2", "25"]
            lines += [" ".join(f"{x:.7g}" for x in xyz) + _UNREAD for xyz in positions.tolist()]
    return "".join(line + line_end for line in lines).encode()


_UNREAD = " 277.419 191.8218 1036.233 519.1677 -0.2059419 0.05349901 0.9692109 -0.1239193 2"


def clip_file(seed: int, n_bodies: int, n_frames: int) -> bytes:
    people = [moving_person(seed + 1000 * body, n_frames) + np.array([body, 0, 0]) for body in range(n_bodies)]
    return skeleton_file(
        [
            [Sighting(72057594037931101 + body, person[frame]) for body, person in enumerate(people)]
            for frame in range(n_frames)
        ]
    )


def write_zip(path: Path, setups: Sequence[int], actions: Sequence[int]) -> None:
    """A zip with a clip of every setup, action and camera, by a subject who trains and one who is tested."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for setup, action, camera, subject in product(setups, actions, (1, 2, 3), (1, 3)):
            name = f"S{setup:03d}C{camera:03d}P{subject:03d}R001A{action:03d}"
            seed = ((setup * 200 + action) * 10 + camera) * 10 + subject
            n_bodies = 2 if 50 <= action <= 60 or action >= 106 else 1
            zipped.writestr(f"nturgb+d_skeletons/{name}.skeleton", clip_file(seed, n_bodies, 12 + seed % 5))


def write(folder: Path) -> Path:
    write_zip(folder / ZIP, setups=[1], actions=[9, 50])
    return folder / ZIP
