"""The embedded synthetic set: plausible bodies, repeatable clips, images and answers that fit them."""

from __future__ import annotations

import io
import re
import tomllib
from collections import Counter
from itertools import product

import numpy as np
import pytest
from PIL import Image
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mmcl_bench.core.paths import packaged
from mmcl_bench.datasets.readers.ntu import TRAIN_SUBJECTS_120
from mmcl_bench.datasets.readers.synth60 import TEST_TAKES, TRAIN_TAKES, Synth60, all_takes
from mmcl_bench.datasets.store import Clip
from mmcl_bench.datasets.synth.actions import ACTIONS, Prop
from mmcl_bench.datasets.synth.answers import INSTRUCTIONS
from mmcl_bench.datasets.synth.more_actions import ALL_ACTIONS
from mmcl_bench.datasets.synth.motions import minimum_jerk
from mmcl_bench.datasets.synth.pose import two_bones
from mmcl_bench.datasets.synth.render import SHAPES
from mmcl_bench.datasets.synth.scene import (
    MORE_SUBJECTS,
    SUBJECTS,
    TEST_SUBJECTS,
    TRAIN_SUBJECTS,
    Performer,
    camera_of,
    clip_name,
    make_clip,
    perform,
)
from mmcl_bench.datasets.synth.take import Take
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import KINECT_V2

LABEL = {action.name: label for label, action in enumerate(ACTIONS)}
INTERACTIONS = range(49, 60)


def take_of(name: str, subject: int = 3) -> Take:
    return perform(np.random.default_rng([7, subject]), LABEL[name], subject, 1)


def joint(take: Take, name: str, body: int = 0) -> np.ndarray:
    return take.poses[body, :, KINECT_V2.index(name)]


@pytest.fixture(scope="module")
def one_of_each() -> list[Clip]:
    return [make_clip(label, subject=SUBJECTS[label % 40], take=1) for label in range(60)]


def same(one: Clip, other: Clip) -> bool:
    tracks = zip(one.bodies, other.bodies, strict=True)
    return (one.sample_id, one.rgb, one.answers) == (other.sample_id, other.rgb, other.answers) and all(
        a.start == b.start and np.array_equal(a.positions, b.positions) for a, b in tracks
    )


def test_classes_stand_in_the_order_of_the_class_table() -> None:
    table = tomllib.loads((packaged("protocols") / "classes" / "ntu60.toml").read_text(encoding="utf-8"))
    assert [action.name for action in ACTIONS] == [row["name"] for row in table["class"]]


def test_more_classes_stand_in_the_order_of_the_class_table() -> None:
    table = tomllib.loads((packaged("protocols") / "classes" / "ntu120.toml").read_text(encoding="utf-8"))
    assert [action.name for action in ALL_ACTIONS[60:]] == [row["name"] for row in table["class"]]


def test_more_classes_move_plausibly_and_are_told_apart_across_subjects() -> None:
    def summary(label: int, subject: int) -> np.ndarray:
        poses = perform(np.random.default_rng([3, label, subject]), label, subject, 1 + (-(label + subject)) % 3).poses
        main = poses[0] - poses[0, :1, :1]
        evenly = main[np.linspace(0, len(main) - 1, 8).round().astype(int)]
        return np.concatenate([evenly.ravel(), np.ptp(main, axis=0).ravel(), [3.0 * (len(poses) - 1)]])

    found = np.stack([[summary(label, subject) for subject in range(41, 61)] for label in range(60, 120)])
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 5.0
    train, test = found[:, :14].reshape(60 * 14, -1), found[:, 14:].reshape(60 * 6, -1)
    known = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(train, np.repeat(range(60), 14))
    assert known.score(test, np.repeat(range(60), 6)) > 0.5  # chance is 0.017


def test_a_partner_of_a_later_subject_is_of_the_same_side() -> None:
    train = {Performer.of(subject).wardrobe for subject in MORE_SUBJECTS if subject in TRAIN_SUBJECTS_120}
    for subject in (45, 48, 103, 106):
        wardrobes = take_of("handshaking", subject).wardrobes
        assert {wardrobe in train for wardrobe in wardrobes} == {subject in TRAIN_SUBJECTS_120}


