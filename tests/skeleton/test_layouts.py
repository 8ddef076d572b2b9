"""Joint layouts: trees of bones, sides that mirror, parts that cover, a picture each."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmcl_bench.datasets.readers.hdm05 import BONES
from mmcl_bench.skeleton.drawing import draw_layout, draw_pose, standing_pose
from mmcl_bench.skeleton.layouts import HDM05, LAYOUTS, OPENPOSE_18, Layout

DOCS = Path(__file__).parents[2] / "docs"
EVERY = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)


@EVERY
def test_bones_make_one_tree_that_ends_in_the_centre(layout: Layout) -> None:
    assert len(set(layout.joints)) == len(layout) == len(layout.bones) + 1
    at = np.arange(len(layout))
    for _ in range(len(layout)):
        at = layout.parents[at]
    assert set(at) == {layout.index(layout.centre)}


@EVERY
def test_sides_mirror_each_other(layout: Layout) -> None:
    np.testing.assert_array_equal(layout.swap[layout.swap], np.arange(len(layout)))
    for joint, other in zip(layout.joints, layout.swap, strict=True):
        swapped = {"left": "right", "right": "left"}.get(joint.partition("_")[0])
        expected = f"{swapped}_{joint.partition('_')[2]}" if swapped else joint
        assert layout.joints[other] == expected
    bones = {frozenset(pair) for pair in layout.bone_pairs}
    assert {frozenset(layout.swap[list(bone)]) for bone in bones} == bones


@EVERY
def test_parts_cover_the_body(layout: Layout) -> None:
    assert set(layout.parts) == {"head", "hands", "torso", "legs"}
    assert {joint for joints in layout.parts.values() for joint in joints} == set(layout.joints)


@EVERY
def test_every_layout_has_what_normalisation_goes_by(layout: Layout) -> None:
    assert {"left_shoulder", "right_shoulder", "left_hip", "right_hip", *layout.hips} <= set(layout.joints)


@pytest.mark.parametrize(
    ("name", "position", "joint"),
    [
        ("openpose-18", 1, "neck"),
        ("openpose-18", 4, "right_wrist"),
        ("openpose-18", 13, "left_ankle"),
        ("openpose-18", 14, "right_eye"),
        ("coco-17", 5, "left_shoulder"),
        ("coco-17", 16, "right_ankle"),
        ("h36m-17", 3, "right_ankle"),
        ("h36m-17", 8, "thorax"),
        ("h36m-17", 16, "right_wrist"),
        ("kinect-v2", 20, "spine_shoulder"),
        ("hdm05", 30, "right_thumb"),
    ],
)
def test_joints_stand_where_the_field_has_them(name: str, position: int, joint: str) -> None:
    assert LAYOUTS[name].joints[position] == joint


def test_the_middle_of_the_hips_is_their_mean() -> None:
    positions = np.zeros((3, len(OPENPOSE_18), 3), dtype=np.float32)
    positions[:2, OPENPOSE_18.index("left_hip")] = (1, 2, 0)
    positions[0, OPENPOSE_18.index("right_hip")] = (3, 2, 0)
    middle = OPENPOSE_18.mid_hip(positions)
    np.testing.assert_array_equal(middle, [(2, 2, 0), (0.5, 1, 0), (0, 0, 0)])
    assert middle.dtype == np.float32


@EVERY
def test_the_standing_person_is_symmetric_with_the_head_up(layout: Layout) -> None:
    pose = standing_pose(layout)
    np.testing.assert_allclose(pose[layout.swap] * [-1, 1, 1], pose, atol=1e-9)
    head = pose[layout.index("head" if "head" in layout.joints else "nose")]
    assert head[1] > pose[layout.index("left_shoulder"), 1] > pose[layout.index("left_ankle"), 1]


@pytest.mark.parametrize("unseen", [0.0, np.nan])
def test_joints_that_were_not_seen_are_not_drawn(unseen: float) -> None:
    pose = standing_pose(HDM05)
    pose[HDM05.index("left_elbow")] = unseen
    axes = Figure().add_subplot()
    draw_pose(axes, pose, HDM05)
    bones, joints = axes.collections
    assert len(bones.get_paths()) == len(HDM05.bones) - 2
    assert len(joints.get_offsets()) == len(HDM05) - 1
    draw_pose(Figure().add_subplot(), np.zeros_like(pose), HDM05)


@EVERY
def test_the_docs_have_a_small_picture_of_every_layout(layout: Layout, tmp_path: Path) -> None:
    kept = DOCS / "layouts" / f"{layout.name}.png"
    draw_layout(layout, tmp_path / kept.name)
    assert (tmp_path / kept.name).stat().st_size < 60_000
    assert matplotlib.image.imread(kept).shape == matplotlib.image.imread(tmp_path / kept.name).shape
    assert f"![{layout.name}](layouts/{kept.name})" in (DOCS / "layouts.md").read_text()


def test_the_docs_name_the_mocap_bone_of_every_joint() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| `(\w+)` \|", (DOCS / "layouts.md").read_text(), flags=re.MULTILINE)
    assert rows == [(str(at), joint, bone) for at, (joint, bone) in enumerate(zip(HDM05.joints, BONES, strict=True))]
