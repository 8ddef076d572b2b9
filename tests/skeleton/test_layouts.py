"""Joint layouts: trees of bones, sides that mirror, parts that cover, a picture each."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.readers.hdm05 import BONES
from mmcl_bench.skeleton.drawing import draw_layout, draw_pose, standing_pose
from mmcl_bench.skeleton.layouts import (
    ADDED,
    HDM05,
    LAYOUTS,
    OPENPOSE_18,
    Layout,
    LayoutTable,
    get_layout,
    portable,
)

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
        ("sbu-15", 2, "torso"),
        ("sbu-15", 8, "right_hand"),
        ("sbu-15", 14, "right_foot"),
        ("florence-15", 5, "left_wrist"),
        ("florence-15", 11, "left_ankle"),
        ("cad60-15", 7, "left_hip"),
        ("cad60-15", 11, "left_hand"),
        ("nite-15", 8, "torso"),
        ("jhmdb-15", 3, "right_shoulder"),
        ("jhmdb-15", 12, "left_wrist"),
        ("nite-15", 3, "right_shoulder"),
        ("mediapipe-33", 7, "left_ear"),
        ("mediapipe-33", 16, "right_wrist"),
        ("mediapipe-33", 32, "right_foot_index"),
        ("smpl-24", 9, "spine3"),
        ("smpl-24", 23, "right_hand"),
        ("smpl-22", 21, "right_wrist"),
        ("body-25", 8, "mid_hip"),
        ("body-25", 19, "left_big_toe"),
        ("azure-kinect-32", 26, "head"),
        ("azure-kinect-32", 17, "right_thumb"),
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
    ankle = "left_ankle" if "left_ankle" in layout.joints else "left_foot"
    assert head[1] > pose[layout.index("left_shoulder"), 1] > pose[layout.index(ankle), 1]


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


# Layouts of one's own

STICK: dict[str, Any] = {
    "joints": ("crown", "neck", *(f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "hip"))),
    "bones": (("crown", "neck"), *(("neck", f"{side}_shoulder", f"{side}_hip") for side in ("left", "right"))),
    "parts": {"head": ("crown",)},
}
"""As small as a layout may be."""


def test_what_a_layout_does_not_say_is_told_by_the_names_of_its_joints() -> None:
    layout = LayoutTable(**STICK).layout()
    assert (layout.name, layout.centre, layout.hips) == ("own", "neck", ("left_hip", "right_hip"))
    assert layout.bones[1] == ("left_shoulder", "neck")
    assert layout.parts["head"] == ("crown",)
    assert layout.parts["hands"] == ("left_shoulder", "right_shoulder")
    assert layout.parts["legs"] == ("left_hip", "right_hip")
    assert layout.parts["torso"] == ("neck",)
    assert set(layout.mirrored) == {("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")}


@pytest.mark.parametrize(("page", "name", "size"), [("layouts.md", "lab-8", 8), ("datasets/custom.md", "own", 15)])
def test_the_layouts_of_the_docs_are_layouts(page: str, name: str, size: int) -> None:
    (text,) = re.findall(r"```toml\n(\[layout\]\n.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    layout = LayoutTable.model_validate(tomllib.loads(text)["layout"]).layout()
    assert (layout.name, len(layout)) == (name, size)


@given(st.data())
def test_bones_may_be_written_in_any_order_and_direction(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(list(LAYOUTS.values())))
    bones = data.draw(st.permutations(layout.bones))
    turned = [bone[::-1] if data.draw(st.booleans()) else bone for bone in bones]
    table = LayoutTable(joints=layout.joints, bones=tuple(turned), centre=layout.centre, parts=dict(layout.parts))
    np.testing.assert_array_equal(table.layout().parents, layout.parents)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bones": STICK["bones"][1:]}, r"bones: no chain of bones leads from crown to the centre neck"),
        ({"bones": (*STICK["bones"], ("left_hip", "right_hip"))}, r"bones: two bones lead from .*_hip to the centre"),
        ({"bones": (*STICK["bones"], ("crown", "crown"))}, r"bones: two bones lead from crown to the centre"),
        ({"bones": (*STICK["bones"], ("tail", "neck"))}, r"bones: unknown joint 'tail'"),
        ({"joints": (*STICK["joints"], "crown")}, r"joints: crown stands twice"),
        ({"joints": STICK["joints"][:-1]}, r"joints: there is no right_hip; clips are turned and scaled by"),
        ({"centre": "navel"}, r"centre: unknown joint 'navel'"),
        ({"hips": ("left_hips",)}, r"hips: unknown joint 'left_hips'\. Did you mean left_hip"),
        ({"hips": ()}, r"hips: names no joint"),
        ({"parts": {"head": ("crown",), "torso": ("belly",)}}, r"parts\.torso: unknown joint 'belly'"),
        ({"pairs": (("left_hip", "right_hip"), ("left_hip", "crown"))}, r"pairs: left_hip is in two pairs"),
    ],
)
def test_a_wrong_layout_is_refused_with_the_entry(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LayoutTable(**{**STICK, **change}).layout()


def test_a_layout_of_another_package_is_found_by_name_and_kept_whole() -> None:
    layout = LayoutTable(**STICK, name="stick-6").layout()
    ADDED.register("stick-6")(layout)
    try:
        assert get_layout("stick-6") is layout
        assert portable("stick-6") is layout
    finally:
        ADDED.unregister("stick-6")
    with pytest.raises(UserError, match="unknown layout 'stick-6'"):
        get_layout("stick-6")


def test_a_single_layout_is_listed_with_its_joints_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    app(["list", "layouts", "sbu-15", "--json"], standalone_mode=False)
    rows = json.loads(capsys.readouterr().out)
    assert [row["joint"] for row in rows] == list(LAYOUTS["sbu-15"].joints)
    assert rows[5] == {
        "number": "5",
        "joint": "left_hand",
        "bone to": "left_elbow",
        "part": "hands",
        "mirrored": "right_hand",
    }