def test_sides_use_the_official_subjects_and_cameras() -> None:
    assert len(TRAIN_SUBJECTS) == len(TEST_SUBJECTS) == 20
    assert sorted(TRAIN_SUBJECTS + TEST_SUBJECTS) == list(range(1, 41))
    assert Synth60.sides["x-view"].train == (2, 3)
    assert Synth60.default_side == "x-sub"
    assert set(Synth60.modalities) == set(Modality)


def test_sample_ids_are_unique_and_name_class_subject_and_camera() -> None:
    ids = [clip_name(*what) for what in all_takes()]
    assert len(set(ids)) == len(ids) == 60 * 20 * (TRAIN_TAKES + TEST_TAKES)
    assert re.fullmatch(r"synth-S001C00[123]P007R002A060", clip_name(59, 7, 2))


@pytest.mark.parametrize(("subjects", "n_takes"), [(TRAIN_SUBJECTS, TRAIN_TAKES), (TEST_SUBJECTS, TEST_TAKES)])
def test_each_camera_sees_a_third_of_every_class_and_subject(subjects: tuple[int, ...], n_takes: int) -> None:
    takes = range(1, n_takes + 1)
    for label in range(60):
        counts = Counter(camera_of(label, *what) for what in product(subjects, takes))
        assert min(counts[camera] for camera in (1, 2, 3)) >= 0.2 * len(subjects) * n_takes
    for subject in subjects:
        counts = Counter(camera_of(label, subject, take) for label, take in product(range(60), takes))
        assert set(counts.values()) == {20 * n_takes}


def test_clip_depends_on_class_subject_and_take_alone() -> None:
    assert same(make_clip(9, 5, 1), make_clip(9, 5, 1))
    assert not same(make_clip(9, 5, 1), make_clip(9, 5, 2))


def test_interactions_have_two_bodies_and_others_one(one_of_each: list[Clip]) -> None:
    assert [len(clip.bodies) for clip in one_of_each] == [2 if label in INTERACTIONS else 1 for label in range(60)]


def test_tracks_lie_within_clips_of_plausible_length(one_of_each: list[Clip]) -> None:
    for clip in one_of_each:
        assert 45 <= clip.n_frames <= 110
        for body in clip.bodies:
            assert body.positions.shape[1:] == (25, 3)
            assert body.positions.dtype == np.float32
            assert 0 <= body.start <= body.start + len(body.positions) <= clip.n_frames
            assert np.isfinite(body.positions).all()


@pytest.mark.parametrize("name", ["drink water", "falling", "kicking something", "hugging other person", "jump up"])
def test_bones_keep_their_length_without_noise(name: str) -> None:
    take = take_of(name)
    for child, parent in KINECT_V2.bone_pairs:
        length = np.linalg.norm(take.poses[:, :, child] - take.poses[:, :, parent], axis=-1)
        assert np.ptp(length, axis=1).max() < 1e-9
        assert length.min() > 0.02


@pytest.mark.parametrize("subject", [1, 3, 12, 33])
def test_a_standing_person_is_as_tall_as_people_are(subject: int) -> None:
    take = take_of("clapping", subject)
    head, feet = joint(take, "head"), joint(take, "left_foot")
    tall = head[:, 1] - feet[:, 1]
    assert (tall > 1.3).all()
    assert (tall < 2.1).all()
    assert np.ptp(joint(take, "left_ankle"), axis=0).max() < 0.01
    assert take.poses[..., 2].min() > 2.0
    assert take.poses[..., 2].max() < 4.8


def test_left_is_at_negative_x_of_a_person_who_faces_the_sensor() -> None:
    take = next(take for take in (take_of("clapping", subject) for subject in range(1, 9)) if take.camera == 1)
    assert (joint(take, "left_shoulder")[:, 0] < joint(take, "right_shoulder")[:, 0]).all()


@pytest.mark.parametrize(
    ("name", "near", "metres"),
    [("drink water", "head", 0.28), ("pickup", "left_foot", 0.75), ("make a phone call/answer phone", "head", 0.28)],
)
def test_the_hand_gets_where_the_action_happens(name: str, near: str, metres: float) -> None:
    take = take_of(name)
    hand = joint(take, ("left_hand", "right_hand")[take.main[0]])
    assert np.linalg.norm(hand - joint(take, near), axis=1).min() < metres


