"""NTU RGB+D in the form of CTR-GCN; what numpy itself loads from the same files is the reference."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.readers.ntu_npz import Ntu60CrossSubject, Ntu60CrossView
from mmcl_bench.datasets.store import SkeletonDataset
from published.ntu60_cs_npz import arrays, write

Arrays = dict[str, np.ndarray]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write(tmp_path)


def prepared(source: Path, root: Path, skip_bad: bool = False) -> SkeletonDataset:
    return prepare("ntu60-cs-npz", source, root, skip_bad, workers=1)


def refusal(source: Path, root: Path) -> str:
    with pytest.raises(UserError) as caught:
        prepared(source, root)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(path: Path, change: Callable[[Arrays], object]) -> Path:
    """The published file with other arrays."""
    content = arrays(60, seed=1)
    change(content)
    np.savez(path, **content)
    return path


def test_every_row_becomes_its_clip(published: Path, tmp_path: Path) -> None:
    dataset = prepared(published, tmp_path / "root")
    with np.load(published) as npz:
        for at, clip in enumerate(dataset.index.itertuples()):
            fold, number = clip.sample_id.split("-")
            row = npz[f"x_{fold}"][int(number)].reshape(-1, 2, 25, 3)
            dense = np.zeros_like(row)
            for slot, body in enumerate(dataset.bodies(at)):
                dense[body.start : body.start + len(body.positions), slot] = body.positions
            np.testing.assert_array_equal(dense, row)
            assert clip.n_frames == np.flatnonzero(row.any(axis=(1, 2, 3)))[-1] + 1
            assert clip.label == npz[f"y_{fold}"][int(number)].argmax()
            assert clip.fold == {"train": 1, "test": 2}[fold]
    assert list(dataset.index["n_bodies"].value_counts().sort_index()) == [5, 4]


def test_a_body_that_comes_late_begins_late(published: Path, tmp_path: Path) -> None:
    dataset = prepared(published, tmp_path / "root")
    row = int(np.flatnonzero(dataset.index["sample_id"] == "train-000001")[0])
    first, second = dataset.bodies(row)
    assert (first.start, second.start) == (0, 3)
    assert (first.positions[0, 1] == 0).all()  # the middle of the spine, where the preprocessing puts the origin


def test_frames_without_a_body_amid_a_clip_stay(tmp_path: Path) -> None:
    def blank(content: Arrays) -> None:
        content["x_train"][0, 4:6] = 0

    dataset = prepared(changed(tmp_path / "NTU60_CS.npz", blank), tmp_path / "root")
    row = int(np.flatnonzero(dataset.index["sample_id"] == "train-000000")[0])
    (body,) = dataset.bodies(row)
    assert len(body.positions) == dataset.index["n_frames"][row] == 12
    assert np.flatnonzero(~body.positions.any(axis=(1, 2))).tolist() == [4, 5]


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2"])
def test_other_floats_are_read_too(dtype: str, tmp_path: Path) -> None:
    def convert(content: Arrays) -> None:
        content["x_train"] = content["x_train"].astype(dtype)

    plain = prepared(changed(tmp_path / "plain.npz", lambda content: None), tmp_path / "plain")
    other = prepared(changed(tmp_path / "other.npz", convert), tmp_path / "other")
    np.testing.assert_allclose(plain.tracks, other.tracks, atol=2e-3 if dtype == "<f2" else 0)


def test_a_deflated_file_gives_what_a_stored_one_gives(published: Path, tmp_path: Path) -> None:
    deflated = tmp_path / "deflated.npz"
    np.savez_compressed(deflated, **arrays(60, seed=1))
    stored = prepared(published, tmp_path / "stored")
    assert stored.card.fingerprint == prepared(deflated, tmp_path / "deflated").card.fingerprint


def test_the_folder_that_holds_the_file_does_as_well(published: Path, tmp_path: Path) -> None:
    by_file, by_folder = (prepared(each, tmp_path / f"{each.name}-root") for each in (published, published.parent))
    assert by_file.card.fingerprint == by_folder.card.fingerprint


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_memory_does_not_grow_with_the_file(save: Callable[..., None], tmp_path: Path) -> None:
    content = arrays(60, seed=1)
    content["x_train"] = np.random.default_rng(0).normal(size=(120, 300, 150)).astype(np.float32)
    content["y_train"] = np.eye(60)[np.zeros(120, dtype=int)]
    save(tmp_path / "NTU60_CS.npz", **content)
    reader = Ntu60CrossSubject()
    with reader.open(tmp_path / "NTU60_CS.npz") as archive:
        units = reader.units(archive)
        tracemalloc.start()
        n_clips = sum(1 for unit in units for _ in reader.clips(archive, unit, on_bad=lambda name, reason: None))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert n_clips == 124
    assert peak < content["x_train"].nbytes / 4


@pytest.mark.parametrize("row", [np.zeros(60), np.eye(60)[3] + np.eye(60)[4], np.eye(60)[3] / 2, np.full(60, np.nan)])
def test_a_row_without_one_label_is_named(row: np.ndarray, tmp_path: Path) -> None:
    def blur(content: Arrays) -> None:
        content["y_train"][2] = row

    source = changed(tmp_path / "NTU60_CS.npz", blur)
    assert "x_train[2] has a row of y_train that is not one 1 among zeros" in refusal(source, tmp_path / "root")
    dataset = prepared(source, tmp_path / "root", skip_bad=True)
    assert list(dataset.card.skipped) == ["x_train[2]"]
    assert len(dataset.index) == 8


def test_a_row_of_zeros_is_named(tmp_path: Path) -> None:
    def empty(content: Arrays) -> None:
        content["x_test"][1] = 0

    source = changed(tmp_path / "NTU60_CS.npz", empty)
    assert "x_test[1] shows nobody in any of its" in refusal(source, tmp_path / "root")


def test_the_file_of_another_protocol_is_refused(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ntu60CrossView, "n_rows", (5, 4))
    assert "has the rows of NTU60_CV.npz; prepare it as ntu60-cv-npz" in refusal(published, tmp_path / "root")


def test_clips_of_the_published_files_add_up() -> None:
    """56,880 less 302, and 114,480 less 535, the clips that the owners list as missing."""
    totals = [sum(READERS.get(name).n_rows) for name in ("ntu60-cs-npz", "ntu60-cv-npz")]
    assert totals == [56_578, 56_578]
    assert [sum(READERS.get(f"ntu120-{name}-npz").n_rows) for name in ("csub", "cset")] == [113_945, 113_945]


# Damage


def test_a_flipped_bit_in_a_stored_array_is_found(published: Path, tmp_path: Path) -> None:
    content = bytearray(published.read_bytes())
    content[content.index(b"NUMPY") + 5000] ^= 1
    published.write_bytes(content)
    assert "x_train.npy is damaged: its checksum is wrong" in refusal(published, tmp_path / "root")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.update(x_train=a["x_train"][:3]), "x_train has 3 rows and y_train 5"),
        (lambda a: a.update(x_train=a["x_train"][..., :75]), "expected rows x frames x 150 of floats"),
        (lambda a: a.update(x_train=a["x_train"].astype(np.int32)), "x_train.npy has 5 x 30 x 150 of int32"),
        (lambda a: a.update(x_train=np.asfortranarray(a["x_train"])), "has its numbers in Fortran's order"),
        (lambda a: a.update(x_train=a["x_train"].astype(np.complex64)), "x_train.npy is no plain numpy array"),
        (lambda a: a.update(x_train=np.array([{}, None])), "x_train.npy is no plain numpy array"),
        (lambda a: a.update(x_train=np.array(3.0)), "x_train.npy is no plain numpy array"),
        (lambda a: a.update(x_train=np.zeros((5, 0, 150))), "x_train.npy has clips of 0 frames"),
        (lambda a: a.update(x_test=np.zeros((0, 9, 150))), "x_test.npy has 0 rows"),
        (lambda a: a.update(y_test=np.eye(120)[:4]), "y_test.npy has 4 x 120 of float64; expected rows x 60 classes"),
        (lambda a: a.update(y_test=np.arange(4)), "y_test.npy has 4 of int64; expected rows x 60 classes"),
        (lambda a: a.pop("y_test"), "holds no y_test.npy; it should be NTU60_CS.npz"),
    ],
)
def test_other_arrays_are_refused(change: Callable[[Arrays], object], reason: str, tmp_path: Path) -> None:
    assert reason in refusal(changed(tmp_path / "NTU60_CS.npz", change), tmp_path / "root")


def replaced(source: Path, name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """``source`` with another content of a member."""
    with zipfile.ZipFile(source) as old:
        members = {each: old.read(each) for each in old.namelist()} | {name: content}
    with zipfile.ZipFile(source, "w") as new:
        for each, bytes_ in members.items():
            new.writestr(each, bytes_, compression if each == name else zipfile.ZIP_STORED)
    return source


def npy(shape: str, descr: str = "<f4", numbers: int = 0) -> bytes:
    """An array whose header says what it likes."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(numbers)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"\x93NUMPY\x09\x00" + bytes(200),
        npy("(5, 300, 150)"),
        npy("(99999999999999, 300, 150)", numbers=1000),
        npy("(999999999999999, 999999999999999, 999999999999999)"),
        npy("(5, 30, 150)", "|O8", numbers=5 * 30 * 150 * 8),
        npy("(5, 30, 150)", "<f4,<f4", numbers=5 * 30 * 150 * 8),
        npy("((((((((((" * 50, numbers=1000),
        npy("(-5, 30, 150)", numbers=1000),
        npy("(__import__('os').abort(), 30, 150)", numbers=1000),
    ],
)
def test_a_header_that_lies_is_refused(content: bytes, published: Path, tmp_path: Path) -> None:
    assert "x_train.npy" in refusal(replaced(published, "x_train.npy", content), tmp_path / "root")


