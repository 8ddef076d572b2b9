"""What differs between two sets is found where it was put, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.classes import ClassText
from mmcl_bench.datasets.store import Clip, Side, SkeletonDataset
from mmcl_bench.methods.shared.joints import joint_features
from mmcl_bench.protocols.domain_shift.measures import DomainShift, compare
from mmcl_bench.protocols.domain_shift.picture import write_picture
from mmcl_bench.protocols.domain_shift.words import stands_out
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.drawing import standing_pose
from mmcl_bench.skeleton.layouts import KINECT_V1, KINECT_V2, Layout, get_layout
from prepared import write_dataset
from toys import tiny_card

TORSO = 1.40 - 0.98
"""Metres from hip to the height of the shoulders, of the person who stands."""
Change = Callable[[np.ndarray], np.ndarray]


def as_is(positions: np.ndarray) -> np.ndarray:
    return positions


def turned(axis: str, degrees: float) -> Change:
    return lambda positions: positions @ Rotation.from_euler(axis, degrees, degrees=True).as_matrix().T


def clip(number: int, label: int, subject: int, layout: Layout, change: Change, n_frames: int = 12) -> Clip:
    """Someone who stands facing the sensor, 3 m away, and sways a little, every joint by itself."""
    random = np.random.default_rng(number)
    rate, phase = random.uniform(0.2, 0.5, (len(layout), 3)), random.uniform(0, 6, (len(layout), 3))
    sway = np.sin(rate * np.arange(n_frames)[:, None, None] + phase) / 100
    positions = standing_pose(layout) + sway + np.array([0.0, -1.0, 3.0])
    return Clip(f"clip{number:03}", label, subject, n_frames, (BodyTrack(0, change(positions).astype(np.float32)),))


def dataset(
    root: Path, name: str, salt: int, change: Change = as_is, layout: Layout = KINECT_V1, **card: Any
) -> SkeletonDataset:
    """48 clips: six people do two actions four times."""
    clips = [
        clip(100 * salt + number, label, subject, layout, change)
        for number, (subject, label, _) in enumerate(product(range(1, 7), (0, 1), range(4)))
    ]
    return written(root, name, clips, layout, **card)


def written(root: Path, name: str, clips: list[Clip], layout: Layout, **changes: Any) -> SkeletonDataset:
    sides = {"x-sub": Side(column="subject", train=(1, 2, 3), test=(4, 5, 6), source="test")}
    texts = tuple(ClassText(name=each) for each in changes.get("classes", ("sit", "stand")))
    card = tiny_card(name=name, layout=layout.name, class_texts=texts, sides=sides, **changes)
    return write_dataset(root / name, clips, len(layout), card)


def compared(first: SkeletonDataset, second: SkeletonDataset, limit: int = 1000) -> DomainShift:
    return compare((first, second), first.folder.parent, lambda clips: joint_features(clips, 1), limit)


@pytest.fixture
def plain(tmp_path: Path) -> SkeletonDataset:
    return dataset(tmp_path, "plain", 1)


def test_sets_of_the_same_kind_do_not_differ(plain: SkeletonDataset, tmp_path: Path) -> None:
    shift = compared(plain, dataset(tmp_path, "alike", 2))
    for distance in (shift.all_clips, shift.same_classes):
        assert distance is not None
        assert distance.clips == (48, 48)
        assert distance.by_person == (True, True)
        assert distance.proxy_a < 0.5
        assert abs(distance.squared_mmd) < 0.02
    assert [(each.name, each.first, each.second) for each in shift.shared_classes] == [
        ("sit", 24, 24),
        ("stand", 24, 24),
    ]
    assert shift.class_imbalance == 0
    assert [sentence for sentence in stands_out(shift) if "classifier" not in sentence] == []


def test_what_is_known_of_one_set_is_measured(plain: SkeletonDataset, tmp_path: Path) -> None:
    facts = compared(plain, dataset(tmp_path, "alike", 2)).first
    assert facts.poses.torso.median == pytest.approx(TORSO, abs=0.01)
    assert facts.poses.distance.median == pytest.approx(np.hypot(3.0, 0.98 - 1.0), abs=0.02)
    assert facts.poses.up == "+y"
    assert facts.poses.lean.median < 3
    assert facts.poses.heading == pytest.approx(0, abs=3)
    assert facts.poses.heading_agreement == pytest.approx(1, abs=0.01)
    # From the hip (0.13, 0.52, -0.02) to the ankle (0.16, 0.10, 0.02).
    assert facts.poses.bones["ankle to knee"] == pytest.approx(np.linalg.norm([0.03, 0.42, 0.04]) / TORSO, abs=0.02)
    assert (facts.poses.empty_frames, facts.poses.unseen_joints) == (0, 0)
    assert facts.summary["subjects"] == 6


@pytest.mark.parametrize("degrees", [60.0, -120.0])
def test_a_set_turned_about_the_vertical_has_another_heading(
    plain: SkeletonDataset, tmp_path: Path, degrees: float
) -> None:
    shift = compared(plain, dataset(tmp_path, "aside", 2, turned("y", degrees)))
    headings = shift.first.poses.heading, shift.second.poses.heading
    assert headings == (pytest.approx(0, abs=3), pytest.approx(degrees, abs=3))
    assert shift.all_clips.proxy_a < 0.5, "normalisation turns it back"
    turn = abs((headings[1] or 0) - (headings[0] or 0))
    assert [each for each in stands_out(shift) if "classifier" not in each] == [
        f"People in aside are turned by {turn:.0f} degrees about the vertical from those in plain."
    ]


def test_a_set_with_z_up_is_found_out(plain: SkeletonDataset, tmp_path: Path) -> None:
    shift = compared(plain, dataset(tmp_path, "z-up", 2, turned("x", 90)))
    assert shift.second.poses.up == "+z"
    assert shift.second.poses.lean.median == pytest.approx(90, abs=3)
    assert shift.all_clips.proxy_a == 2
    assert "Up is +y in plain and +z in z-up." in list(stands_out(shift))


def test_a_set_in_another_size_differs_in_size_alone(plain: SkeletonDataset, tmp_path: Path) -> None:
    shift = compared(plain, dataset(tmp_path, "large", 2, lambda positions: 2 * positions))
    assert shift.second.poses.torso.median == pytest.approx(2 * TORSO, abs=0.02)
    assert shift.second.poses.bones == pytest.approx(shift.first.poses.bones, abs=0.02)
    assert shift.all_clips.proxy_a < 0.5, "normalisation scales it back"
    (sentence,) = [each for each in stands_out(shift) if "classifier" not in each]
    ratio = shift.second.poses.torso.median / shift.first.poses.torso.median
    assert sentence == f"Torsos are {ratio:.2f} times as long in large as in plain."


def test_longer_arms_are_named_and_told_apart(plain: SkeletonDataset, tmp_path: Path) -> None:
    def longer(positions: np.ndarray) -> np.ndarray:
        changed = positions.copy()
        for side in ("left", "right"):
            elbow, *outer = (KINECT_V1.index(f"{side}_{joint}") for joint in ("elbow", "wrist", "hand"))
            forearm = positions[:, [outer[0]]] - positions[:, [elbow]]
            changed[:, outer] += forearm
        return changed

    shift = compared(plain, dataset(tmp_path, "long-arms", 2, longer))
    first, second = shift.first.poses.bones, shift.second.poses.bones
    assert second["wrist to elbow"] == pytest.approx(2 * first["wrist to elbow"], rel=0.03)
    assert shift.all_clips.proxy_a == 2
    found = list(stands_out(shift))
    assert any(each.startswith("The bone that differs most, wrist to elbow, is ") for each in found)
    assert found[-1].startswith("After normalisation a linear classifier tells 100% of the clips of shared classes")


def test_other_joint_layouts_are_mapped_to_that_of_the_first(plain: SkeletonDataset, tmp_path: Path) -> None:
    shift = compared(plain, dataset(tmp_path, "v2", 2, layout=KINECT_V2))
    assert shift.layout == "kinect-v1"
    assert list(shift.second.poses.bones) == list(shift.first.poses.bones)
    assert shift.second.summary["layout"] == "kinect-v2"
    assert shift.second.poses.bones["wrist to elbow"] == pytest.approx(shift.first.poses.bones["wrist to elbow"], 0.05)


def test_what_was_not_seen_is_counted_before_it_is_filled(plain: SkeletonDataset, tmp_path: Path) -> None:
    def hidden(positions: np.ndarray) -> np.ndarray:
        seen = positions.copy()
        seen[:, :10] = np.nan
        seen[:3] = 0
        return seen

    shift = compared(plain, dataset(tmp_path, "hidden", 2, hidden))
    assert shift.second.poses.empty_frames == pytest.approx(3 / 12)
    assert shift.second.poses.unseen_joints == pytest.approx(10 / 20)
    assert shift.second.poses.distance.median == pytest.approx(3, abs=0.5)
    assert "0% of the frames show nobody in plain, 25% in hidden." in list(stands_out(shift))
    assert "0% of the joints are not seen in plain, 50% in hidden." in list(stands_out(shift))


def test_classes_are_balanced_before_sets_are_told_apart(tmp_path: Path) -> None:
    """People of class 1 lean: two sets with other shares of it differ, and not within a class."""

    def one(name: str, salt: int, n_leaning: int) -> SkeletonDataset:
        changes = (as_is, turned("x", 40))
        clips = [
            clip(1000 * salt + number, int(number < n_leaning), number % 6 + 1, KINECT_V1, changes[number < n_leaning])
            for number in range(60)
        ]
        return written(tmp_path, name, clips, KINECT_V1)

    shift = compared(one("few", 1, 12), one("many", 2, 48))
    assert shift.same_classes is not None
    assert shift.same_classes.clips == (24, 24)
    assert shift.all_clips.proxy_a == pytest.approx(2 * (2 * 0.8 - 1), abs=0.2)
    assert shift.same_classes.proxy_a < 0.6
    assert shift.class_imbalance == pytest.approx(0.6)
    assert "Of the clips of shared classes, 80% are of sit in few and 20% in many." in list(stands_out(shift))


def test_sets_without_shared_classes_are_compared_as_a_whole(plain: SkeletonDataset, tmp_path: Path) -> None:
    shift = compared(plain, dataset(tmp_path, "others", 2, classes=("jump", "run")))
    assert (shift.shared_classes, shift.class_imbalance, shift.same_classes) == ((), None, None)
    assert "plain and others share no class." in list(stands_out(shift))


def test_key_points_of_images_have_no_heading_and_no_metres(plain: SkeletonDataset, tmp_path: Path) -> None:
    flat = dataset(tmp_path, "flat", 2, lambda positions: positions * np.array([0.3, 0.3, 0.0]), unit="image")
    shift = compared(plain, flat)
    assert (shift.second.poses.heading, shift.second.poses.heading_agreement) == (None, None)
    assert "Sizes do not compare: plain is in metres, flat in image heights." in list(stands_out(shift))
    write_picture(shift, tmp_path / "flat.png")


def test_frame_rates_and_people_are_facts_of_the_sets(tmp_path: Path) -> None:
    slow = dataset(tmp_path, "slow", 1, frame_rate=15.0)
    fast = written(
        tmp_path,
        "fast",
        [clip(number, number % 2, 0, KINECT_V1, as_is) for number in range(500, 520)],
        KINECT_V1,
        frame_rate=30.0,
    )
    shift = compared(slow, fast, limit=16)
    assert shift.first.seconds is not None
    assert (shift.first.frames.median, shift.first.seconds.median) == (12, pytest.approx(0.8))
    assert shift.all_clips.clips == (16, 16)
    assert shift.all_clips.by_person == (True, False)
    assert "slow has 15 frames a second, fast has 30." in list(stands_out(shift))


def test_figures_are_plain_values(plain: SkeletonDataset, tmp_path: Path) -> None:
    shift = compared(plain, dataset(tmp_path, "alike", 2))
    read = json.loads(json.dumps(shift.as_json()))
    assert read["second"]["poses"]["up"] == "+y"
    assert read["all_clips"]["proxy_a"] == shift.all_clips.proxy_a
    assert compared(plain, SkeletonDataset.open(tmp_path / "alike")).as_json() == shift.as_json()


def test_the_picture_shows_four_panels(plain: SkeletonDataset, tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "shift.png"
    write_picture(compared(plain, dataset(tmp_path, "aside", 2, turned("y", 90))), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    for part in (pixels[: len(pixels) // 2], pixels[len(pixels) // 2 :]):
        for half in np.array_split(part, 2, axis=1):
            assert len(np.unique(half.reshape(-1, 3), axis=0)) > 10


def test_a_picture_that_cannot_be_written_is_one_line(plain: SkeletonDataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"shift\.png: cannot be written .*; choose another --picture"):
        write_picture(compared(plain, dataset(tmp_path, "alike", 2)), tmp_path / "file" / "shift.png")


def test_a_set_is_not_compared_with_itself(plain: SkeletonDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="plain: compared with itself"):
        compared(plain, plain)
    with pytest.raises(UserError, match="plain and again hold the same clips"):
        compared(plain, dataset(tmp_path, "again", 1))


def test_layouts_without_a_joint_map_name_the_nearest(plain: SkeletonDataset, tmp_path: Path) -> None:
    strange = Layout(
        "strange",
        ("left_shoulder", "right_shoulder", "left_hip", "right_hip", *(f"p{number}" for number in range(20))),
        (
            ("left_shoulder", "p0"),
            ("right_shoulder", "p0"),
            ("left_hip", "p0"),
            ("right_hip", "p0"),
            *((f"p{number}", "p0") for number in range(1, 20)),
        ),
        "p0",
        ("left_hip", "right_hip"),
        {"head": ("p1",), "hands": ("p2",), "torso": ("p0",), "legs": ("p3",)},
        (),
        "test",
    )
    positions = np.random.default_rng(0).normal(size=(5, 24, 3)).astype(np.float32)
    clips = [Clip(f"c{number}", 0, number, 5, (BodyTrack(0, positions + number),)) for number in (1, 2)]
    other = write_dataset(tmp_path / "odd", clips, 24, tiny_card(name="odd", layout=strange, class_table="odd"))
    with pytest.raises(UserError, match="no joint map between the two; name its joints like those of"):
        compared(plain, other)
    assert get_layout(other.card.layout) == strange
