"""NTU RGB+D in pyskl's pickles: against the very arrays that were pickled."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.readers.pyskl import Ntu60Pyskl, Ntu120Pyskl
from mmcl_bench.datasets.store import SkeletonDataset
from published.ntu60_pyskl import annotated, annotation

NAMES = ["S001C001P001R001A009", "S017C002P003R002A050", "S002C003P040R001A060"]


def content_of(names: list[str]) -> dict[str, Any]:
    return annotated(names, "xview", lambda name: "C001" not in name)


def source_of(content: object, folder: Path, protocol: int = 2) -> Path:
    path = folder / "ntu60_3danno.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def prepared(content: object, folder: Path, **options: Any) -> SkeletonDataset:
    return prepare("ntu60-pyskl", source_of(content, folder), folder / "root", workers=1, **options)


def refusal(content: object, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        prepared(content, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_positions_and_numbers_are_those_of_the_file(protocol: int, tmp_path: Path) -> None:
    content = content_of(NAMES)
    dataset = prepare("ntu60-pyskl", source_of(content, tmp_path, protocol), tmp_path / "root", workers=1)
    expected = {each["frame_dir"]: each for each in content["annotations"]}
    assert list(dataset.index["sample_id"]) == sorted(NAMES)
    for row, clip in enumerate(dataset.index.itertuples()):
        each = expected[clip.sample_id]
        numbers = [int(number) for number in re.findall(r"\d+", clip.sample_id)]
        assert [clip.setup, clip.camera, clip.subject, numbers[3], clip.label + 1] == numbers
        assert clip.n_frames == each["total_frames"]
        bodies = np.stack([body.positions for body in dataset.bodies(row)])
        np.testing.assert_array_equal(bodies, each["keypoint"].astype(np.float32))


def test_every_protocol_gives_the_same_set(tmp_path: Path) -> None:
    prints = set()
    for protocol in (0, 2, 5):
        path = source_of(content_of(NAMES), tmp_path, protocol)
        prints.add(prepare("ntu60-pyskl", path, tmp_path / str(protocol), workers=1).card.fingerprint)
    assert len(prints) == 1


def test_a_body_has_a_track_from_its_first_to_its_last_frame(tmp_path: Path) -> None:
    content = content_of(["S001C001P001R001A050"])
    keypoint = content["annotations"][0]["keypoint"]
    keypoint[1, :3] = keypoint[1, 5] = keypoint[1, 9:] = 0
    (_, second) = prepared(content, tmp_path).bodies(0)
    assert (second.start, len(second.positions)) == (3, 6)
    assert not second.positions[2].any()
    np.testing.assert_array_equal(second.positions, keypoint[1, 3:9].astype(np.float32))


def test_an_absent_body_is_no_track(tmp_path: Path) -> None:
    content = content_of(["S001C001P001R001A050"])
    content["annotations"][0]["keypoint"][0] = 0
    (only,) = prepared(content, tmp_path).bodies(0)
    np.testing.assert_array_equal(only.positions, content["annotations"][0]["keypoint"][1].astype(np.float32))


@pytest.mark.parametrize(("name", "file"), [("ntu60-pyskl", "."), ("ntu120-pyskl", "ntu120_3danno.pkl")])
def test_sides_are_those_that_the_file_lists(name: str, file: str, tmp_path: Path) -> None:
    source = published.write(name, tmp_path)
    split = pickle.loads((source / file).read_bytes())["split"]  # noqa: S301 - made by the test
    dataset = prepare(name, source, tmp_path / "root", workers=1)
    for side, short in {"x-sub": "xsub", "x-view": "xview", "x-set": "xset"}.items():
        if side in dataset.card.sides:
            parting = dataset.card.sides[side]
            train = dataset.index[parting.column].isin(parting.train)
            assert sorted(dataset.index["sample_id"][train]) == sorted(split[f"{short}_train"])
            assert sorted(dataset.index["sample_id"][~train]) == sorted(split[f"{short}_val"])


def spoilt(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = content_of(NAMES)
    change(content["annotations"][1])
    return content


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda each: each.update(label=48), "another label"),
        (lambda each: each.update(label=True), "another label"),
        (lambda each: each.update(label="49"), "another label"),
        (lambda each: each.update(total_frames=3), "total_frames"),
        (lambda each: each.pop("total_frames"), "total_frames"),
        (lambda each: each.update(keypoint=None), "no positions"),
        (lambda each: each.update(keypoint=each["keypoint"][0]), "expected bodies x frames"),
        (lambda each: each.update(keypoint=each["keypoint"][:, :, :17]), "expected bodies x frames"),
        (lambda each: each.update(keypoint=each["keypoint"].astype(int)), "expected bodies x frames"),
        (lambda each: each.update(keypoint=each["keypoint"] * np.nan), "NaN"),
        (lambda each: each.update(keypoint=each["keypoint"] * 0), "shows nobody in any of its"),
        (lambda each: each.update(frame_dir="S018C001P001R001A050"), "no sample of"),
        (lambda each: each.update(frame_dir="S001C001P001R001A061"), "no sample of"),
        (lambda each: each.update(frame_dir="dancing"), "unlike a sample"),
        (lambda each: each.update(frame_dir="S\n"), "unlike a sample"),
        (lambda each: each.clear(), "no positions"),
    ],
)
def test_a_bad_annotation_is_refused_or_left_out_alone(
    change: Callable[[dict[str, Any]], object], reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(spoilt(change), tmp_path)
    kept = prepared(spoilt(change), tmp_path, skip_bad=True)
    assert sorted(kept.index["sample_id"]) == sorted([NAMES[0], NAMES[2]])
    assert len(kept.card.skipped) == 1


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"annotations": [], "split": []},
        {"annotations": {}, "split": {}},
        {"annotations": [], "split": {"xview_train": []}},
        {"annotations": [None, 3, [], "x"], "split": {"xview_train": []}},
    ],
    ids=repr,
)
def test_another_pickle_is_refused(content: object, tmp_path: Path) -> None:
    refusal(content, tmp_path)


def test_clips_that_share_their_positions_cannot_fill_the_disk(tmp_path: Path) -> None:
    content = content_of(NAMES[:1])
    content["annotations"] *= 50
    assert "share their positions" in refusal(content, tmp_path)


@pytest.mark.parametrize(
    ("splits", "whose"),
    [
        (["xsub_train", "xsub_val", "xset_train", "xset_val"], "ntu120_3danno.pkl; prepare it as ntu120-pyskl"),
        (["train1", "test1", "train2"], "ucf101_hrnet.pkl or hmdb51_hrnet.pkl"),
        (["train", "val"], "gym_hrnet.pkl or k400_hrnet.pkl"),
        (["train", "test"], "diving48_hrnet.pkl"),
        (["first"], "no ntu60_3danno.pkl"),
    ],
)
def test_the_file_of_another_set_is_called_what_it_is(splits: list[str], whose: str, tmp_path: Path) -> None:
    line = refusal({**content_of(NAMES), "split": {split: [] for split in splits}}, tmp_path)
    assert "no split xview_train" in line
    assert whose in line


def test_key_points_of_the_same_set_are_called_what_they_are(tmp_path: Path) -> None:
    content = content_of(NAMES)
    for each in content["annotations"]:
        each.update(keypoint=each["keypoint"][:, :, :17, :2], keypoint_score=each["keypoint"][:, :, :17, 0])
    assert "holds 2D key points, as pyskl's hrnet files do" in refusal(content, tmp_path)


def test_a_zip_of_the_file_is_called_what_it_is(tmp_path: Path) -> None:
    path = source_of(content_of(NAMES), tmp_path)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as zipped:
        zipped.write(path, path.name)
    with pytest.raises(UserError, match="is a zip, from which the file must be unpacked"):
        prepare("ntu60-pyskl", tmp_path / "set.zip", tmp_path / "root", workers=1)


def test_a_pickle_that_runs_something_is_refused_without_running_it(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'mark'}",)

    content = content_of(NAMES)
    content["annotations"].append({**annotation(NAMES[0], 1), "img_shape": Attack()})
    assert "asks for 'posix.system'" in refusal(content, tmp_path)
    assert not (tmp_path / "mark").exists()


# What --source may be


def test_a_folder_with_the_file_does_as_well(tmp_path: Path) -> None:
    path = source_of(content_of(NAMES), tmp_path)
    of_file = prepare("ntu60-pyskl", path, tmp_path / "of-file", workers=1)
    of_folder = prepare("ntu60-pyskl", tmp_path, tmp_path / "of-folder", workers=1)
    assert of_file.card.fingerprint == of_folder.card.fingerprint


@pytest.mark.parametrize("reader", [Ntu60Pyskl, Ntu120Pyskl])
@pytest.mark.parametrize("kind", ["link", "linked folder", "pipe", "absent", "empty folder", "folder of that name"])
def test_what_is_no_plain_file_is_refused_in_one_line(
    reader: type[Ntu60Pyskl | Ntu120Pyskl], kind: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    real = source_of(content_of(NAMES), tmp_path)
    if kind == "link":
        source.symlink_to(real)
    elif kind == "linked folder":
        source.symlink_to(tmp_path)
    elif kind == "pipe":
        os.mkfifo(source)
    elif kind == "empty folder":
        source.mkdir()
    elif kind == "folder of that name":
        (source / reader.published).mkdir(parents=True)
    with pytest.raises(UserError) as caught, reader().open(source):
        pass
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_file_has_another_identity(tmp_path: Path) -> None:
    path = source_of(content_of(NAMES), tmp_path)
    with Ntu60Pyskl().open(tmp_path) as archive:
        before = archive.identity()
    path.write_bytes(path.read_bytes() + b"more")
    with Ntu60Pyskl().open(tmp_path) as archive:
        assert archive.identity() != before