def test_an_array_that_inflates_beyond_measure_is_refused(published: Path, tmp_path: Path) -> None:
    bomb = npy("(5, 10000, 150)", numbers=5 * 10000 * 150 * 4)
    source = replaced(published, "x_train.npy", bomb, zipfile.ZIP_DEFLATED)
    assert "grows more than 256 times" in refusal(source, tmp_path / "root")


def test_a_clip_without_end_is_refused(published: Path, tmp_path: Path) -> None:
    source = replaced(published, "x_train.npy", npy("(1, 20000, 150)", numbers=20000 * 150 * 4))
    assert "has clips of 20000 frames; expected 1 to 16384" in refusal(source, tmp_path / "root")


def test_the_header_of_python_2_is_read(tmp_path: Path) -> None:
    published = write(tmp_path)
    content = io.BytesIO()
    np.save(content, arrays(60, seed=1)["x_train"])
    old = content.getvalue().replace(b"(5, 30, 150), }   ", b"(5L, 30L, 150L), }")
    assert b"5L" in old
    assert prepared(replaced(published, "x_train.npy", old), tmp_path / "root").card.n_clips == 9


@settings(max_examples=60, deadline=timedelta(seconds=20), database=None, suppress_health_check=list(HealthCheck))
@given(
    damage=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6),
    where=st.sampled_from(["headers", "directory", "anywhere", "cut"]),
    deflated=st.booleans(),
)
def test_damaged_bytes_of_the_zip_itself_end_in_clips_or_one_line(
    damage: list[tuple[int, int]], where: str, deflated: bool, tmp_path: Path
) -> None:
    path = tmp_path / "NTU60_CS.npz"
    (np.savez_compressed if deflated else np.savez)(path, **arrays(60, seed=1))
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    for at, value in damage:
        first, length = {"headers": (0, 200), "directory": (directory, len(content) - directory)}.get(
            where, (0, len(content))
        )
        if where == "cut":
            del content[at % len(content) :]
            content = content or bytearray(b"P")
        else:
            content[first + at % length] = value
    path.write_bytes(content)
    try:
        found = clips_and_bad(path)
    except (UserError, BadFile) as error:
        assert "\n" not in str(error)  # noqa: PT017 - anything else that is raised fails
    else:
        assert found == 9


def clips_and_bad(source: Path) -> int:
    """How many rows are told of, whether they are usable or not."""
    reader = Ntu60CrossSubject()
    bad: list[str] = []
    with reader.open(source) as archive:
        clips = [
            clip
            for unit in reader.units(archive)
            for clip in reader.clips(archive, unit, on_bad=lambda name, reason: bad.append(name))
        ]
    return len(clips) + len(bad)
