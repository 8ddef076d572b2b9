"""MSR-Action3D and UTKinect: numbers from names and labels, joints in their places, the known faults as they are."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.skeleton.layouts import KINECT_V1
from published import kinect_v1_person, msr_action3d, sysu_3d_hoi, utkinect


def changed(source: Path, name: str, content: bytes | None) -> Path:
    """The source with one member replaced; left out for None."""
    target = source.with_name("changed.zip")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        members = {member: old.read(member) for member in old.namelist()} | {name: content}
        for member, kept in members.items():
            if kept is not None:
                new.writestr(member, kept)
    return target


def anatomy(dataset: SkeletonDataset) -> None:
    """Heads over hips over feet, a person's height, left and right as a person who faces the camera has them."""
    tracks = np.asarray(dataset.tracks)
    tracks = tracks[tracks.any(axis=(1, 2))]
    at = {name: tracks[:, KINECT_V1.index(name)] for name in KINECT_V1.joints}
    feet = (at["left_foot"] + at["right_foot"]) / 2
    assert np.median(at["head"][:, 1] - at["hip_center"][:, 1]) > 0.3
    assert np.median(at["hip_center"][:, 1] - feet[:, 1]) > 0.3
    assert 1.1 < np.median(at["head"][:, 1] - feet[:, 1]) < 1.8
    assert np.median(at["left_shoulder"][:, 0] - at["right_shoulder"][:, 0]) < 0
    for child, parent in KINECT_V1.bones:
        assert 0.02 < np.median(np.linalg.norm(at[child] - at[parent], axis=1)) < 0.6, (child, parent)
    for bone in (("left_elbow", "left_shoulder"), ("left_knee", "left_hip")):
        left = np.median(np.linalg.norm(at[bone[0]] - at[bone[1]], axis=1))
        right = np.median(
            np.linalg.norm(at[bone[0].replace("left", "right")] - at[bone[1].replace("left", "right")], axis=1)
        )
        assert left == pytest.approx(right, rel=0.2)


def test_msr_action3d_is_566_clips_and_one_that_is_all_zeros(sources_dir: Path, tmp_path: Path) -> None:
    source = sources_dir / "msr-action3d.zip"
    with pytest.raises(UserError, match=r"a13_s09_e02_skeleton3D\.txt is all zeros.*--skip-bad"):
        prepare("msr-action3d", source, tmp_path)
    dataset = prepare("msr-action3d", source, tmp_path, skip_bad=True)
    assert (dataset.card.n_clips, dataset.index["label"].nunique(), dataset.index["subject"].nunique()) == (566, 20, 10)
    assert list(dataset.card.skipped) == ["real_world_coordinates/a13_s09_e02_skeleton3D.txt"]
    unseen = [~dataset.bodies(row)[0].positions.any(axis=(1, 2)) for row in range(566)]
    assert sum(frames.any() for frames in unseen) == 20 - 1  # the twentieth is the clip that was left out
    worst = dataset.index["sample_id"].tolist().index("a13_s09_e03")
    assert (len(unseen[worst]), round(unseen[worst].mean(), 2)) == (936, 0.79)
    anatomy(dataset)


def test_the_usual_clips_of_msr_action3d_are_557(sources_dir: Path, tmp_path: Path) -> None:
    dataset = prepare("msr-action3d", sources_dir / "msr-action3d.zip", tmp_path, settings={"clips": "usual-557"})
    assert (dataset.card.n_clips, dataset.card.skipped) == (557, {})
    # By hand: the files of the archive that neither its text list nor its files_used.mat names.
    assert {file.partition("/")[2].removesuffix("_skeleton3D.txt") for file in dataset.card.noted} == {
        *("a02_s03_e02", "a04_s03_e01", "a07_s04_e01", "a13_s09_e01", "a13_s09_e02", "a13_s09_e03"),
        *("a14_s03_e01", "a20_s07_e01", "a20_s07_e03", "a20_s10_e03"),
    }


def test_utkinect_is_199_clips_and_one_without_a_range(sources_dir: Path, tmp_path: Path) -> None:
    dataset = prepare("utkinect", sources_dir / "utkinect.zip", tmp_path)
    assert (dataset.card.n_clips, dataset.index["label"].nunique(), dataset.index["subject"].nunique()) == (199, 10, 10)
    assert dataset.card.skipped == {}
    assert dataset.card.noted["actionLabel.txt: s10_e02 carry"] == "has no range of frames; left out"
    assert sum(file.startswith("joints/") for file in dataset.card.noted) > 10  # repeated frame numbers
    # By hand from the files: walk of the first recording is rows 252 to 390, every other number but for repeats.
    first = dataset.index.set_index("sample_id").loc["s01_e01_walk"]
    assert (first.label, first.subject) == (0, 1)
    anatomy(dataset)


def test_msr_joints_are_put_in_kinect_order(tmp_path: Path) -> None:
    dataset = prepare("msr-action3d", published.write("msr-action3d", tmp_path), tmp_path / "root")
    row = dataset.index["sample_id"].tolist().index("a20_s01_e01")
    assert dataset.index["label"][row] == 19
    np.testing.assert_allclose(dataset.bodies(row)[0].positions, kinect_v1_person(6, 18), atol=1e-6)


