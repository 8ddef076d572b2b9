"""HDM05: which clips there are, whose they are, and where their joints stand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.classes import class_texts
from mmcl_bench.datasets.formats.archive import BadFile, open_archive
from mmcl_bench.datasets.formats.asf_amc import joint_positions, read_amc, read_asf
from mmcl_bench.datasets.readers.hdm05 import ACTORS, BONES, MOTIONS, Hdm05
from mmcl_bench.datasets.store import Clip
from mmcl_bench.skeleton.layouts import HDM05
from published.hdm05 import motion_file, skeleton_file, swaying, write


def no_bad(name: str, reason: str) -> None:
    raise AssertionError((name, reason))


def clips(source: Path, **settings: str) -> list[Clip]:
    reader = Hdm05(**settings)
    with open_archive(source) as archive:
        return [clip for unit in reader.units(archive) for clip in reader.clips(archive, unit, no_bad)]


def a_take(folder: Path, take: str, motion: bytes, skeletons: dict[str, bytes]) -> Path:
    for name, content in {take: motion, **skeletons}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("hdm05"))


def test_names_say_class_and_actor(source: Path) -> None:
    found = {clip.sample_id: (clip.label, clip.subject) for clip in clips(source)}
    assert len(found) == 15
    assert found["HDM_bd_depositFloorR_001_120"] == (0, 1)
    assert found["HDM_dg_squat1Reps_009_120"] == (9, 3)
    assert found["HDM_tr_kickLFront1Reps_014_120"] == (5, 5)


def test_joints_stand_in_the_order_of_the_layout_in_every_fourth_frame(source: Path) -> None:
    clip = next(clip for clip in clips(source) if clip.sample_id == "HDM_bd_depositFloorR_001_120")
    skeleton = read_asf(skeleton_file())
    ends = joint_positions(skeleton, read_amc(motion_file(swaying(0, 48)), skeleton))[::4]
    positions = clip.bodies[0].positions
    assert positions.shape == (clip.n_frames, len(HDM05), 3) == (12, 31, 3)
    at = list(skeleton.bones)
    for joint, bone in (("left_shoulder", "lclavicle"), ("right_wrist", "rwrist"), ("left_knee", "lfemur")):
        np.testing.assert_allclose(positions[:, HDM05.index(joint)], ends[:, at.index(bone)], rtol=1e-6)
    assert (positions[:, HDM05.index("head"), 1] - positions[:, HDM05.index("left_toes"), 1] > 1).all()


def test_bones_of_the_layout_hang_as_in_the_skeletons() -> None:
    skeleton = read_asf(skeleton_file())
    joint_of = dict(zip(BONES, HDM05.joints, strict=True))
    hierarchy = {
        frozenset((joint_of[name], joint_of[bone.parent])) for name, bone in skeleton.bones.items() if bone.parent
    }
    assert {frozenset(bone) for bone in HDM05.bones} == hierarchy


@pytest.mark.parametrize(("every", "n_frames", "rate"), [("1", 48, 120), ("4", 12, 30), ("5", 10, 24), ("120", 1, 1)])
def test_the_rate_may_be_chosen(source: Path, every: str, n_frames: int, rate: float) -> None:
    assert clips(source, every=every)[0].n_frames == n_frames
    with open_archive(source) as archive:
        card = Hdm05(every=every).card(archive)
    assert card.frame_rate == rate
    assert card.settings == {"every": int(every)}


@pytest.mark.parametrize("every", ["0", "-4", "121", "x", "2.5"])
def test_an_odd_rate_is_refused(every: str) -> None:
    with pytest.raises(UserError, match=r"hdm05: setting every: .*; its settings: every"):
        Hdm05(every=every)


def test_a_skeleton_in_another_folder_serves(tmp_path: Path) -> None:
    motion = motion_file(swaying(1, 8))
    folder = a_take(tmp_path, "cut/a/HDM_mm_sneak2StepsLStart_007_120.amc", motion, {"asf/HDM_mm.asf": skeleton_file()})
    (clip,) = clips(folder)
    assert (clip.label, clip.subject, clip.n_frames) == (8, 4, 2)


@pytest.mark.parametrize(
    ("skeletons", "reason"),
    [
        ({"HDM_tr.asf": skeleton_file()}, "comes without its skeleton HDM_mm.asf"),
        ({"HDM_mm.asf": skeleton_file()[:700]}, "needs HDM_mm.asf, which "),
        ({"HDM_mm.asf": skeleton_file().replace(b"lthumb", b"xthumb")}, "needs HDM_mm.asf, which lacks bone 'lthumb'"),
        (
            {"HDM_mm.asf": skeleton_file().replace(b"dof rx ry rz", b"dof rx ry", 1)},
            "where its first frame should name a bone",
        ),
    ],
)
def test_a_take_without_a_good_skeleton_is_bad(tmp_path: Path, skeletons: dict[str, bytes], reason: str) -> None:
    folder = a_take(tmp_path, "HDM_mm_squat1Reps_037_120.amc", motion_file(swaying(1, 8)), skeletons)
    with pytest.raises(BadFile, match=reason):
        clips(folder)


def test_other_motions_of_the_whole_database_are_left_alone(tmp_path: Path) -> None:
    """The owners' zip of cut motions has 130 classes and other spellings of the same motion."""
    folder = a_take(tmp_path, "HDM_bd_squat3Reps_001_120.amc", b"", {"HDM_bd.asf": skeleton_file()})
    with pytest.raises(
        UserError, match=r"not HDM05, eleven motions: holds none of its HDM_xx_motion_NNN_120\.amc; see http"
    ):
        clips(folder)


def test_classes_are_named_as_their_files() -> None:
    names = class_texts("hdm05").names
    assert list(names) == sorted(names, key=str.lower)
    assert all(motion.startswith(name) for motion, name in zip(MOTIONS, names, strict=True))


def test_published_motions_stand_on_the_floor_and_keep_their_bones(sources_dir: Path) -> None:
    source = sources_dir / "hdm05.zip"
    reader = Hdm05()
    with open_archive(source) as archive:
        units = reader.units(archive)
        takes = [next(unit for unit in units if f"HDM_{actor}_kick" in unit.file) for actor in ACTORS]
        found = [clip for unit in takes for clip in reader.clips(archive, unit, no_bad)]
    assert len(units) == 287
    for clip in found:
        positions = clip.bodies[0].positions
        toes = positions[:, [HDM05.index("left_toes"), HDM05.index("right_toes")], 1].min(1)
        assert abs(np.median(toes)) < 0.06
        assert 1.4 < positions[0, HDM05.index("head"), 1] < 1.9
        for child, parent in HDM05.bone_pairs:
            lengths = np.linalg.norm(positions[:, child] - positions[:, parent], axis=1)
            assert np.ptp(lengths) < 1e-5


def test_folders_part_the_published_actors_as_the_side_says(sources_dir: Path) -> None:
    with zipfile.ZipFile(sources_dir / "hdm05.zip") as zipped:
        places = {(name.split("/")[0], name.split("_")[1]) for name in zipped.namelist() if name.endswith(".amc")}
    side = Hdm05.sides["folders"]
    assert {1 + ACTORS.index(actor) for place, actor in places if place == "train"} == set(side.train)
    assert {1 + ACTORS.index(actor) for place, actor in places if place == "test"} == set(side.test)
