"""Maps between joint layouts: every pair, the stated rules, and the way there and back."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.skeleton.joint_maps import joint_map, joint_maps, joint_matrix, map_joints
from mmcl_bench.skeleton.layouts import LAYOUTS, LayoutTable, get_layout

PAIRS = list(permutations(LAYOUTS, 2))
FILES = [tuple(name.split("--")) for name in joint_maps()]
SAME_NAME_OTHER_PLACE = {("kinect-v2", "openpose-18", "neck"), ("openpose-18", "kinect-v2", "neck")}
"""OpenPose's neck lies between the shoulders, the sensor's in the middle of the neck."""


def mapped(positions: np.ndarray, source: str, target: str) -> np.ndarray:
    return map_joints(positions, joint_matrix(source, target))


def a_pose(layout: str) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, len(get_layout(layout)), 3)).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), FILES)
def test_a_map_places_every_joint_once_by_a_rule_that_its_weights_follow(source: str, target: str) -> None:
    rules = joint_map(source, target).joints
    assert [rule.target for rule in rules] == list(get_layout(target).joints)
    for rule in rules:
        assert set(rule.sources) <= set(get_layout(source).joints)
        assert len(set(rule.sources)) == len(rule.sources)
        if rule.rule == "copy":
            assert rule.weights == (1.0,)
        elif rule.rule == "midpoint":
            assert len(rule.weights) >= 2
            assert all(0 < weight <= 0.5 for weight in rule.weights)
        else:
            assert min(rule.weights) < 0 < max(rule.weights) <= 2


@pytest.mark.parametrize(("source", "target"), FILES)
def test_a_map_keeps_left_left(source: str, target: str) -> None:
    for rule in joint_map(source, target).joints:
        side = rule.target.partition("_")[0]
        if side in ("left", "right"):
            other = {"left": "right", "right": "left"}[side]
            assert not any(joint.startswith(f"{other}_") for joint in rule.sources), rule


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_translation_carries_over_between_any_two_layouts(source: str, target: str) -> None:
    pose = a_pose(source)
    moved = mapped(pose + np.float32([1, -2, 3]), source, target)
    np.testing.assert_allclose(moved, mapped(pose, source, target) + np.float32([1, -2, 3]), atol=1e-4)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_mirrored_pose_maps_to_the_mirrored_pose(source: str, target: str) -> None:
    pose = a_pose(source)
    np.testing.assert_allclose(
        mapped(pose[:, get_layout(source).swap], source, target),
        mapped(pose, source, target)[:, get_layout(target).swap],
        atol=1e-5,
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_joint_that_both_layouts_have_stays_where_it_is(source: str, target: str) -> None:
    pose = a_pose(source)
    there = mapped(pose, source, target)
    back = mapped(there, target, source)
    shared = [joint for joint in LAYOUTS[source].joints if joint in LAYOUTS[target].joints]
    assert shared
    for joint in shared:
        if (source, target, joint) not in SAME_NAME_OTHER_PLACE:
            own = pose[:, LAYOUTS[source].index(joint)]
            np.testing.assert_array_equal(there[:, LAYOUTS[target].index(joint)], own, err_msg=joint)
            np.testing.assert_array_equal(back[:, LAYOUTS[source].index(joint)], own, err_msg=joint)


@pytest.mark.parametrize(("source", "target"), FILES)
def test_what_is_copied_there_and_back_survives(source: str, target: str) -> None:
    pose = a_pose(source)
    back = mapped(mapped(pose, source, target), target, source)
    forth = {rule.target: rule.sources[0] for rule in joint_map(source, target).joints if rule.rule == "copy"}
    home = {rule.target: rule.sources[0] for rule in joint_map(target, source).joints if rule.rule == "copy"}
    kept = [joint for joint, by in home.items() if forth.get(by) == joint]
    assert len(kept) >= 13, "at least head, shoulders, elbows, wrists, hips, knees and ankles"
    for joint in kept:
        at = LAYOUTS[source].index(joint)
        np.testing.assert_array_equal(back[:, at], pose[:, at], err_msg=joint)


def test_kinect_v1_survives_the_way_through_every_layout_with_hands_and_feet() -> None:
    for through in ("kinect-v2", "hdm05"):
        pose = a_pose("kinect-v1")
        back = mapped(mapped(pose, "kinect-v1", through), through, "kinect-v1")
        differing = np.flatnonzero((back != pose).any((0, 2)))
        assert {LAYOUTS["kinect-v1"].joints[at] for at in differing} <= {"spine"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_maps_to_itself(layout: str) -> None:
    pose = a_pose(layout)
    np.testing.assert_array_equal(mapped(pose, layout, layout), pose)


def test_layouts_without_a_map_of_their_own_meet_in_kinect_v2() -> None:
    direct = mapped(mapped(a_pose("hdm05"), "hdm05", "kinect-v2"), "kinect-v2", "kinect-v1")
    np.testing.assert_allclose(mapped(a_pose("hdm05"), "hdm05", "kinect-v1"), direct, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "target", "joint", "made_of"),
    [
        ("sbu-15", "kinect-v2", "left_wrist", {"left_hand": 1}),
        ("sbu-15", "kinect-v2", "left_thumb", {"left_hand": 1}),
        ("sbu-15", "kinect-v2", "right_ankle", {"right_foot": 1}),
        ("sbu-15", "kinect-v2", "spine_mid", {"torso": 1}),
        ("sbu-15", "kinect-v2", "spine_base", {"left_hip": 0.5, "right_hip": 0.5}),
        ("sbu-15", "kinect-v1", "shoulder_center", {"left_shoulder": 0.5, "right_shoulder": 0.5}),
        ("sbu-15", "florence-15", "spine", {"torso": 1}),
        ("florence-15", "cad60-15", "right_hand", {"right_wrist": 1}),
        ("kinect-v2", "smpl-24", "spine3", {"spine_shoulder": 1}),
        ("kinect-v2", "smpl-24", "left_collar", {"spine_shoulder": 0.5, "left_shoulder": 0.5}),
        ("kinect-v2", "body-25", "left_small_toe", {"left_foot": 1}),
        ("kinect-v2", "mediapipe-33", "left_eye_outer", {"head": 1}),
        ("mediapipe-33", "body-25", "left_ear", {"left_ear": 1}),
        ("mediapipe-33", "kinect-v1", "head", {"left_ear": 0.5, "right_ear": 0.5}),
        ("azure-kinect-32", "kinect-v2", "neck", {"neck": 1}),
        ("smpl-22", "kinect-v2", "right_hand_tip", {"right_wrist": 1}),
    ],
)
def test_layouts_without_a_file_are_mapped_by_the_names_of_joints(
    source: str, target: str, joint: str, made_of: dict[str, float]
) -> None:
    row = joint_matrix(source, target)[LAYOUTS[target].index(joint)]
    assert {LAYOUTS[source].joints[at]: row[at] for at in np.flatnonzero(row)} == made_of


def test_a_joint_that_no_name_tells_is_where_the_nearest_is() -> None:
    table = LayoutTable(
        joints=("middle", "left_shoulder", "left_claw", "right_shoulder", "left_hip", "right_hip", "tail"),
        bones=(
            *(("left_claw", "left_shoulder", "middle"), ("right_shoulder", "middle"), ("tail", "left_hip", "middle")),
            ("right_hip", "middle"),
        ),
        centre="middle",
        parts={"head": ("middle",)},
    )
    layout = table.layout()
    pose = a_pose("kinect-v2")
    made = map_joints(pose, joint_matrix("kinect-v2", layout))
    around = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    for joint, near in (("left_claw", around[:1]), ("tail", around[2:3]), ("middle", around)):
        expected = pose[:, [LAYOUTS["kinect-v2"].index(each) for each in near]].mean(1)
        np.testing.assert_allclose(made[:, layout.index(joint)], expected, atol=1e-6, err_msg=joint)


def test_nothing_is_made_of_a_joint_that_was_not_seen() -> None:
    openpose, kinect = LAYOUTS["openpose-18"], LAYOUTS["kinect-v2"]
    pose = a_pose("openpose-18")
    pose[0, openpose.index("left_wrist")] = np.nan
    pose[1] = np.nan
    made = mapped(pose, "openpose-18", "kinect-v2")
    lacking = {kinect.joints[at] for at in np.flatnonzero(np.isnan(made[0]).any(-1))}
    assert lacking == {"left_wrist", "left_hand", "left_hand_tip", "left_thumb"}
    assert np.isnan(made[1]).all()


def test_a_joint_in_the_origin_is_a_place_to_map() -> None:
    pose = a_pose("kinect-v2")
    pose -= pose[:, [LAYOUTS["kinect-v2"].index("spine_base")]]
    there = a_pose("kinect-v2") - a_pose("kinect-v2")[:, [0]] + np.float32(1)
    for target in ("kinect-v1", "h36m-17", "hdm05"):
        moved = mapped(there, "kinect-v2", target)
        np.testing.assert_allclose(mapped(pose, "kinect-v2", target) + 1, moved, atol=1e-5)


def test_an_unknown_layout_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"coco-18.*Did you mean.*coco-17"):
        joint_matrix("coco-18", "kinect-v2")
