"""Reading published files: right where they are right, refused by name where they are not."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats import archive
from mmcl_bench.datasets.formats.archive import BadFile, open_archive
from mmcl_bench.datasets.formats.mat5 import read_array
from mmcl_bench.datasets.readers import READERS, clip_fault
from mmcl_bench.datasets.store import Clip
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.layouts import KINECT_V1

NW_UCLA_NAME = "all_sqe/a03_s02_e01_v03.json"
UTD_NAME = "Skeleton/a5_s2_t3_skeleton.mat"


def body(n_frames: int = 3, n_joints: int = 20) -> np.ndarray:
    """Synthetic positions (T, V, 3) in which every number differs."""
    return np.arange(n_frames * n_joints * 3, dtype=np.float64).reshape(n_frames, n_joints, 3) / 100


def nw_ucla_file(skeletons: Any, label: int = 3) -> bytes:
    return json.dumps({"file_name": "x", "skeletons": np.asarray(skeletons).tolist(), "label": label}).encode()


def mat_file(array: Any, name: str = "d_skel", **options: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, {name: array}, **options)
    return file.getvalue()


def zip_file(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return path


def read(name: str, source: Path | None) -> tuple[list[Clip], dict[str, str]]:
    """The clips of a source, and the files that the reader called bad."""
    bad: dict[str, str] = {}
    clips: list[Clip] = []
    reader = READERS.get(name)()
    with reader.open(source) as files:
        for unit in reader.units(files):
            try:
                clips.extend(reader.clips(files, unit, bad.__setitem__))
            except BadFile as error:
                bad[unit.file] = str(error)
    return clips, bad


# The published sets


@pytest.mark.parametrize(("name", "n_clips", "n_classes"), [("nw-ucla", 1484, 10), ("utd-mhad", 861, 27)])
def test_published_sets_are_read_whole_upright_and_in_metres(
    sources_dir: Path, name: str, n_clips: int, n_classes: int
) -> None:
    clips, bad = read(name, sources_dir / f"{name}.zip")
    assert bad == {}
    assert len(clips) == n_clips
    assert {clip.label for clip in clips} == set(range(n_classes))
    assert [clip_fault(clip, 20, n_classes) for clip in clips] == [None] * n_clips
    assert len({clip.sample_id for clip in clips}) == n_clips
    for side in READERS.get(name).sides.values():
        assert set(side.train).isdisjoint(side.test)
        assert {getattr(clip, side.column) for clip in clips} == {*side.train, *side.test}

    mean = np.stack([clip.bodies[0].positions.mean(axis=0) for clip in clips])
    head, hip = mean[:, KINECT_V1.index("head")], mean[:, KINECT_V1.index("hip_center")]
    feet = mean[:, [KINECT_V1.index("left_foot"), KINECT_V1.index("right_foot")]].mean(axis=1)
    assert (head[:, 1] > hip[:, 1]).all()
    assert (hip[:, 1] > feet[:, 1]).all()
    assert 1.2 < np.median(head[:, 1] - feet[:, 1]) < 1.7  # metres between head and foot joints of an adult
    assert (hip[:, 2] > 0.8).all()  # a Kinect sees nothing nearer
    if name == "utd-mhad":  # everyone faces the camera, whose x axis points to its own left
        shoulders = mean[:, KINECT_V1.index("left_shoulder")] - mean[:, KINECT_V1.index("right_shoulder")]
        assert (shoulders[:, 0] < 0).all()


def test_published_matlab_files_are_read_as_scipy_reads_them(sources_dir: Path) -> None:
    with open_archive(sources_dir / "utd-mhad.zip") as files:
        for name in files.names()[:100]:
            content = files.read(name)
            if name.endswith(".mat"):
                np.testing.assert_array_equal(read_array(content, "d_skel"), loadmat(io.BytesIO(content))["d_skel"])


# One clip


def test_nw_ucla_numbers_come_from_the_file_name(tmp_path: Path) -> None:
    # Action 8 is the seventh class: the set has no action 7.
    source = zip_file(tmp_path / "set.zip", {"all_sqe/a08_s10_e01_v02.json": nw_ucla_file(body(), label=7)})
    [clip], _ = read("nw-ucla", source)
    assert (clip.sample_id, clip.label, clip.subject, clip.camera) == ("a08_s10_e01_v02", 6, 10, 2)
    assert clip.n_frames == 3
    np.testing.assert_array_equal(clip.bodies[0].positions, body().astype(np.float32))


def test_utd_mhad_joints_are_put_in_kinect_order(tmp_path: Path) -> None:
    # The joint order that the set's own Skeleton_joint_order.txt gives.
    trunk = ["head", "shoulder_center", "spine", "hip_center"]
    arms = [f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist", "hand")]
    legs = [f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle", "foot")]
    in_file = [*trunk, *arms, *legs]
    source = zip_file(tmp_path / "set.zip", {UTD_NAME: mat_file(body().transpose(1, 2, 0))})
    [clip], _ = read("utd-mhad", source)
    assert (clip.sample_id, clip.label, clip.subject, clip.n_frames) == ("a5_s2_t3", 4, 2, 3)
    for joint in KINECT_V1.joints:
        np.testing.assert_array_equal(
            clip.bodies[0].positions[:, KINECT_V1.index(joint)], body()[:, in_file.index(joint)].astype(np.float32)
        )


def test_a_folder_is_read_like_the_zip(tmp_path: Path) -> None:
    members = {f"deep/all_sqe/a03_s{subject:02}_e01_v03.json": nw_ucla_file(body(subject)) for subject in (2, 1)}
    folder = tmp_path / "set"
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    from_folder, _ = read("nw-ucla", folder)
    from_zip, _ = read("nw-ucla", zip_file(tmp_path / "set.zip", members))
    assert [clip.sample_id for clip in from_folder] == [clip.sample_id for clip in from_zip]
    assert [clip.n_frames for clip in from_folder] == [clip.n_frames for clip in from_zip] == [1, 2]


# Sources that are no such set


def _not_a_zip(folder: Path) -> Path:
    (folder / "set.zip").write_bytes(b"PK no zip at all")
    return folder / "set.zip"


def _cut_short(folder: Path) -> Path:
    path = zip_file(folder / "set.zip", {NW_UCLA_NAME: nw_ucla_file(body())})
    path.write_bytes(path.read_bytes()[:-40])
    return path


def _encrypted(folder: Path) -> Path:
    path = zip_file(folder / "set.zip", {NW_UCLA_NAME: nw_ucla_file(body())})
    content = bytearray(path.read_bytes())
    for header, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags_at] |= 1
    path.write_bytes(content)
    return path


def _lzma(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_LZMA) as zipped:
        zipped.writestr(NW_UCLA_NAME, nw_ucla_file(body()))
    return folder / "set.zip"


def _folder_of_zips(folder: Path) -> Path:
    zip_file(folder / "nw-ucla.zip", {NW_UCLA_NAME: nw_ucla_file(body())})
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_not_a_zip, "not a zip, or cut short"),
        (_cut_short, "is a zip that is cut short"),
        (_encrypted, "every file in it is encrypted"),
        (_lzma, "every file in it is packed by another method"),
        (lambda folder: zip_file(folder / "set.zip", {}), "holds none of its"),
        (lambda folder: zip_file(folder / "set.zip", {UTD_NAME: b""}), "not Northwestern-UCLA"),
        (_folder_of_zips, "holds none of its"),
        (lambda folder: folder / "absent.zip", "no such file or folder"),
        (lambda folder: zip_file(folder / "set.zip", {"../" + NW_UCLA_NAME: b"{}"}), "climbs out"),
        (lambda folder: zip_file(folder / "set.zip", {"/etc/" + NW_UCLA_NAME: b"{}"}), "climbs out"),
        (lambda folder: zip_file(folder / "set.zip", {"C:\\" + NW_UCLA_NAME: b"{}"}), "climbs out"),
        (lambda folder: zip_file(folder / "set.zip", {"a\n/" + NW_UCLA_NAME: b"{}"}), "control characters"),
    ],
    ids=[
        "no zip",
        "cut short",
        "encrypted",
        "lzma",
        "empty",
        "other set",
        "folder of zips",
        "absent",
        "dots",
        "root",
        "drive",
        "newline",
    ],
)
def test_a_source_that_is_not_the_set_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    source = make(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        read("nw-ucla", source)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as zipped:
        zipped.writestr(NW_UCLA_NAME, nw_ucla_file(body()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            zipped.writestr(NW_UCLA_NAME, nw_ucla_file(body()))
    with pytest.raises(UserError, match=rf"{NW_UCLA_NAME}' twice"):
        read("nw-ucla", tmp_path / "set.zip")


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    # zipfile itself ends in an IndexError when it is asked whether such a member is a folder.
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as zipped:
        zipped.writestr(zipfile.ZipInfo(""), b"")
    with pytest.raises(UserError, match=r"set\.zip: member '' has no name") as caught:
        read("nw-ucla", tmp_path / "set.zip")
    assert "\n" not in str(caught.value)


# Members that cannot be used


def _link(folder: Path) -> Path:
    member = zipfile.ZipInfo(NW_UCLA_NAME)
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(folder / "set.zip", "w") as zipped:
        zipped.writestr(member, "/etc/passwd")
    return folder / "set.zip"


def _link_in_folder(folder: Path) -> Path:
    outside = folder / "outside.json"
    outside.write_bytes(nw_ucla_file(body()))
    (folder / "set" / NW_UCLA_NAME).parent.mkdir(parents=True)
    (folder / "set" / NW_UCLA_NAME).symlink_to(outside)
    return folder / "set"


def _pipe_in_folder(folder: Path) -> Path:
    (folder / "set" / NW_UCLA_NAME).parent.mkdir(parents=True)
    os.mkfifo(folder / "set" / NW_UCLA_NAME)
    return folder / "set"


def _corrupt(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w") as zipped:
        zipped.writestr(NW_UCLA_NAME, nw_ucla_file(body()))
    content = (folder / "set.zip").read_bytes()
    (folder / "set.zip").write_bytes(content.replace(b"skeletons", b"sk3l3t0ns", 1))
    return folder / "set.zip"


def _bomb(folder: Path) -> Path:
    path = zip_file(folder / "set.zip", {NW_UCLA_NAME: nw_ucla_file(body())})
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, archive.MAX_MEMBER_BYTES + 1)
    path.write_bytes(content)
    return path


def _lying_bomb(folder: Path) -> Path:
    """A member of 256 MiB that the zip's directory calls 1 KiB large."""
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(NW_UCLA_NAME, bytes(256 << 20))
    content = bytearray((folder / "set.zip").read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 1 << 10)
    (folder / "set.zip").write_bytes(content)
    return folder / "set.zip"