def test_msr_clips_that_are_not_usual_are_left_out_on_demand(tmp_path: Path) -> None:
    source = msr_action3d.write(tmp_path)
    everything = prepare("msr-action3d", source, tmp_path / "root")
    usual = prepare("msr-action3d", source, tmp_path / "usual", settings={"clips": "usual-557"})
    assert set(everything.index["sample_id"]) - set(usual.index["sample_id"]) == set(msr_action3d.NOT_USUAL)
    assert (everything.card.noted, len(usual.card.noted)) == ({}, len(msr_action3d.NOT_USUAL))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "holds no files_used_in_cvpr12_paper.txt"),
        (b"", "is no list of clips"),
        (b"a01_s01_e01\na01_s0", "is no list of clips"),
        (b"a01_s01_e01\na19_s09_e03\n", "lacks a19_s09_e03"),
    ],
)
def test_a_list_of_usual_msr_clips_that_is_not_whole_is_refused(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    name = "real_world_coordinates/files_used_in_cvpr12_paper.txt"
    source = changed(msr_action3d.write(tmp_path), name, content)
    with pytest.raises(UserError, match=reason):
        prepare("msr-action3d", source, tmp_path / "root", settings={"clips": "usual-557"})
    assert prepare("msr-action3d", source, tmp_path / "root").card.n_clips == 12  # the list is not needed


def test_a_cut_utkinect_clip_is_its_range_of_frames(tmp_path: Path) -> None:
    dataset = prepare("utkinect", published.write("utkinect", tmp_path), tmp_path / "root")
    row = dataset.index["sample_id"].tolist().index("s02_e01_sitDown")
    first, last = utkinect.CLIPS["sitDown"]
    expected = kinect_v1_person(2, 75)[first // 2 : last // 2 + 1]
    np.testing.assert_allclose(dataset.bodies(row)[0].positions, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (b"", "says nothing of s01_e01"),
        (b"s01_e01\nfly: 1 2\n", "line 2: neither a new recording nor a new action"),
        (b"walk: 1 2\n", "line 1: neither a new recording nor a new action"),
        (b"s01_e01\nwalk: 1 2\nwalk: 1 9\n", "line 3: neither a new recording nor a new action"),
        (b"s01_\xe901\n", "is no plain text"),
        (b"\xff\xfes", "begins like a text in UTF-16"),
    ],
)
def test_a_label_file_that_is_none_is_refused_with_its_line(tmp_path: Path, labels: bytes, reason: str) -> None:
    source = changed(published.write("utkinect", tmp_path), "joints/actionLabel.txt", labels)
    with pytest.raises(UserError, match=reason):
        prepare("utkinect", source, tmp_path / "root")


def test_a_utkinect_recording_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    source = changed(utkinect.write(tmp_path), "copy/joints_s01_e01.txt", b"")
    with pytest.raises(UserError, match=r"copy/joints_s01_e01\.txt and joints/joints_s01_e01\.txt are one recording"):
        prepare("utkinect", source, tmp_path / "root")


def test_a_utkinect_recording_that_is_missing_is_named(tmp_path: Path) -> None:
    source = changed(utkinect.write(tmp_path), "joints/joints_s01_e02.txt", None)
    with pytest.raises(UserError, match=r"joints_s01_e02\.txt is not there, though actionLabel\.txt names it"):
        prepare("utkinect", source, tmp_path / "root")
    dataset = prepare("utkinect", source, tmp_path / "root", skip_bad=True)
    assert (dataset.card.n_clips, list(dataset.card.skipped)) == (3 * len(utkinect.CLIPS), ["joints_s01_e02.txt"])


def test_utkinect_clips_past_the_end_of_a_cut_recording_are_named(tmp_path: Path) -> None:
    name = "joints/joints_s01_e01.txt"
    whole = utkinect.write(tmp_path)
    with zipfile.ZipFile(whole) as zipped:
        lines = zipped.read(name).splitlines(keepends=True)
    source = changed(whole, name, b"".join(lines[:50]))  # up to frame 98; standUp ends at 112
    with pytest.raises(UserError, match=r"s01_e01_standUp ends at frame 112.*joints_s01_e01\.txt is cut short"):
        prepare("utkinect", source, tmp_path / "root")
    dataset = prepare("utkinect", source, tmp_path / "root", skip_bad=True)
    assert set(dataset.card.skipped) == {"s01_e01_standUp", "s01_e01_clapHands"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"1 2 3 4\n", "no multiple of 20 joints"), (b"1 2 3\n", "has 3 numbers in row 1"), (b"1 2 x 4\n", "no number")],
)
def test_an_msr_file_that_is_no_clip_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    name = "real_world_coordinates/a01_s01_e01_skeleton3D.txt"
    source = changed(msr_action3d.write(tmp_path), name, content)
    with pytest.raises(UserError, match=rf"a01_s01_e01_skeleton3D\.txt.*{reason}"):
        prepare("msr-action3d", source, tmp_path / "root")


def test_sysu_people_are_numbered_by_name_and_actions_by_folder(tmp_path: Path) -> None:
    dataset = prepare("sysu-3d-hoi", sysu_3d_hoi.write(tmp_path), tmp_path / "root")
    row = dataset.index["sample_id"].tolist().index("s02_a05")  # bo, the second person; video5, the fifth action
    assert (dataset.index["subject"][row], dataset.card.classes[dataset.index["label"][row]]) == (
        2,
        "wearing backpacks",
    )
    np.testing.assert_allclose(dataset.bodies(row)[0].positions, kinect_v1_person(6, 18), atol=1e-6)


def test_a_sysu_clip_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    source = sysu_3d_hoi.write(tmp_path)
    with zipfile.ZipFile(source, "a") as zipped:
        zipped.writestr("copy/anna/video1/sklWorld.mat", b"")
    with pytest.raises(UserError, match="are one clip; remove one"):
        prepare("sysu-3d-hoi", source, tmp_path / "root")
