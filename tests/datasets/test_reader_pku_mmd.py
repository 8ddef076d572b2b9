"""PKU-MMD: against numpy.loadtxt and intervals written by hand."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.readers import listed_samples
from mmcl_bench.datasets.readers.pku_mmd import read_frames
from mmcl_bench.datasets.store import SkeletonDataset
from published.pku_mmd import Interval, label_file, skeleton_file, split_file, video

SKELETON, LABELS, SUBJECTS = "Skeleton/0007-M.txt", "Label_PKU/0007-M.txt", "Split/cross-subject.txt"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with one video of fifty frames and three labelled intervals."""
    folder = tmp_path / "pku"
    put(folder, SKELETON, skeleton_file(video(1, 2)))
    put(folder, LABELS, label_file([Interval(1, 1, 10), Interval(51, 11, 11), Interval(26, 5, 50)]))
    put(folder, SUBJECTS, split_file(["0007-M"], ["0008-M"]))
    return folder


def put(folder: Path, name: str, content: bytes | str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def prepared(source: Path, skip_bad: bool = False, **settings: str) -> SkeletonDataset:
    return prepare("pku-mmd", source, source.parent / "root", skip_bad, workers=1, settings=settings)


def refusal(source: Path, **settings: str) -> str:
    with pytest.raises(UserError) as caught:
        prepared(source, **settings)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def loaded(content: bytes) -> np.ndarray:
    """(T, 2, 25, 3), as published codes load it."""
    return np.loadtxt(io.BytesIO(content), ndmin=2).reshape(-1, 2, 25, 3)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text,
        lambda text: text.replace(b" \n", b"\n"),
        lambda text: text.replace(b" ", b"  "),
        lambda text: text.replace(b" ", b"\t"),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b"\n\n"),
        lambda text: b"\n  " + text.rstrip(),
        lambda text: text.replace(b"0.", b".", 40),
        lambda text: text.replace(b" 0 ", b" 0.000000e+00 "),
    ],
    ids=[
        "as published",
        "no end blank",
        "two blanks",
        "tabs",
        "CRLF",
        "empty lines",
        "margin",
        "no zeros",
        "exponents",
    ],
)
def test_text_is_read_as_numpy_reads_it(spoil: Callable[[bytes], bytes]) -> None:
    text = spoil(skeleton_file(video(3, 1)))
    np.testing.assert_array_equal(read_frames(text).transpose(1, 0, 2, 3), loaded(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"1 2 3\n", "has 3 numbers in line 1; expected 150"),
        (b"1 " * 150 + b"\n" + b"1 " * 149 + b"\n", "has 149 numbers in line 2"),
        (b"1 " * 75 + b"\n" + b"1 " * 225 + b"\n", "has 75 numbers in line 1"),
        (b"x " * 150, "no number"),
        (b"1,2 " * 150, "no number"),
        (b'"1" ' * 150, "no number"),
        (b"0x1p3 " * 150, "no number"),
        (b"1 " * 149 + b"\xff", "no number"),
        (("1 " * 150).encode("utf-16-le"), "expected 150"),
    ],
)
def test_other_text_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(BadFile, match=reason):
        read_frames(text)


def test_intervals_count_from_one_and_end_with_their_last_frame(source: Path) -> None:
    dataset = prepared(source)
    frames = loaded((source / SKELETON).read_bytes()).astype(np.float32)
    assert list(dataset.index["sample_id"]) == ["0007-M_001", "0007-M_002", "0007-M_003"]
    assert list(dataset.index["label"]) == [0, 50, 25]
    assert list(dataset.index["n_frames"]) == [10, 1, 46]
    for row, cut in enumerate([slice(0, 10), slice(10, 11), slice(4, 50)]):
        for number, body in enumerate(dataset.bodies(row)):
            np.testing.assert_array_equal(body.positions, frames[cut, number])


def test_a_body_that_comes_later_begins_later(tmp_path: Path) -> None:
    dataset = prepare("pku-mmd", published.write("pku-mmd", tmp_path), tmp_path / "root", workers=1)
    assert set(dataset.index["n_bodies"]) == {1, 2}
    bodies = {clip.sample_id: dataset.bodies(row) for row, clip in enumerate(dataset.index.itertuples())}
    first, second = bodies["0002-L_002"]
    assert (first.start, len(first.positions)) == (second.start, len(second.positions)) == (0, 23)


def test_sides_are_those_of_the_lists(tmp_path: Path) -> None:
    index = prepare("pku-mmd", published.write("pku-mmd", tmp_path), tmp_path / "root", workers=1).index
    assert {(name[:4], fold) for name, fold in zip(index["sample_id"], index["fold"], strict=True)} == {
        ("0002", 1),
        ("0300", 2),
    }
    assert {(name[5], camera) for name, camera in zip(index["sample_id"], index["camera"], strict=True)} == {
        ("L", 1),
        ("M", 2),
        ("R", 3),
    }
    assert set(index["setup"]) == {2, 300}


