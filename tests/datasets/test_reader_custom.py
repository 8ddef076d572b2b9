"""Somebody's own data: read as the manifest says, refused with the row that is wrong."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.audit import audit
from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.formats.npy import read_array
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.sources import open_source
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import find_task, find_tasks, load_task
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from mmcl_bench.skeleton.drawing import standing_pose
from mmcl_bench.skeleton.layouts import get_layout
from mmcl_bench.skeleton.transforms import prepare_clips
from published import kinect_v1_person


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return published.write("custom", tmp_path)


def prepared(source: Path) -> SkeletonDataset:
    return prepare("custom", source, source.parent / "root", prepared_as="mine")


def edit(source: Path, name: str, old: str, new: str) -> None:
    path = source / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_clips_come_back_in_metres_with_y_up(source: Path) -> None:
    dataset = prepared(source)
    assert (dataset.card.name, dataset.card.reader, dataset.card.synthetic) == ("mine", "custom", True)
    assert dataset.card.classes == ("wave", "jump", "bend", "clap", "kick")
    # The first three clips by class, subject and take; the first is a .csv, the others .npy.
    for number, sample_id in enumerate(("wave-1-1", "wave-1-2", "wave-2-1")):
        row = dataset.index["sample_id"].tolist().index(sample_id)
        expected = kinect_v1_person(number, 12 + number)
        np.testing.assert_allclose(dataset.bodies(row)[0].positions, expected, atol=2e-6)
        assert (dataset.index["label"][row], dataset.index["fold"][row]) == (0, 2 if number == 2 else 1)


def test_a_range_of_frames_and_several_bodies_are_read(source: Path) -> None:
    bodies = np.stack([kinect_v1_person(1, 20), kinect_v1_person(2, 20)])
    bodies[1, :8] = 0
    np.save(source / "wave-1-2.npy", bodies)
    edit(source, "dataset.toml", 'unit = "millimetres"\nup = "z"', 'unit = "metres"')
    text = (source / "manifest.csv").read_text().splitlines()
    rows = [text[0] + ",start,stop", *(row + ",," for row in text[1:])]
    (source / "manifest.csv").write_text(
        "\n".join(rows).replace("wave-1-2.npy,wave,1,train,,", "wave-1-2.npy,wave,1,train,4,14")
    )
    for path in source.glob("*.npy"):  # the other clips are in millimetres
        if path.name != "wave-1-2.npy":
            np.save(path, np.load(path) / 1000)
    for path in source.glob("*.csv"):
        if path.name != "manifest.csv":
            np.savetxt(path, np.loadtxt(path, delimiter=",") / 1000, delimiter=",")
    dataset = prepared(source)
    row = dataset.index["sample_id"].tolist().index("wave-1-2")
    first, second = dataset.bodies(row)
    assert (dataset.index["n_frames"][row], first.start, second.start) == (10, 0, 4)
    np.testing.assert_allclose(second.positions, bodies[1, 8:14], rtol=1e-6)


def test_an_empty_cell_is_a_joint_that_was_not_seen(source: Path) -> None:
    lines = (source / "wave-1-1.csv").read_text().splitlines()
    lines[3] = ",,," + lines[3].split(",", 3)[3]
    (source / "wave-1-1.csv").write_text("\n".join(lines))
    dataset = prepared(source)
    positions = dataset.bodies(dataset.index["sample_id"].tolist().index("wave-1-1"))[0].positions
    assert np.isnan(positions[3, 0]).all()
    assert np.isfinite(positions[3, 1:]).all()


def test_a_row_of_empty_cells_is_a_frame_in_which_nobody_was_seen(source: Path) -> None:
    lines = (source / "wave-1-1.csv").read_text().splitlines()
    # Before the first frame, where it is no header, and between two; a blank line at the end is no frame.
    (source / "wave-1-1.csv").write_text("\n".join(["," * 59, *lines[:4], "," * 59, *lines[4:], "", ""]))
    dataset = prepared(source)
    row = dataset.index["sample_id"].tolist().index("wave-1-1")
    (body,) = dataset.bodies(row)
    assert (dataset.index["n_frames"][row], body.start, len(body.positions)) == (14, 1, 13)
    assert np.flatnonzero(~body.positions.any(axis=(1, 2))).tolist() == [4]


def test_a_first_row_of_names_is_no_frame(source: Path) -> None:
    expected = prepared(source).index["n_frames"].tolist()
    text = (source / "wave-1-1.csv").read_text()
    (source / "wave-1-1.csv").write_text(
        ",".join(f"{axis}{joint}" for joint in range(20) for axis in "xyz") + "\n" + text
    )
    assert prepared(source).index["n_frames"].tolist() == expected


def test_a_number_as_unit_says_how_many_metres_one_is(source: Path) -> None:
    expected = [body.positions for row in range(3) for body in prepared(source).bodies(row)]
    edit(source, "dataset.toml", 'unit = "millimetres"', "unit = 0.001")
    dataset = prepared(source)
    for row, positions in enumerate(expected):
        np.testing.assert_allclose(dataset.bodies(row)[0].positions, positions, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("manifest.csv", "sample_id,", "sampel_id,", r"manifest\.csv: has no column sample_id"),
        ("manifest.csv", ",subject,", ",person,", r"unknown column 'person'"),
        ("manifest.csv", "wave-1-2,", "wave-1-1,", r"row 3: sample_id wave-1-1 stands in row 2 already"),
        ("manifest.csv", "wave-1-1.csv", "nowhere.csv", r"row 2: there is no file 'nowhere\.csv'"),
        ("manifest.csv", "wave-1-1.csv", "../wave-1-1.csv", r"row 2: there is no file '\.\./wave-1-1\.csv'"),
        ("manifest.csv", ",wave,1,", ",wavee,1,", r"row 2: unknown class 'wavee'\. Did you mean wave"),
        ("manifest.csv", ",wave,1,", ",wave,one,", r"row 2: subject 'one' is no whole number"),
        ("manifest.csv", ",1,train", ",1,trains", r"row 2: fold 'trains' is neither train nor test"),
        ("manifest.csv", ",1,train", ",1,train,", r"row 2: has 6 cells; the first row has 5"),
        ("dataset.toml", "kinect-v1", "kinect-1", r"dataset\.toml: layout: .*Did you mean kinect-v1"),
        ("dataset.toml", '"millimetres"', '"milimetres"', r"dataset\.toml: unit: .*Did you mean millimetres"),
        ("dataset.toml", '"millimetres"', "-1", r"dataset\.toml: unit: should be a name, or the number of metres"),
        ("dataset.toml", "frame_rate = 30", "frame_rate = " + "3" * 5000, r"dataset\.toml: no TOML"),
        ("dataset.toml", "frame_rate = 30", "frame_rate = 1e999", r"dataset\.toml: frame_rate: .*finite"),
        ("dataset.toml", "frame_rate = 30", "frame_rate = " + "[" * 5000, r"dataset\.toml: is nested too deep"),
        ("dataset.toml", "test = [2]", "test = [true]", r"dataset\.toml: side\.x-sub\.test\.0: .*integer"),
        ("dataset.toml", "[side.x-sub]", '[side."a,b=c]"]', r"side 'a,b=c]' should be called by letters"),
        ("dataset.toml", "[side.x-sub]", "[side.official]", r"column fold of manifest\.csv makes the side official"),
        ("dataset.toml", '"3/2"', '"3/2:Our own"', r"split 3/2:Our own: should be called 3/2"),
        ("dataset.toml", '["jump", "kick"]', '["wave", "jump", "bend", "kick"]', r"leaves 1 of 5 classes seen"),
        ("dataset.toml", 'name = "jump"', 'name = "wave"', r"classes 'wave' and 'wave' have one name"),
        ("dataset.toml", 'name = "jump"', 'name = "Wave"', r"classes 'wave' and 'Wave' have one name"),
        (
            "dataset.toml",
            'title = "Waving',
            'title = "\\u001b[2JWaving',
            r"title: has a character that cannot be printed",
        ),
        ("manifest.csv", ",wave,1,", ",wave," + "1" * 5000 + ",", r"row 2: subject has 5000 characters"),
        ("manifest.csv", "wave-1-1.csv", "dataset.toml", r"row 2: file 'dataset\.toml' is neither \.npy nor \.csv"),
        ("manifest.csv", "fold\nwave-1-1", 'fold\n"wave-1-1', r"manifest\.csv, line \d+: no CSV"),
        ("dataset.toml", "title =", "titel =", r"dataset\.toml: title: Field required"),
        ("dataset.toml", "test = [2]", "test = [9]", r"side x-sub: no clip of manifest\.csv is on its test side"),
        ("dataset.toml", "test = [2]", "test = [1]", r"side\.x-sub: .*subject 1 is on both sides"),
        ("dataset.toml", '"3/2"', '"4/1"', r"split 4/1: should be called 3/2"),
        ("dataset.toml", '["jump", "kick"]', '["jump", "fly"]', r"split 3/2: unknown class 'fly'"),
        ("dataset.toml", "[[class]]", "[[class]", r"dataset\.toml: no TOML"),
        ("manifest.csv", ",wave,1,", ",wave,1+1,", r"row 2: subject '1\+1' names one person twice"),
        ("manifest.csv", ",wave,1,", ",wave,1+b,", r"row 2: subject 'b' is no whole number; the numbers of several"),
        (
            "manifest.csv",
            ",wave,1,",
            ',wave,"1,2",',
            r"row 2: subject '1,2' is no whole number; the numbers of several",
        ),
        ("manifest.csv", ",wave,1,", ",wave,1+,", r"row 2: subject '1\+' has a \+ without a number on both its sides"),
        ("dataset.toml", 'layout = "kinect-v1"', "layout = 15", r"dataset\.toml: layout: should be a name in quotes"),
        ("dataset.toml", 'layout = "kinect-v1"', "", r"dataset\.toml: layout: Field required"),
        (
            "dataset.toml",
            "[folds.by-subject]",
            '[folds."by subject"]',
            r"side 'by subject-1' should be called by letters",
        ),
        ("manifest.csv", ",1,train", ",1,1", r"column fold has both numbers and words"),
        ("manifest.csv", ",1,train", ",1,-1", r"row 2: fold '-1' is neither train nor test, nor the number of a fold"),
        ("dataset.toml", "[[1, 2], [3]]", "[[1, 2], [2]]", r"folds\.by-subject: parts: subject 2 is in two of them"),
        ("dataset.toml", "[[1, 2], [3]]", "[[1, 2]]", r"folds\.by-subject: parts: one part leaves nothing to train"),
        (
            "dataset.toml",
            "[[1, 2], [3]]",
            "[[1, 2], [9]]",
            r"side by-subject-1: no clip of manifest\.csv is on its train",
        ),
        ("dataset.toml", "[side.x-sub]", "[side.by-subject-1]", r"two sides are called by-subject-1"),
    ],
)
def test_a_mistake_is_told_with_its_place(source: Path, name: str, old: str, new: str, message: str) -> None:
    edit(source, name, old, new)
    with pytest.raises(UserError, match=message) as caught:
        prepared(source)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_side_by_a_column_that_the_manifest_lacks_is_told(source: Path) -> None:
    rows = [row.split(",") for row in (source / "manifest.csv").read_text().splitlines()]
    (source / "manifest.csv").write_text("\n".join(",".join([*row[:3], row[4]]) for row in rows))
    with pytest.raises(UserError, match="has no number in column subject, which side x-sub goes by"):
        prepared(source)


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [
        ("5", "2", r"manifest\.csv, row 2: stop 2 is not after start 5"),
        ("0", "13", r"wave-1-1\.csv has 12 frames; manifest\.csv wants those from 0 up to 13"),
        ("12", "", r"wave-1-1\.csv has 12 frames; manifest\.csv wants those from 12 up to 12"),
    ],
)
def test_frames_that_a_file_does_not_have_are_told(source: Path, start: str, stop: str, message: str) -> None:
    head, first, *rest = (source / "manifest.csv").read_text().splitlines()
    lines = [f"{head},start,stop", f"{first},{start},{stop}", *(f"{row},," for row in rest)]
    (source / "manifest.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=message):
        prepared(source)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",", ",x", r"has 'x-?[\d.]+' in row 1, column 2, which is no number"),
        ("\n", ",1\n", r"has 61 columns in row 1; expected 60"),
    ],
)
def test_a_mistake_in_a_clip_is_told_with_row_and_column(source: Path, old: str, new: str, message: str) -> None:
    edit(source, "wave-1-1.csv", old, new)
    with pytest.raises(UserError, match=rf"wave-1-1\.csv {message}"):
        prepared(source)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 25, 3)), r"has an array of shape \(4, 25, 3\); expected \(\[bodies,\] frames, 20, 3\)"),
        (np.ones((4, 20, 3), dtype=np.int32), "numbers of kind int32"),
        (np.full((4, 20, 3), np.inf), "has infinite positions"),
        (np.array([{}]), "is no plain numpy array"),
        (np.zeros((4, 20, 3)), "shows nobody in any of its 4 frames"),
    ],
)
def test_an_array_that_is_no_clip_is_named(source: Path, array: np.ndarray, message: str) -> None:
    np.save(source / "wave-1-2.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=rf"wave-1-2\.npy .*({message})"):
        prepared(source)


def test_without_classes_the_labels_of_the_manifest_are_the_classes(source: Path) -> None:
    leave_out_classes(source)
    assert prepared(source).card.classes == ("bend", "clap", "jump", "kick", "wave")


def leave_out_classes(source: Path) -> None:
    text = (source / "dataset.toml").read_text()
    text = re.sub(r"\[\[class\]\].*?(?=\[side)", "", text, flags=re.DOTALL)
    (source / "dataset.toml").write_text(re.sub(r"\[split.*", "", text, flags=re.DOTALL))


def relabel(source: Path, names: dict[str, str]) -> None:
    """Other labels in the manifest; ids and files keep their names."""
    with (source / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = names[row["label"]]
    with (source / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def labels_of(dataset: SkeletonDataset) -> dict[str, str]:
    """The class that each of the published words, with which ids begin, was given."""
    ids, labels = dataset.index["sample_id"], dataset.index["label"]
    return {str(name).partition("-")[0]: dataset.card.classes[label] for name, label in zip(ids, labels, strict=True)}


WORDS = ("wave", "jump", "bend", "clap", "kick")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("0", "1", "2", "10", "11"), ("0", "1", "2", "10", "11")),
        (("10", "9", "100", "8", "1"), ("1", "8", "9", "10", "100")),
        (("1.0", "10.0", "2.0", "0.0", "3.0"), ("0.0", "1.0", "2.0", "3.0", "10.0")),
        (("2", "walk", "10", "run", "1"), ("1", "2", "10", "run", "walk")),
        (("turn +90", "turn -90", "C", "C++", "C#"), ("C", "C#", "C++", "turn +90", "turn -90")),
        (("वृत्त", "वृत्ति", "वृत्तों", "क\u094d\u200dष", "a"), None),
        (("👍", "👍🏽", "👎", "👩\u200d🚀", "👩"), None),
    ],
)
def test_labels_of_any_kind_stay_apart_and_whole_numbers_stand_by_value(
    labels: tuple[str, ...], expected: tuple[str, ...] | None, source: Path
) -> None:
    leave_out_classes(source)
    relabel(source, dict(zip(WORDS, labels, strict=True)))
    dataset = prepared(source)
    assert dataset.card.classes == (expected or tuple(sorted(labels)))
    assert labels_of(dataset) == dict(zip(WORDS, labels, strict=True))


def test_sample_ids_that_are_whole_numbers_stand_by_value(source: Path) -> None:
    lines = (source / "manifest.csv").read_text().splitlines()
    rows = [line.partition(",")[2] for line in lines[1:]]
    numbered = [lines[0], *(f"{number},{row}" for number, row in enumerate(rows))]
    (source / "manifest.csv").write_text("\n".join(numbered))
    assert prepared(source).index["sample_id"].tolist() == [str(number) for number in range(len(rows))]


@pytest.mark.parametrize(
    "written",
    [
        ("Wave", "JUMP", "bend ", "cl ap", "kick!"),
        ("0", "1", "2", "3", "4"),
        ("wave", "1", "bend", "3", "kick"),
    ],
)
def test_a_label_means_a_class_by_name_or_by_number(written: tuple[str, ...], source: Path) -> None:
    relabel(source, dict(zip(WORDS, written, strict=True)))
    assert labels_of(prepared(source)) == dict(zip(WORDS, WORDS, strict=True))


def test_a_name_means_its_class_in_either_form_of_unicode(source: Path) -> None:
    edit(source, "dataset.toml", 'name = "wave"', 'name = "marché"')
    relabel(source, {**dict(zip(WORDS, WORDS, strict=True)), "wave": unicodedata.normalize("NFD", "marché")})
    assert labels_of(prepared(source))["wave"] == "marché"


@pytest.mark.parametrize(
    ("classes", "label", "message"),
    [
        (("1", "2", "3", "4", "5"), "0", "unknown class '0'"),
        (("turn +90", "turn -90", "a", "b", "c"), "turn 90", "unknown class 'turn 90'"),
        (("C", "C++", "C#", "a", "b"), "c+", "unknown class 'c+'"),
    ],
)
def test_a_label_that_may_mean_several_classes_means_none(
    classes: tuple[str, ...], label: str, message: str, source: Path
) -> None:
    for word, name in zip(WORDS, classes, strict=True):
        text = (source / "dataset.toml").read_text(encoding="utf-8")
        text = text.replace(f'name = "{word}"', f'name = "{name}"')
        (source / "dataset.toml").write_text(re.sub(r"\[split.*", "", text, flags=re.DOTALL), encoding="utf-8")
    relabel(source, {**dict(zip(WORDS, classes, strict=True)), "wave": label})
    with pytest.raises(UserError, match=re.escape(message)):
        prepared(source)


# Key points of images

LAYOUT_2D = get_layout("coco-17")
WRIST, NOSE = LAYOUT_2D.index("left_wrist"), LAYOUT_2D.index("nose")


def key_points(n_frames: int = 6) -> np.ndarray:
    """(T, 17, 3): someone who sways in the middle of an image, in image heights from its middle, y up, z 0."""
    random = np.random.default_rng(0)
    sway = 0.01 * random.normal(size=(n_frames, 17, 3)).cumsum(0)
    return np.asarray((0.3 * standing_pose(LAYOUT_2D) - [0.02, 0.3, 0] + sway) * [1, 1, 0])


def confident(positions: np.ndarray, *, scores: float = 0.9) -> np.ndarray:
    """Key points with a confidence behind x and y; of the wrist it is 0 in frame 2."""
    third = np.full((*positions.shape[:2], 1), scores)
    third[2, WRIST] = 0
    return np.concatenate([positions[..., :2], third], axis=-1)


def changed(positions: np.ndarray, *place: float) -> np.ndarray:
    """The wrist somewhere else in frame 2."""
    other = positions.copy()
    other[2, WRIST, : len(place)] = place
    return other


def own_images(folder: Path, clip: np.ndarray, *facts: str, layout: str = "coco-17") -> Path:
    source = folder / "images"
    source.mkdir()
    for number in (1, 2):
        np.save(source / f"{number}.npy", clip)
    (source / "manifest.csv").write_text("sample_id,file,label,fold\na,1.npy,wave,train\nb,2.npy,sit,test\n")
    (source / "dataset.toml").write_text("\n".join(['title = "2-D"', f'layout = "{layout}"', *facts, ""]))
    return source


IMAGE, CONFIDENCE = 'unit = "image"', 'third = "confidence"'


@pytest.mark.parametrize("layout", ["coco-17", "h36m-17"])
@pytest.mark.parametrize(
    ("clip", "facts"),
    [
        pytest.param(confident(key_points()), (CONFIDENCE,), id="no confidence"),
        pytest.param(
            changed(confident(key_points()), *key_points()[2, WRIST, :2], 0.3),
            (CONFIDENCE, "least_confidence = 0.3"),
            id="too little confidence",
        ),
        pytest.param(
            changed(confident(key_points()), *key_points()[2, WRIST, :2], np.nan), (CONFIDENCE,), id="confidence NaN"
        ),
        pytest.param(changed(confident(key_points()), 0.1, 0.1, -1), (CONFIDENCE,), id="confidence below zero"),
        pytest.param(changed(confident(key_points(), scores=87), -1, -1, 87), (CONFIDENCE,), id="percent, at -1, -1"),
        pytest.param(changed(key_points(), -1, -1), (), id="at -1, -1"),
        pytest.param(changed(key_points(), -1, -1, -1), (), id="at -1, -1, -1"),
        pytest.param(changed(key_points(), 0, 0), (), id="at 0, 0"),
        pytest.param(changed(key_points(), np.nan), (), id="NaN"),
        pytest.param(changed(key_points() * [1, -1, 1], -1, -1), ('up = "-y"',), id="y down, at -1, -1"),
        pytest.param(np.stack([changed(key_points(), -1, -1), np.zeros((6, 17, 3))]), (), id="and a body of zeros"),
        pytest.param(
            np.stack([changed(key_points(), -1, -1), np.full((6, 17, 3), -1.0)]), (), id="and a body at -1, -1"
        ),
    ],
)
def test_a_key_point_that_was_not_found_is_no_place(
    clip: np.ndarray, facts: tuple[str, ...], layout: str, tmp_path: Path
) -> None:
    dataset = prepared(own_images(tmp_path, clip, IMAGE, *facts, layout=layout))
    (body,) = dataset.bodies(0)
    assert dataset.card.unit == "image"
    assert np.isnan(body.positions[2, WRIST]).all()
    expected = key_points()
    expected[2, WRIST] = np.nan
    np.testing.assert_allclose(body.positions, expected, atol=1e-6)
    findings = audit(dataset, lambda done, total: None).findings
    assert not {finding.kind for finding in findings} & {"jumps", "unseen-joints", "long-bones", "far"}


@pytest.mark.parametrize(
    ("clip", "facts", "message"),
    [
        (confident(key_points()), (IMAGE,), r'1\.npy has 0\.9 as the third number of nose in frame 0.*third = "conf'),
        (confident(key_points()), (), r"has 0\.9 as the third number of nose in frame 0.*write 0.*metres"),
        (changed(key_points(), 0.2, 0.3, -2), (IMAGE,), r"has -2 as the third number of left_wrist in frame 2"),
        (key_points() * 480, (IMAGE,), r"has a key point \d+ image heights away; .*divide pixels by the height"),
        (key_points() * 480, (), r"image heights away; .*divide pixels by the height"),
        (confident(key_points() * 64), (IMAGE, CONFIDENCE), r"image heights away; .*divide pixels by the height"),
        (changed(key_points(), 0.1, -6), (IMAGE,), r"has a key point 6 image heights away"),
        (key_points(), (IMAGE, 'up = "z"'), r"dataset\.toml: up: is z; key points of images have no third axis"),
        (key_points(), (IMAGE, 'third = "depth"'), r"dataset\.toml: third: .*'confidence'"),
        (key_points(), (IMAGE, "least_confidence = -1"), r"dataset\.toml: least_confidence: .*greater than or equal"),
        (key_points(), ('unit = "metres"', CONFIDENCE), r'dataset\.toml: third: is for key points.*unit = "image"'),
        (key_points(), (IMAGE, CONFIDENCE), r"shows nobody in any of its 6 frames"),
        (
            confident(key_points()),
            (IMAGE, CONFIDENCE, "least_confidence = 0.95"),
            r"shows nobody in any of its 6 frames",
        ),
    ],
)
def test_key_points_in_another_form_are_refused_in_one_line(
    clip: np.ndarray, facts: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    source = own_images(tmp_path, clip, *facts)
    with pytest.raises(UserError, match=message) as caught:
        prepared(source)
    assert "\n" not in str(caught.value)
    assert " m " not in str(caught.value)
    assert not (tmp_path / "root" / "mine").exists()


def test_positions_in_space_may_have_the_joints_of_key_points(tmp_path: Path) -> None:
    positions = key_points() + np.array([0, 0, 3])
    dataset = prepared(own_images(tmp_path, positions, 'unit = "metres"'))
    np.testing.assert_allclose(dataset.bodies(0)[0].positions, positions, rtol=1e-6)


@pytest.mark.parametrize(
    ("clip", "expected"), [(key_points(), 1), (key_points() * 480, 0), (confident(key_points()), 0)]
)
def test_loose_files_of_key_points_are_held_to_the_same(clip: np.ndarray, expected: int, tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", clip)
    told: list[str] = []
    with open_source(str(tmp_path / "clip.npy"), tmp_path, layout="coco-17") as source:
        clips = [each for unit in source.units for each in source.clips(unit, lambda name, why: told.append(why))]
    assert (len(clips), len(told)) == (expected, 1 - expected)
    assert all("image" in why for why in told)


# Joints that were not seen


@pytest.mark.parametrize("mark", ["nan", "zeros"])
def test_moving_clips_with_unseen_joints_by_a_metre_changes_no_feature(mark: str, tmp_path: Path) -> None:
    features = []
    for at, by in enumerate(([0, 0, 0], [1, 0, 0], [0, -1, 1])):
        positions = kinect_v1_person(3, 12) + by
        positions[:, [7, 11, 15, 19]] = np.nan if mark == "nan" else 0  # hands and feet
        positions[4:6, 2] = np.nan if mark == "nan" else 0
        (tmp_path / str(at)).mkdir()
        dataset = prepared(own_images(tmp_path / str(at), positions, layout="kinect-v1"))
        clip = dataset.bodies(0)
        features.append(prepare_clips(ClipView([clip], [12], "kinect-v1")).tracks.numpy())
    for moved in features[1:]:
        np.testing.assert_allclose(moved, features[0], atol=1e-4)


@pytest.mark.parametrize("mark", ["nan", "zeros"])
def test_a_transfer_to_a_set_without_hands_and_feet_loses_nothing_against_copied_ones(
    mark: str, source: Path, tmp_path: Path
) -> None:
    scores = []
    for name in (mark, "copied"):
        root = tmp_path / f"{name} data"
        prepare("custom", source, root, prepared_as="mine")
        target = shutil.copytree(source, tmp_path / name)
        edit(target, "dataset.toml", 'unit = "millimetres"', 'unit = "metres"')
        for number, file in enumerate(row.split(",")[1] for row in (target / "manifest.csv").read_text().split()[1:]):
            positions = kinect_v1_person(number, 12 + number % 9)[..., [0, 2, 1]] * [1, -1, 1]
            for end in (7, 11, 15, 19):  # hands and feet, behind wrists and ankles
                positions[:, end] = {"nan": np.nan, "zeros": 0, "copied": positions[:, end - 1]}[name]
            if file.endswith(".npy"):
                np.save(target / file, positions)
            else:
                np.savetxt(target / file, positions.reshape(len(positions), -1), delimiter=",")
        prepare("custom", target, root, prepared_as="fifteen")
        job = make_job(load_task("transfer/mine-to-fifteen", root), METHODS.get("logistic"), 0)
        stored, _ = run_job(job, RunSite(root, tmp_path / f"{name} results"))
        scores.append(stored.scores)
    np.testing.assert_array_equal(scores[0], scores[1])


STICK = """\
[layout]
joints = ["head", "neck", "left_shoulder", "right_shoulder", "left_hip", "right_hip"]
bones = [["head", "neck"], ["neck", "left_shoulder", "left_hip"], ["neck", "right_shoulder", "right_hip"]]
"""


def with_layout(source: Path, table: str) -> Path:
    """Gives a source a layout of its own, of six joints."""
    edit(source, "dataset.toml", 'layout = "kinect-v1"\n', "")
    with (source / "dataset.toml").open("a") as file:
        file.write(table)
    for path in source.glob("wave-*.*"):
        text = path.suffix == ".csv"
        clip = np.loadtxt(path, delimiter=",").reshape(-1, 20, 3) if text else np.load(path)
        path.unlink()
        np.save(path.with_suffix(".npy"), clip[:, :6].astype(np.float32))
    rows = (source / "manifest.csv").read_text().splitlines()
    kept = [row.replace(".csv", ".npy") for row in rows[1:] if row.startswith("wave")]
    (source / "manifest.csv").write_text("\n".join([rows[0], *kept, ""]))
    return source


def test_a_set_keeps_the_layout_that_it_brings(source: Path) -> None:
    dataset = SkeletonDataset.open(prepared(with_layout(source, STICK)).folder)
    layout = get_layout(dataset.card.layout)
    assert (layout.name, layout.hips, layout.from_images) == ("own", ("left_hip", "right_hip"), False)
    assert layout.joints[layout.parents[layout.index("left_hip")]] == "left_shoulder"
    before = dataset.card.fingerprint
    edit(source, "dataset.toml", '"left_shoulder", "left_hip"]', '"left_hip", "left_shoulder"]')
    assert prepared(source).card.fingerprint != before, "another tree of bones is other data"


def test_key_points_of_images_are_so_in_a_layout_of_their_own(source: Path) -> None:
    edit(source, "dataset.toml", 'unit = "millimetres"\nup = "z"', 'unit = "image"')
    with_layout(source, STICK)
    for path in source.glob("wave-*.npy"):
        np.save(path, np.load(path) / 10000 * np.float32([1, 1, 0]))
    assert get_layout(prepared(source).card.layout).from_images


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"neck", "left_shoulder", "left_hip"', '"left_shoulder", "left_hip"', "layout.bones: no chain of bones"),
        ('joints = ["head",', 'joints = ["neck",', "layout.joints: neck stands twice"),
        ('joints = ["head",', 'joints = ["he ad",', "layout.joints.0: "),
        ("joints =", "joint =", "layout.joints: Field required"),
        ("joints =", "joints = []\nother =", "layout.joints: "),
        ("[layout]", '[layout]\nname = "kinect-v2"', "layout.name: kinect-v2 is the name of a layout that is there"),
        ("[layout]", '[layout]\nhip = "head"', "layout.hip: Extra inputs"),
        ("[layout]", '[layout]\ncentre = "navel"', "layout.centre: unknown joint 'navel'"),
        ("[layout]", "[layout]\nparts = { arms = ['head'] }", "layout.parts.arms"),
    ],
)
def test_a_wrong_layout_is_told_with_its_entry(source: Path, old: str, new: str, message: str) -> None:
    with_layout(source, STICK)
    edit(source, "dataset.toml", old, new)
    with pytest.raises(UserError) as caught:
        prepared(source)
    assert f"dataset.toml: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (source.parent / "root" / "mine").exists()


def test_a_clip_of_several_people_is_where_all_of_them_are(source: Path) -> None:
    edit(source, "manifest.csv", "wave-1-2.npy,wave,1,train", "wave-1-2.npy,wave,1+3,train")
    edit(source, "manifest.csv", "wave-2-1.npy,wave,2,test", "wave-2-1.npy,wave,2 + 1,test")
    dataset = prepared(source)
    train, test = dataset.card.sides["x-sub"].masks(dataset.index)
    at = {name: row for row, name in enumerate(dataset.index["sample_id"])}
    assert (train[at["wave-1-2"]], test[at["wave-1-2"]]) == (True, False)
    assert (train[at["wave-2-1"]], test[at["wave-2-1"]]) == (False, False)
    # By the manifest's own fold it tests, whoever is in it.
    assert dataset.card.sides["official"].masks(dataset.index)[1][at["wave-2-1"]]
    assert dataset.index["other_subjects"][at["wave-2-1"]].tolist() == [1]


def test_folds_by_number_and_by_column_are_sides(source: Path) -> None:
    text = (source / "manifest.csv").read_text()
    for subject in (1, 2, 3):
        text = re.sub(rf",{subject},(train|test)", f",{subject},{4 - subject}", text)
    (source / "manifest.csv").write_text(text)
    edit(source, "dataset.toml", "parts = [[1, 2], [3]]", "")
    sides = prepared(source).card.sides
    assert list(sides) == ["x-sub", *(f"{name}-{number}" for name in ("by-subject", "fold") for number in (1, 2, 3))]
    assert (sides["by-subject-2"].train, sides["by-subject-2"].test) == ((1, 3), (2,))
    assert (sides["fold-1"].column, sides["fold-1"].train, sides["fold-1"].test) == ("fold", (2, 3), (1,))
    root = source.parent / "root"
    (task, *others) = find_tasks("supervised/mine", ("fold",), data_root=root)
    assert [each.split for each in (task, *others)] == ["fold-1", "fold-2", "fold-3"]
    with pytest.raises(UserError, match="fold is the 3 splits fold-1 to fold-3; name one of them"):
        load_task("supervised/mine[split=fold]", root)
    assert [each.split for each in find_tasks("supervised/mine", ("folds",), data_root=root)] == list(sides)[-3:]
    with pytest.raises(UserError, match="unknown split 'sides'"):
        find_tasks("supervised/mine", ("sides",), data_root=root)


# Tasks


def test_own_data_has_tasks_of_every_family(source: Path) -> None:
    dataset = prepared(source)
    root = dataset.folder.parent
    assert find_task("supervised", "mine", None, {}, root).identity == "supervised/mine@2[split=x-sub]"
    assert load_task("supervised/mine[split=official]", root).split == "official"
    zero_shot = find_task("zero-shot", "mine", None, {}, root)
    assert zero_shot.identity == "zero-shot/mine@3[split=3/2]"
    assert zero_shot.zero_shot_split.unseen == (1, 4)
    assert zero_shot.class_texts()[4] == "One leg swings forward and up while the other one stands."
    transfer = find_task("transfer", "utd-mhad", "mine", {}, root)
    assert transfer.identity == load_task("transfer/mine-to-utd-mhad", root).identity == "transfer/mine-to-utd-mhad@3"
    assert [shared.name for shared in transfer.shared_classes] == ["wave", "clap"]


def test_own_and_published_classes_are_matched_loosely_where_one_is_meant(source: Path) -> None:
    edit(source, "dataset.toml", 'name = "clap"', 'name = "CLAP!"')
    root = prepared(source).folder.parent
    transfer = find_task("transfer", "utd-mhad", "mine", {}, root)
    assert [shared.name for shared in transfer.shared_classes] == ["wave", "CLAP!"]


def test_a_task_changes_with_the_descriptions_of_its_classes(source: Path) -> None:
    before = find_task("zero-shot", "mine", None, {}, prepared(source).folder.parent).hash
    edit(source, "dataset.toml", "lands on both feet", "lands on one foot")
    assert find_task("zero-shot", "mine", None, {}, prepared(source).folder.parent).hash != before


def test_a_published_set_under_another_name_keeps_its_facts(tmp_path: Path) -> None:
    root = tmp_path / "root"
    prepare("nw-ucla", published.write("nw-ucla", tmp_path), root, prepared_as="ucla-again")
    task = find_task("zero-shot", "ucla-again", None, {"split": "8/2", "side": "x-sub"}, root)
    assert task.identity == "zero-shot/ucla-again@3[split=8/2,side=x-sub]"
    assert task.zero_shot_split == load_task("zero-shot/nw-ucla[split=8/2]").zero_shot_split


# Arrays that nobody vouches for


def npy(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8", "<i4", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_as_numpy_reads_them(dtype: str, order: str) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4), dtype=dtype, order=order)  # type: ignore[call-overload]
    np.testing.assert_array_equal(read_array(npy(array)), array)


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("'<f4'", "(0, 999999999999, 999999999999)"),
        ("'<f4'", "(0, 99999999999999999999999999)"),
        ("'<f4'", "(0,)+" * 400 + "(0,)"),
        ("'<f4'", "(" * 150),
        ("'<f4'", "()"),
        ("'<f4'", "(0, -1)"),
        ("'|O'", "(0,)"),
        ("'<f4,|O'", "(0,)"),
        ("[('a', '<f4')]", "(0,)"),
        ("('|O', (1,))", "(0,)"),
        ("'<c8'", "(0,)"),
        ("'<M8[s]'", "(0,)"),
        ("'|S99999999999'", "(0,)"),
        ("None", "(0,)"),
    ],
)
def test_headers_of_what_is_no_array_of_numbers_are_refused(descr: str, shape: str) -> None:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    with pytest.raises(BadFile, match="is no plain numpy array"):
        read_array(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


@settings(max_examples=300)
@given(
    mutations=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 400),
)
def test_a_mutated_array_is_read_or_refused(mutations: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(npy(np.arange(60.0).reshape(1, 20, 3)))
    for at, value in mutations:
        content[at % len(content)] = value
    with contextlib.suppress(BadFile):
        assert read_array(bytes(content)[: len(content) - cut % 3]).nbytes <= len(content)