def test_sitting_lowers_the_hips_and_falling_the_head() -> None:
    hips, head = joint(take_of("sitting down"), "spine_base")[:, 1], joint(take_of("falling"), "head")[:, 1]
    assert hips[0] - hips[-1] > 0.3
    assert head[0] - head[-1] > 0.8


def test_a_jump_leaves_the_floor() -> None:
    feet = joint(take_of("jump up"), "left_ankle")[:, 1]
    assert 0.08 < np.ptp(feet) < 0.6


def test_partners_come_together_and_part() -> None:
    def gap(name: str) -> np.ndarray:
        take = take_of(name)
        return np.linalg.norm((joint(take, "spine_base") - joint(take, "spine_base", body=1))[:, [0, 2]], axis=1)

    towards, apart = gap("walking towards each other"), gap("walking apart from each other")
    assert towards[0] - towards[-1] > 0.8
    assert apart[-1] - apart[0] > 0.8


def test_partner_is_of_the_same_side_of_the_split() -> None:
    train = {Performer.of(subject).wardrobe for subject in TRAIN_SUBJECTS}
    for subject in (1, 3, 6, 8):
        take = take_of("handshaking", subject)
        assert {wardrobe in train for wardrobe in take.wardrobes} == {subject in TRAIN_SUBJECTS}


def test_two_bones_reach_what_they_can_and_bend_towards_the_hint() -> None:
    middle, end = two_bones(np.zeros(3), np.array([0.0, -0.4, 0.0]), 0.3, 0.3, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(end, [0.0, -0.4, 0.0], atol=1e-12)
    np.testing.assert_allclose(middle, [0.0, -0.2, np.sqrt(0.3**2 - 0.2**2)], atol=1e-12)
    _, stretched = two_bones(np.zeros(3), np.array([0.0, -2.0, 0.0]), 0.3, 0.3, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(stretched, [0.0, -0.6, 0.0], atol=1e-3)


def test_minimum_jerk_starts_and_ends_at_rest() -> None:
    rise = minimum_jerk(np.array([-1.0, 0.0, 1e-3, 0.5, 1 - 1e-3, 1.0, 2.0]))
    np.testing.assert_allclose(rise, [0, 0, 0, 0.5, 1, 1, 1], atol=1e-7)


def test_strips_are_five_crops_side_by_side(one_of_each: list[Clip]) -> None:
    for clip in one_of_each:
        assert clip.rgb is not None
        image = Image.open(io.BytesIO(clip.rgb))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (320, 80))
        assert len(image.getcolors(320 * 80) or []) >= 6


def test_the_image_shows_the_prop_that_the_skeleton_does_not() -> None:
    def blue_pixels(name: str) -> int:
        pixels = np.asarray(Image.open(io.BytesIO(make_clip(LABEL[name], 3, 1).rgb or b""))).astype(int)
        return int(((pixels[..., 2] > 130) & (pixels[..., 2] > 1.6 * pixels[..., 0])).sum())

    assert blue_pixels("drink water") > 60 > blue_pixels("clapping")


def test_every_prop_has_a_shape() -> None:
    props: list[Prop] = [prop for action in ACTIONS for prop in action.props]
    assert {name for prop in props for name in prop.names} <= set(SHAPES)


def test_answers_follow_the_instructions_and_never_name_a_class(one_of_each: list[Clip]) -> None:
    names = "|".join(re.escape(re.split(r"[/(]", action.name)[0].strip()) for action in ACTIONS)
    for clip in one_of_each:
        assert tuple(instruction for instruction, _ in clip.answers) == INSTRUCTIONS
        message = " ".join(answer for _, answer in clip.answers)
        assert not re.search(rf"\b({names})\b", message, re.IGNORECASE)


def test_answers_are_mostly_right_and_sometimes_wrong() -> None:
    answers = [dict(make_clip(0, subject, 1).answers)[INSTRUCTIONS[0]] for subject in SUBJECTS]
    right = sum("cup" in answer or "bottle" in answer for answer in answers)
    assert 0.75 * len(answers) < right < len(answers)