def test_phase_two_tells_script_and_person(tmp_path: Path) -> None:
    index = prepare("pku-mmd-2", published.write("pku-mmd-2", tmp_path), tmp_path / "root", workers=1).index
    assert set(index["setup"]) == {1}
    assert set(index["subject"]) == {1, 2}
    assert set(index["label"]) == {7, 50}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("0,1,9,1", "has action 0; there are 1 to 51"),
        ("52,1,9,1", "has action 52"),
        ("3,0,9,1", "goes from frame 0 to 9 of a video of 50"),
        ("3,9,8,1", "goes from frame 9 to 8"),
        ("3,9,51,1", "goes from frame 9 to 51"),
        ("3,9", "not action,start,end,confidence"),
        ("3,9,11,1,1", "not action,start,end,confidence"),
        ("-3,9,11,1", "not action,start,end,confidence"),
        ("3,9,1e1,1", "not action,start,end,confidence"),
        ("3,9,99999999999999999999,1", "not action,start,end,confidence"),
        ("drink,9,11,1", "not action,start,end,confidence"),
    ],
)
def test_a_bad_interval_is_refused_or_left_out_alone(labels: str, reason: str, source: Path) -> None:
    put(source, LABELS, f"8,1,9,2\n{labels}\n9,1,9,1\n")
    assert f"0007-M_002 {reason}" in refusal(source).replace("has a label line that is ", "")
    dataset = prepared(source, skip_bad=True)
    assert list(dataset.index["sample_id"]) == ["0007-M_001", "0007-M_003"]
    assert list(dataset.card.skipped) == ["0007-M_002"]


def test_blanks_and_a_missing_confidence_are_no_fault(source: Path) -> None:
    put(source, LABELS, " 8, 1, 9\r\n\r\n9,2,9,\n")
    assert list(prepared(source).index["n_frames"]) == [9, 8]


def test_labels_cannot_fill_the_disk(source: Path) -> None:
    put(source, LABELS, "3,1,50,1\n" * 1000)
    assert "has labels for" in refusal(source)


def test_intervals_known_to_have_no_skeleton_are_left_out(source: Path) -> None:
    (source / SKELETON).rename(source / "Skeleton/0089-M.txt")
    (source / LABELS).rename(source / "Label_PKU/0089-M.txt")
    assert list(prepared(source).index["sample_id"]) == ["0089-M_002", "0089-M_003"]
    assert len(prepared(source, missing="keep").index) == 3


def test_the_lists_of_what_is_missing_name_intervals() -> None:
    assert len(listed_samples("pku-mmd")) == 4
    assert len(listed_samples("pku-mmd-2")) == 47
    assert "A26N12-R_007" in listed_samples("pku-mmd-2")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lists no training"),
        ("0007-M, 0008-M", "lists no training"),
        ("Training videos:\n0007-M\nValidataion videos:\n", "lists no training"),
        ("Training videos:\n0007-M\nValidataion videos:\n0008-M, 0007-M", "lists 0007-M for training and validation"),
        ("Training videos:\n0007-M\n\u00e4", "no plain text"),
    ],
)
def test_a_list_that_is_none_is_refused(text: str, reason: str, source: Path) -> None:
    put(source, SUBJECTS, text)
    assert reason in refusal(source)


@pytest.mark.parametrize("heading", ["Validataion videos: ", "Validation videos:", "VALIDATION VIDEOS :"])
def test_the_heading_may_be_spelt_well_or_as_published(heading: str, source: Path) -> None:
    put(source, SUBJECTS, f"Training videos: \r\n0009-M,\n0007-M, \r\n{heading}\r\n0008-M")
    assert set(prepared(source).index["fold"]) == {1}


def test_a_video_of_neither_list_is_on_no_side(source: Path) -> None:
    put(source, SUBJECTS, split_file(["0001-L"], ["0002-L"]))
    assert set(prepared(source).index["fold"]) == {0}


def test_files_without_a_partner_are_refused_by_name(source: Path) -> None:
    put(source, "Skeleton/0008-L.txt", skeleton_file(video(2, 1)))
    assert "Skeleton/0008-L.txt has no label file" in refusal(source)
    (source / "Skeleton/0008-L.txt").unlink()
    put(source, "Label_PKU/0009-L.txt", "1,1,2,1")
    assert "Label_PKU/0009-L.txt labels a video whose skeleton file is not there" in refusal(source)


def test_a_video_that_is_there_twice_is_refused(source: Path) -> None:
    put(source, "again/0007-M.txt", skeleton_file(video(2, 1)))
    assert "keep one of them" in refusal(source)


@pytest.mark.parametrize(("gone", "reason"), [("Skeleton", "whose skeleton"), ("Split", "holds no cross-subject.txt")])
def test_a_part_that_is_not_there_is_named(gone: str, reason: str, source: Path) -> None:
    shutil.rmtree(source / gone)
    if gone == "Skeleton":
        reason = "holds no skeletons like 0002-L.txt"
    assert reason in refusal(source)


def test_views_that_are_not_as_published_are_noted(source: Path) -> None:
    put(source, "Split/cross-view.txt", split_file(["0001-L", "0001-M"], ["0001-R"]))
    absent = {SUBJECTS: "lists videos that are not there: 0008-M"}
    assert prepared(source).card.noted == absent | {"Split/cross-view.txt": "tests cameras R; x-view tests L"}
    put(source, "Split/cross-view.txt", split_file(["0001-R", "0001-M"], ["0001-L"]))
    assert prepared(source).card.noted == absent