def test_a_zip_bomb_that_lies_of_its_size_takes_no_memory(tmp_path: Path) -> None:
    source = _lying_bomb(tmp_path)
    tracemalloc.start()
    clips, bad = read("nw-ucla", source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert clips == []
    assert "is damaged" in bad[NW_UCLA_NAME]
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_link, "is a link"),
        (_link_in_folder, "is a link"),
        (_pipe_in_folder, "is not a plain file"),
        (_corrupt, "is damaged"),
        (_bomb, "MiB is refused"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_named(tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    clips, bad = read("nw-ucla", make(tmp_path))
    assert clips == []
    assert list(bad) == [NW_UCLA_NAME]
    assert reason in bad[NW_UCLA_NAME]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not as published"),
        (b"[" * 100_000, "is not as published"),
        (b'{"label": 3}', "skeletons: Field required"),
        (b'{"label": 3, "skeletons": [[[1, 2]]]}', "skeletons.0.0.2: Field required"),
        (b'{"label": 3, "skeletons": [[[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]]}', "differing joint counts"),
        (nw_ucla_file(body(), label=4), "says label 4; its name says 3"),
    ],
)
def test_an_nw_ucla_file_that_is_no_clip_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    clips, bad = read("nw-ucla", zip_file(tmp_path / "set.zip", {NW_UCLA_NAME: content}))
    assert clips == []
    assert reason in bad[NW_UCLA_NAME]
    assert "\n" not in bad[NW_UCLA_NAME]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a little-endian MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", "is a MATLAB 7.3 file (HDF5); save it in MATLAB"),
        (b"\x89HDF\r\n\x1a\n", "is a MATLAB 7.3 file (HDF5); save it in MATLAB"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer"),
        (mat_file(body().transpose(1, 2, 0), name="skeleton"), "holds no 'd_skel' array"),
        (mat_file(body()[0]), "shape (20, 3)"),
        (mat_file(body(n_joints=25).transpose(1, 2, 0)), "shape (25, 3, 3)"),
        (mat_file(body().transpose(1, 2, 0) * 1j), "no array of real numbers"),
        (mat_file(np.array(["text"])), "no array of real numbers"),
        (mat_file({"a": 1}), "no array of real numbers"),
        (mat_file(body().transpose(1, 2, 0), do_compression=True)[:-9], "is cut short"),
    ],
)
def test_a_utd_mhad_file_that_is_no_clip_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    clips, bad = read("utd-mhad", zip_file(tmp_path / "set.zip", {UTD_NAME: content}))
    assert clips == []
    assert reason in bad[UTD_NAME]


