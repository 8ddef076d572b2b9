"""Normalisation is invariant to what it removes; augmentation keeps what it must and follows its generator."""

from __future__ import annotations

import tracemalloc
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton import transforms
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.layouts import KINECT_V1, Layout, get_layout
from mmcl_bench.skeleton.transforms import Bodies, Normalisation, PreparedTracks, normalise_clip, prepare_clips


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def walker(layout: Layout = KINECT_V1, start: int = 0, n_frames: int = 12, seed: int = 0) -> BodyTrack:
    """A synthetic body: a fixed random pose, wide at shoulders and hips, drifting with noise."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(scale=0.3, size=(len(layout), 3))
    for side, x in (("left", -0.2), ("right", 0.2)):
        pose[layout.index(f"{side}_shoulder")] = (x, 0.5, 0.05)
        pose[layout.index(f"{side}_hip")] = (x / 2, 0.0, -0.02)
    drift = np.linspace(0, 0.5, n_frames)[:, None, None] * rng.normal(size=3)
    positions = pose + drift + rng.normal(scale=0.02, size=(n_frames, len(layout), 3)) + (0.4, 0.1, 3.0)
    return BodyTrack(start, positions.astype(np.float32))


def moved(bodies: Bodies, yaw: float = 0.0, by: tuple[float, float, float] = (0, 0, 0), scale: float = 1.0) -> Bodies:
    turn = Rotation.from_euler("y", yaw).as_matrix()
    return tuple(BodyTrack(b.start, (scale * (b.positions @ turn.T) + by).astype(np.float32)) for b in bodies)


def view_of(*clips: Bodies, layout: Layout = KINECT_V1) -> ClipView:
    return ClipView(clips, [max(b.start + len(b.positions) for b in clip) for clip in clips], layout.name)


def bone_lengths(tracks: Tensor, layout: Layout) -> Tensor:
    return (tracks - tracks[..., torch.from_numpy(layout.parents)]).norm(dim=1)


@pytest.mark.parametrize("yaw", [0.3, -2.0, np.pi])
def test_normalised_clips_do_not_depend_on_place_heading_or_size(yaw: float) -> None:
    bodies = (walker(), walker(start=3, seed=1))
    expected = normalise_clip(bodies, KINECT_V1)
    found = normalise_clip(moved(bodies, yaw, by=(1.0, -0.5, 2.0), scale=1.7), KINECT_V1)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other.positions, one.positions, atol=1e-4)


def test_a_normalised_body_stands_at_the_origin_across_x_with_a_torso_of_one() -> None:
    (body,) = normalise_clip(moved((walker(),), yaw=1.0), KINECT_V1)
    joint = {name: body.positions[:, KINECT_V1.index(name)] for name in KINECT_V1.joints}
    np.testing.assert_allclose(joint["hip_center"][0], 0, atol=1e-6)
    across = (joint["right_shoulder"] - joint["left_shoulder"] + joint["right_hip"] - joint["left_hip"])[:8]
    headings = across[:, [0, 2]] / np.linalg.norm(across[:, [0, 2]], axis=1, keepdims=True)
    assert headings[:, 0].mean() > 0.9
    assert headings[:, 1].mean() == pytest.approx(0, abs=1e-5)
    torso = np.linalg.norm((joint["right_shoulder"] + joint["left_shoulder"]) / 2 - joint["hip_center"], axis=-1)
    assert np.median(torso) == pytest.approx(1, abs=1e-5)


def test_what_is_not_taken_out_stays() -> None:
    bodies = (walker(), walker(start=3, seed=1))
    found = {what: normalise_clip(bodies, KINECT_V1, what) for what in get_args(Normalisation)}
    hip = KINECT_V1.index("hip_center")
    assert all((clip[0].positions[0, hip] == 0).all() for what, clip in found.items() if what != "none")
    np.testing.assert_array_equal(found["none"][1].positions, bodies[1].positions)
    np.testing.assert_allclose(found["root"][1].positions, bodies[1].positions - bodies[0].positions[0, hip], atol=1e-6)
    # Turned, a clip keeps its lengths in metres; scaled, it keeps its heading.
    lengths = [np.linalg.norm(found[what][1].positions, axis=-1) for what in ("root", "root+facing")]
    np.testing.assert_allclose(*lengths, atol=1e-5)
    ratio = found["root+scale"][1].positions / found["root"][1].positions
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-3)
    assert ratio[0, 0, 0] != pytest.approx(1, abs=0.01)


def test_one_mistracked_frame_hardly_turns_a_clip() -> None:
    body = walker()
    wild = body.positions.copy()
    wild[2, KINECT_V1.index("left_shoulder")] = (50, 0, 80)
    (good,), (bad,) = (normalise_clip((BodyTrack(0, p),), KINECT_V1) for p in (body.positions, wild))
    head = KINECT_V1.index("head")
    heading = [np.arctan2(*(track.positions[-1, head] - track.positions[0, head])[[2, 0]]) for track in (good, bad)]
    assert abs(heading[0] - heading[1]) < np.deg2rad(20)


def test_bodies_keep_their_places_relative_to_each_other() -> None:
    bodies = (walker(), walker(seed=1))
    gap = np.linalg.norm(bodies[0].positions[:, 3] - bodies[1].positions[:, 3], axis=-1)
    first, second = transforms.align_yaw(transforms.centre(bodies, KINECT_V1), KINECT_V1)
    np.testing.assert_allclose(np.linalg.norm(first.positions[:, 3] - second.positions[:, 3], axis=-1), gap, rtol=1e-4)


def test_a_body_collapsed_to_a_point_stays_finite() -> None:
    point = BodyTrack(0, np.ones((4, 20, 3), dtype=np.float32))
    assert np.isfinite(normalise_clip((point,), KINECT_V1)[0].positions).all()


@pytest.mark.parametrize("n_frames", [5, 12, 31])
def test_resampling_keeps_the_ends_and_equals_linear_interpolation(n_frames: int) -> None:
    positions = walker().positions
    at = np.linspace(0, len(positions) - 1, n_frames)
    found = transforms.sample_at(positions, at)
    np.testing.assert_array_equal(found[[0, -1]], positions[[0, -1]])
    np.testing.assert_allclose(found[:, 7, 2], np.interp(at, np.arange(len(positions)), positions[:, 7, 2]), rtol=1e-5)


def test_a_single_frame_resamples_to_itself() -> None:
    positions = walker(n_frames=1).positions
    np.testing.assert_array_equal(transforms.sample_at(positions, np.zeros(3)), np.repeat(positions, 3, axis=0))


def test_preparing_keeps_the_bodies_of_a_clip_on_one_clock() -> None:
    late = walker(start=6, n_frames=6, seed=1)
    prepared = prepare_clips(view_of((walker(),), (walker(n_frames=12), late)), n_frames=12, normalise="root")
    assert prepared.tracks.shape == (3, 3, 12, 20)
    assert prepared.clip.tolist() == [0, 1, 1]
    hip = walker(n_frames=12).positions[0, KINECT_V1.index("hip_center")]
    np.testing.assert_allclose(prepared.tracks[2, :, 6:].permute(1, 2, 0), late.positions - hip, atol=1e-5)
    # Before it comes in, a body holds its first pose.
    torch.testing.assert_close(prepared.tracks[2, :, 0], prepared.tracks[2, :, 6])


def test_preparing_needs_little_memory_beside_its_result() -> None:
    view = view_of(*[(walker(n_frames=40), walker(start=3, seed=1))] * 100)
    tracemalloc.start()
    prepared = prepare_clips(view)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * prepared.tracks.nbytes


def test_frames_before_any_body_was_seen_are_dropped() -> None:
    early, late = prepare_clips(view_of((walker(),), (walker(start=40),))).tracks
    torch.testing.assert_close(early, late)


def test_a_batch_holds_the_tracks_of_the_chosen_clips_in_their_order() -> None:
    clip = torch.tensor([0, 1, 1, 3])
    prepared = PreparedTracks(torch.arange(4.0).view(4, 1, 1, 1), clip, n_clips=4)
    tracks, place = prepared.batch(torch.tensor([3, 2, 1, 3]))
    assert tracks.flatten().tolist() == [3, 1, 2, 3]
    assert place.tolist() == [0, 2, 2, 3]


def test_tracks_go_back_to_bodies_last() -> None:
    tracks = torch.randn(4, 3, 2, 20, generator=seeded())
    clips = transforms.bodies_last(tracks, torch.tensor([0, 2, 2, 2]), n_clips=3, n_bodies=2)
    assert clips.shape == (3, 3, 2, 20, 2)
    torch.testing.assert_close(clips[0, ..., 0], tracks[0])
    torch.testing.assert_close(clips[2, ..., 1], tracks[2])
    assert not clips[1].any()
    assert not clips[0, ..., 1].any()


# Joints that were not seen


def test_frames_without_a_body_are_filled_from_their_neighbours() -> None:
    body = walker(n_frames=10)
    positions = body.positions.copy()
    positions[[0, 1, 4, 5, 6, 9]] = 0
    seen = [2, 3, 7, 8]
    expected = np.stack(
        [
            [[np.interp(frame, seen, positions[seen, joint, axis]) for axis in range(3)] for joint in range(20)]
            for frame in range(10)
        ]
    )
    (filled,) = view_of((BodyTrack(2, positions),)).bodies(0)
    np.testing.assert_allclose(filled.positions, expected, atol=1e-6)
    assert (filled.start, filled.positions.dtype) == (2, np.float32)
    np.testing.assert_array_equal(positions[4], 0)  # the given track is left as it was


def test_a_body_that_was_never_seen_is_no_body_wherever_the_clip_is() -> None:
    nobody = BodyTrack(0, np.zeros((12, 20, 3), dtype=np.float32))
    one, other = (prepare_clips(view_of(clip)).tracks for clip in ((nobody, walker()), (walker(),)))
    torch.testing.assert_close(one, other)


def image_body(*unseen: str, at: float = 0.0) -> Bodies:
    """A synthetic body of key points that faces the camera, ``at`` image heights from the middle; z is 0."""
    layout = get_layout("coco-17")
    rng = np.random.default_rng(0)
    positions = rng.normal(scale=0.1, size=(17, 3)) + rng.normal(scale=0.005, size=(9, 17, 3))
    for side, x in (("left", -0.08), ("right", 0.08)):
        positions[:, layout.index(f"{side}_shoulder")] = (x, 0.25, 0)
        positions[:, layout.index(f"{side}_hip")] = (x / 2, 0.01, 0)
    positions = (positions + np.array([at, at / 2, 0])) * (1, 1, 0)
    positions[:, [layout.index(joint) for joint in unseen]] = 0
    return (BodyTrack(0, positions.astype(np.float32)),)


@pytest.mark.parametrize("unseen", ["left_wrist", "left_shoulder", "right_hip"])
def test_where_in_the_image_a_body_is_plays_no_part(unseen: str) -> None:
    layout = get_layout("coco-17")
    tracks = [prepare_clips(view_of(image_body(unseen, at=at), layout=layout)).tracks for at in (0.05, 0.4, -0.9)]
    for track in tracks[1:]:
        torch.testing.assert_close(track, tracks[0], rtol=0, atol=1e-4)


def test_one_unseen_shoulder_leaves_the_heading() -> None:
    layout = get_layout("coco-17")
    clips = (image_body(*hidden, at=0.5) for hidden in ((), ("left_shoulder",)))
    whole, part = (prepare_clips(view_of(clip, layout=layout)).tracks[0, :, 0].T for clip in clips)
    nose, knee = layout.index("nose"), layout.index("left_knee")
    along = [pose[nose] - pose[knee] for pose in (whole, part)]
    assert torch.cosine_similarity(along[0], along[1], dim=0) > 0.999


def test_what_was_hidden_from_methods_is_not_changed_in_the_data() -> None:
    body = walker()
    body.positions[3] = np.nan
    view_of((body,))
    assert np.isnan(body.positions[3]).all()
