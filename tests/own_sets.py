"""Recordings in the form of one's own data, after sets that people bring: few joints, pairs of people, folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

import numpy as np

from mmcl_bench.skeleton.drawing import standing_pose
from mmcl_bench.skeleton.joint_maps import joint_matrix, map_joints
from mmcl_bench.skeleton.layouts import KINECT_V2, LAYOUTS, Layout

MOTIONS: Mapping[str, tuple[str, tuple[float, float, float]]] = {
    "wave": ("right_elbow right_wrist right_hand right_hand_tip right_thumb", (0.1, 0.5, 0.0)),
    "push": ("left_wrist left_hand right_wrist right_hand right_hand_tip left_hand_tip", (0.0, 0.2, -0.5)),
    "kick": ("right_knee right_ankle right_foot", (0.0, 0.3, -0.5)),
    "bow": ("head neck spine_shoulder", (0.0, -0.3, -0.4)),
    "stretch": ("left_elbow left_wrist left_hand left_hand_tip left_thumb", (-0.1, 0.6, 0.1)),
}
"""What moves, and how far, in metres."""


def performance(action: str, seed: int, layout: Layout, n_frames: int = 16) -> np.ndarray:
    """(T, V, 3) metres: one person somewhere, of some height, who does it once."""
    generator = np.random.default_rng(seed)
    moving, reach = MOTIONS[action]
    pose = np.repeat(standing_pose(KINECT_V2)[None], n_frames, axis=0)
    progress = np.sin(np.linspace(0, np.pi, n_frames)) * generator.uniform(0.8, 1.2)
    pose[:, [KINECT_V2.index(joint) for joint in moving.split()]] += progress[:, None, None] * np.array(reach)
    pose = pose * generator.uniform(0.9, 1.1) + generator.uniform(-1, 1, 3) + generator.normal(0, 0.005, pose.shape)
    return map_joints(pose, joint_matrix(KINECT_V2, layout))


def write_clips(
    source: Path, rows: Sequence[tuple[str, np.ndarray, str, str]], facts: str, columns: str = "subject"
) -> Path:
    """Writes (sample_id, positions, label, other cells) and ``dataset.toml`` as ``docs/datasets/custom.md`` says."""
    source.mkdir(parents=True)
    (source / "dataset.toml").write_text(facts, encoding="utf-8")
    lines = [f"sample_id,file,label,{columns}"]
    for sample_id, positions, label, cells in rows:
        np.save(source / f"{sample_id}.npy", positions)
        lines.append(f"{sample_id},{sample_id}.npy,{label},{cells}")
    (source / "manifest.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return source


def of_pairs(source: Path) -> Path:
    """After SBU Kinect Interaction: 15 joints, two people a clip, five folds of pairs of people."""
    facts = """\
title = "Two people (synthetic)"
synthetic = true
layout = "sbu-15"
[folds.pairs]
column = "setup"
parts = [[1, 6], [2, 7], [3, 8], [4, 9], [5, 10]]
[side.x-sub]
column = "subject"
train = [1, 2, 3]
test = [4, 5]
[split."3/2"]
unseen = ["kick", "bow"]
"""
    rows = []
    for (pair, (one, other)), (label, action) in product(
        enumerate(combinations(range(1, 6), 2), 1), enumerate(MOTIONS)
    ):
        seeds = (100 * one + 10 * other + label, 1000 + 100 * other + 10 * one + label)
        bodies = np.stack([performance(action, seed, LAYOUTS["sbu-15"]) for seed in seeds])
        rows.append((f"{action}-{one}-{other}", bodies, action, f"{one}+{other},{pair}"))
    return write_clips(source, rows, facts, "subject,setup")


OWN_LAYOUT = """\
[layout]
name = "lab-15"
joints = [
    "head", "neck", "spine", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow",
    "right_wrist", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
]
bones = [
    ["head", "neck", "spine"],
    ["neck", "left_shoulder", "left_elbow", "left_wrist"],
    ["neck", "right_shoulder", "right_elbow", "right_wrist"],
    ["spine", "left_hip", "left_knee", "left_ankle"],
    ["spine", "right_hip", "right_knee", "right_ankle"],
]
"""


def of_one_person(
    source: Path,
    layout: str = OWN_LAYOUT,
    joints: Layout = LAYOUTS["florence-15"],
    change: Callable[[np.ndarray], np.ndarray] = lambda positions: positions,
    rename: Mapping[str, str] = {},
) -> Path:
    """After Florence 3D Actions: 15 joints in an order of their own, one person, a number of a fold each."""
    facts = f"""\
title = "One person (synthetic)"
synthetic = true
{layout}
[split."3/2"]
unseen = ["{rename.get("kick", "kick")}", "{rename.get("bow", "bow")}"]
"""
    # Tables come last in TOML.
    if layout.startswith("["):
        facts = facts.replace(f"{layout}\n", "") + layout
    rows = [
        (
            f"{action}-{subject}-{take}",
            change(performance(action, 7000 + 100 * subject + 10 * take + label, joints)),
            rename.get(action, action),
            f"{subject},{(subject - 1) // 2 + 1}",
        )
        for (label, action), subject, take in product(enumerate(MOTIONS), range(1, 11), (1, 2))
    ]
    return write_clips(source, rows, facts, "subject,fold")