@pytest.mark.parametrize(
    ("name", "member"), [("nw-ucla", "a07_s01_e01_v01.json"), ("utd-mhad", "a28_s1_t1_skeleton.mat")]
)
def test_an_action_that_the_set_lacks_is_named(tmp_path: Path, name: str, member: str) -> None:
    _, bad = read(name, zip_file(tmp_path / "set.zip", {member: b""}))
    assert "has action" in bad[member]


def test_the_rest_of_a_set_is_read_past_a_bad_file(tmp_path: Path) -> None:
    members = {NW_UCLA_NAME: b"", NW_UCLA_NAME.replace("s02", "s03"): nw_ucla_file(body())}
    clips, bad = read("nw-ucla", zip_file(tmp_path / "set.zip", members))
    assert [clip.sample_id for clip in clips] == ["a03_s03_e01_v03"]
    assert list(bad) == [NW_UCLA_NAME]


# Clips that no task can use


def _clip(*tracks: BodyTrack, n_frames: int = 3) -> Clip:
    return Clip(sample_id="c", label=0, subject=1, n_frames=n_frames, bodies=tracks)


def _with(value: float) -> np.ndarray:
    positions = body()
    positions[1, 2, 0] = value
    return positions


@pytest.mark.parametrize(
    ("clip", "fault"),
    [
        (_clip(), "shows nobody in any of its 3 frames"),
        (_clip(n_frames=1), "shows nobody in its one frame"),
        (_clip(n_frames=0), "has no frames"),
        (_clip(BodyTrack(0, body()), BodyTrack(0, body(0))), "has a body without frames"),
        (_clip(BodyTrack(0, body()), BodyTrack(0, np.array(1.0))), "has an array of shape ()"),
        (replace(_clip(BodyTrack(0, body())), label=1), "has label 1; the set has 1 classes"),
        (replace(_clip(BodyTrack(0, body())), label=-1), "has label -1"),
        (_clip(BodyTrack(0, body(0)), n_frames=0), "has no frames"),
        (_clip(BodyTrack(0, np.zeros((3, 20, 3)))), "is all zeros or NaN: it shows nobody in any of its 3 frames"),
        (_clip(BodyTrack(0, _with(np.nan))), "NaN or infinite"),
        (_clip(BodyTrack(0, body()), BodyTrack(0, _with(np.inf))), "NaN or infinite"),
        (_clip(BodyTrack(0, body(n_joints=25))), "has 25 joints; expected 20"),
        (_clip(BodyTrack(0, body()[0])), "shape (20, 3)"),
        (_clip(BodyTrack(0, _with(-1700))), "1.7e+03 m away"),
        (_clip(BodyTrack(1, body())), "outside its 3 frames"),
        (_clip(BodyTrack(0, body())), None),
        (_clip(BodyTrack(0, body()), BodyTrack(1, np.zeros((2, 20, 3)))), None),
    ],
)
def test_an_unusable_clip_has_a_fault_in_words(clip: Clip, fault: str | None) -> None:
    found = clip_fault(clip, 20, 1)
    assert found is None if fault is None else found is not None and fault in found


