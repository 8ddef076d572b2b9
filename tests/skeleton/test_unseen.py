"""Joints that were not seen: which those are, where they are put, and that the place of a clip then plays no part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl_bench.protocols.problem import ClipView, mapped_to_layout
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.drawing import standing_pose
from mmcl_bench.skeleton.layouts import COCO_17, KINECT_V1, KINECT_V2, LAYOUTS, Layout
from mmcl_bench.skeleton.transforms import prepare_clips
from mmcl_bench.skeleton.unseen import fill_missing

N_FRAMES = 7
BEFORE_THE_SENSOR = np.array([0.3, -1.0, 3.0])


def swaying(layout: Layout, n_frames: int = N_FRAMES, seed: int = 0) -> np.ndarray:
    """float32 (T, V, 3): someone in front of the sensor, every joint of whom moves on its own."""
    random = np.random.default_rng(seed)
    sway = 0.1 * np.cumsum(random.normal(size=(n_frames, len(layout), 3)), axis=0)
    return (standing_pose(layout) + BEFORE_THE_SENSOR + sway).astype(np.float32)


def without(positions: np.ndarray, layout: Layout, *joints: str, mark: float = np.nan) -> np.ndarray:
    changed = positions.copy()
    changed[:, [layout.index(joint) for joint in joints]] = mark
    return changed


def features(layout: Layout, *bodies: np.ndarray) -> np.ndarray:
    view = ClipView([[BodyTrack(0, body) for body in bodies]], [max(map(len, bodies))], layout.name)
    return prepare_clips(view, n_frames=9).tracks.numpy()


# Which joints were seen


@pytest.mark.parametrize(
    ("layout", "joint", "place", "seen"),
    [
        pytest.param(KINECT_V2, "left_hand", (0.1, np.nan, 3.0), False, id="a NaN"),
        pytest.param(KINECT_V2, "left_hand", (0, 0, 0), False, id="no hand is in a sensor"),
        pytest.param(KINECT_V2, "left_hand", (0, 0, 1e-9), True, id="near zero is a place"),
        pytest.param(KINECT_V2, "spine_base", (0, 0, 0), False, id="a hip 3 m away from its neighbours"),
        pytest.param(KINECT_V1, "shoulder_center", (0, 0, 0), False, id="the centre 3 m away from its neighbours"),
        pytest.param(COCO_17, "left_hip", (0, 0, 0), False, id="a key point that was not found"),
    ],
)
def test_a_joint_was_not_seen_where_a_number_is_nan_or_all_are_zero(
    layout: Layout, joint: str, place: tuple[float, float, float], seen: bool
) -> None:
    positions = swaying(layout)
    positions[2, layout.index(joint)] = place
    expected = np.ones((N_FRAMES, len(layout)), dtype=bool)
    expected[2, layout.index(joint)] = seen
    np.testing.assert_array_equal(layout.seen(positions), expected)
    np.testing.assert_array_equal(layout.seen(positions[2]), expected[2])


@pytest.mark.parametrize(
    ("layout", "root"), [(KINECT_V1, "hip_center"), (KINECT_V2, "spine_base"), (KINECT_V2, "spine_mid")]
)
def test_the_joint_that_a_set_is_moved_to_have_in_the_origin_is_seen_there(layout: Layout, root: str) -> None:
    positions = swaying(layout)
    positions -= positions[:, [layout.index(root)]]
    assert layout.seen(positions).all()
    np.testing.assert_array_equal(fill_missing(positions, layout), positions)
    unseen = without(positions, layout, "left_hand", mark=0)
    assert layout.seen(unseen).sum() == N_FRAMES * (len(layout) - 1)


def test_a_frame_of_zeros_shows_nobody() -> None:
    positions = swaying(KINECT_V1)
    positions[3] = 0
    assert KINECT_V1.seen(positions).all(1).tolist() == [frame != 3 for frame in range(N_FRAMES)]
    assert not KINECT_V1.seen(positions)[3].any()


# Where they are put


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1), seen_in=st.integers(0, N_FRAMES - 1))
def test_a_joint_seen_in_some_frames_is_interpolated_between_them(
    layout: Layout, seed: int, share: float, seen_in: int
) -> None:
    hidden = np.random.default_rng(seed).random((N_FRAMES, len(layout))) < share
    hidden[seen_in] = False
    positions = swaying(layout)
    filled = fill_missing(np.where(hidden[..., None], np.float32(np.nan), positions), layout)
    frames = np.arange(N_FRAMES)
    for joint in range(len(layout)):
        at = np.flatnonzero(~hidden[:, joint])
        for axis in range(3):
            expected = np.interp(frames, at, positions[at, joint, axis])
            np.testing.assert_allclose(filled[:, joint, axis], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "never", "sources"),
    [
        ("kinect-v2", ["left_hand", "left_hand_tip", "left_thumb"], {"left_hand": ["left_wrist"]}),
        ("kinect-v2", ["left_hand", "left_hand_tip", "left_thumb"], {"left_hand_tip": ["left_wrist"]}),
        ("kinect-v2", ["right_hand_tip"], {"right_hand_tip": ["right_thumb"]}),
        ("kinect-v2", ["right_foot", "right_ankle"], {"right_foot": ["right_knee"]}),
        ("kinect-v2", ["neck"], {"neck": ["spine_shoulder", "head"]}),
        ("kinect-v2", ["spine_mid"], {"spine_mid": ["spine_base", "spine_shoulder"]}),
        ("kinect-v1", ["hip_center"], {"hip_center": ["spine", "left_hip", "right_hip"]}),
        ("kinect-v1", ["hip_center", "left_hip"], {"left_hip": ["left_knee"]}),
        ("kinect-v1", ["left_knee"], {"left_knee": ["left_hip", "left_ankle"]}),
        ("coco-17", ["left_eye"], {"left_eye": ["left_ear", "nose"]}),
        ("h36m-17", ["head_top"], {"head_top": ["nose"]}),
        ("openpose-18", ["left_wrist", "left_elbow"], {"left_wrist": ["left_shoulder"]}),
    ],
)
def test_a_joint_never_seen_is_where_the_nearest_are_that_were(
    layout: str, never: list[str], sources: dict[str, list[str]]
) -> None:
    own = LAYOUTS[layout]
    positions = swaying(own)
    filled = fill_missing(without(positions, own, *never), own)
    for joint, of in sources.items():
        expected = positions[:, [own.index(each) for each in of]].mean(1)
        np.testing.assert_allclose(filled[:, own.index(joint)], expected, atol=1e-6)
    kept = [at for at, joint in enumerate(own.joints) if joint not in never]
    np.testing.assert_array_equal(filled[:, kept], positions[:, kept])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_bones_apart_are_those_of_a_walk_along_the_bones(layout: Layout) -> None:
    beside: dict[int, set[int]] = {joint: set() for joint in range(len(layout))}
    for child, parent in layout.bone_pairs:
        beside[child].add(parent)
        beside[parent].add(child)
    for start in range(len(layout)):
        apart, reached, front = {start: 0}, {start}, {start}
        while front := {there for here in front for there in beside[here]} - reached:
            apart |= dict.fromkeys(front, max(apart.values()) + 1)
            reached |= front
        assert layout.bones_apart[start].tolist() == [apart[joint] for joint in range(len(layout))]


def test_a_mirrored_body_is_filled_as_the_mirrored_filled_one() -> None:
    positions = without(swaying(KINECT_V2), KINECT_V2, "spine_base", "left_hip", "right_hip", "neck", "left_wrist")
    filled, of_mirrored = fill_missing(positions, KINECT_V2), fill_missing(positions[:, KINECT_V2.swap], KINECT_V2)
    np.testing.assert_allclose(of_mirrored, filled[:, KINECT_V2.swap], atol=1e-6)


def test_a_body_of_which_nothing_was_seen_is_zeros_and_a_whole_one_is_itself() -> None:
    assert not fill_missing(np.full((3, 20, 3), np.nan, np.float32), KINECT_V1).any()
    positions = swaying(KINECT_V1)
    assert fill_missing(positions, KINECT_V1) is positions


# What methods get

HANDS_AND_FEET = tuple(
    f"{side}_{joint}" for side in ("left", "right") for joint in ("hand", "hand_tip", "thumb", "foot")
)


def fifteen_joints(mark: float | None) -> np.ndarray:
    """Someone in kinect-v2 without hands and feet: marked so, or copied from wrists and ankles."""
    positions = swaying(KINECT_V2)
    for joint in HANDS_AND_FEET:
        end = "ankle" if joint.endswith("foot") else "wrist"
        copied = positions[:, KINECT_V2.index(f"{joint.partition('_')[0]}_{end}")]
        positions[:, KINECT_V2.index(joint)] = copied if mark is None else mark
    return positions


@pytest.mark.parametrize("mark", [np.nan, 0.0])
@pytest.mark.parametrize("target", list(LAYOUTS))
def test_hands_and_feet_not_seen_are_as_good_as_copied_from_wrists_and_ankles(mark: float, target: str) -> None:
    prepared = []
    for given_mark in (mark, None):
        view = ClipView([[BodyTrack(0, fifteen_joints(given_mark))]], [N_FRAMES], "kinect-v2")
        prepared.append(prepare_clips(mapped_to_layout(view, target), n_frames=9).tracks.numpy())
    np.testing.assert_array_equal(prepared[0], prepared[1])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    shares=st.tuples(*[st.floats(0, 1) | st.just(1.0)] * 2),
    mark=st.sampled_from([np.nan, 0.0]),
    by=st.sampled_from([(1, 0, 0), (0, -1, 0), (0, 0, 1), (1, 1, -1)]),
)
def test_features_stay_when_a_clip_with_unseen_joints_is_moved_by_a_metre(
    layout: Layout, seed: int, shares: tuple[float, float], mark: float, by: tuple[float, float, float]
) -> None:
    random = np.random.default_rng(seed)
    hidden = np.stack([random.random((N_FRAMES, len(layout))) < share for share in shares])
    hidden[seed % 2, 0, seed % len(layout)] = False
    bodies = np.stack([swaying(layout), swaying(layout, seed=1)])
    at_home, away = (
        features(layout, *np.where(hidden[..., None], mark, each)) for each in (bodies, bodies + np.float32(by))
    )
    assert np.isfinite(at_home).all()
    np.testing.assert_allclose(away, at_home, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("source", "target"), [("kinect-v2", "kinect-v1"), ("openpose-18", "kinect-v2")])
def test_a_set_moved_to_have_its_centre_in_the_origin_maps_as_one_in_front_of_the_sensor(
    source: str, target: str
) -> None:
    layout = LAYOUTS[source]
    positions = swaying(layout) if not layout.from_images else swaying(layout) * np.float32([1, 1, 0])
    centre = positions[:1, [layout.index(layout.hips[0])]] + np.float32(1e-3 if layout.from_images else 0)
    views = [ClipView([[BodyTrack(0, each)]], [N_FRAMES], source) for each in (positions, positions - centre)]
    one, other = (prepare_clips(mapped_to_layout(view, target)).tracks.numpy() for view in views)
    np.testing.assert_allclose(one, other, atol=1e-4)