# Matlab files


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_arrays_of_matlab_files_are_read_as_scipy_reads_them(dtype: str, compressed: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    file = io.BytesIO()
    savemat(file, {"before": np.eye(3), "d": array, "after": "text"}, do_compression=compressed)
    np.testing.assert_array_equal(read_array(file.getvalue(), "d"), loadmat(io.BytesIO(file.getvalue()))["d"])


def test_a_single_number_of_a_matlab_file_is_read() -> None:
    # Its data fit into the tag of their element.
    file = io.BytesIO()
    savemat(file, {"d": np.int16(7)})
    assert read_array(file.getvalue(), "d").tolist() == [[7]]


def test_a_compressed_matlab_file_cannot_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcl_bench.datasets.formats.mat5.MAX_MEMBER_BYTES", 1 << 20)
    with pytest.raises(BadFile, match="larger than 1 MiB"):
        read_array(mat_file(np.zeros((20, 3, 10_000)), do_compression=True), "d_skel")


MUTATIONS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6)


def _mutated(content: bytes, mutations: list[tuple[int, int]]) -> bytes:
    mutated = bytearray(content)
    for at, value in mutations:
        mutated[at % len(mutated)] = value
    return bytes(mutated)


@settings(max_examples=300)
@given(mutations=MUTATIONS, compressed=st.booleans())
def test_a_mutated_matlab_file_is_read_or_refused(mutations: list[tuple[int, int]], compressed: bool) -> None:
    content = mat_file(body(1).transpose(1, 2, 0), do_compression=compressed)
    # Byte 128 is the first that is not free text and version.
    content = content[:128] + _mutated(content[128:], mutations)
    try:
        array = read_array(content, "d_skel")
    except BadFile:
        return
    assert array.dtype == np.float64
