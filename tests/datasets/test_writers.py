"""Writers of NTU's text form and of CTR-GCN's npz, read back by plain code of these tests and by numpy."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.parallel import in_order
from mmcl_bench.datasets.writers import new_output
from mmcl_bench.datasets.writers.ctr_gcn_npz import Fold, row, write_npz
from mmcl_bench.datasets.writers.ntu_skeleton import NAME, ClipNames, skeleton_text, write_files
from mmcl_bench.skeleton.clips import BodyTrack

RNG = np.random.default_rng(3)


def track(start: int, n_frames: int) -> BodyTrack:
    return BodyTrack(start, RNG.normal([0, 0, 3], 0.4, (n_frames, 25, 3)).astype(np.float32))


def read_plainly(text: bytes) -> list[list[tuple[list[str], np.ndarray]]]:
    """By frame and body: the words of the body's line, and all numbers of its joints, (25, 12)."""
    lines = iter(text.decode("ascii").split("\r\n"))
    frames = []
    for _ in range(int(next(lines))):
        bodies = []
        for _ in range(int(next(lines))):
            body = next(lines).split(" ")
            joints = np.array([[float(word) for word in next(lines).split(" ")] for _ in range(int(next(lines)))])
            bodies.append((body, joints))
        frames.append(bodies)
    assert list(lines) == [""]
    return frames


# Text files


def test_every_body_stands_in_the_frames_in_which_it_is_seen() -> None:
    first, second = track(1, 4), track(2, 2)
    first.positions[1] = 0
    frames = read_plainly(skeleton_text(7, (first, second)))
    assert [len(bodies) for bodies in frames] == [0, 1, 1, 2, 1, 0, 0]
    [(late, late_joints)], [(early, early_joints), _] = frames[2], frames[3]
    np.testing.assert_array_equal(late_joints[:, :3].astype(np.float32), second.positions[0])
    np.testing.assert_array_equal(early_joints[:, :3].astype(np.float32), first.positions[2])
    assert len(early) == len(late) == 10
    assert early_joints.shape == (25, 12)


def test_ids_of_bodies_differ_even_as_floating_point_numbers() -> None:
    frames = read_plainly(skeleton_text(2, (track(0, 2), track(0, 2), track(0, 1))))
    assert len({float(body[0]) for body, _ in frames[0]}) == 3
    assert [body[0] for body, _ in frames[0]][:2] == [body[0] for body, _ in frames[1]]


def test_joints_that_were_not_seen_are_not_tracked() -> None:
    body = track(0, 1)
    body.positions[0, [3, 7]] = 0
    [[(_, joints)]] = read_plainly(skeleton_text(1, (body,)))
    assert np.flatnonzero(joints[:, 11] == 0).tolist() == [3, 7]
    assert (np.delete(joints[:, 11], [3, 7]) == 2).all()
    assert not joints[[3, 7], :7].any()


def test_joints_are_projected_as_by_a_kinect_v2() -> None:
    """At 2 m, the corners of what a camera of 70.6 x 60 degrees sees are those of its 512 x 424 pixels."""
    body = track(0, 1)
    right, up = 2 * np.tan(np.radians(35.3)), 2 * np.tan(np.radians(30))
    body.positions[0, :4] = [[0, 0, 2], [right, up, 2], [-right, -up, 2], [1, 1, -1]]
    [[(_, joints)]] = read_plainly(skeleton_text(1, (body,)))
    np.testing.assert_allclose(joints[:4, 3:5], [[256, 212], [512, 0], [0, 424], [0, 0]], atol=1e-3)
    assert joints[0, 5:7].tolist() == [960, 540]


@settings(max_examples=40)
@given(hnp.arrays(np.float32, (2, 25, 3), elements=st.floats(-90, 90, width=32, allow_subnormal=False)))
def test_any_float32_comes_back(positions: np.ndarray) -> None:
    frames = read_plainly(skeleton_text(2, (BodyTrack(0, positions),)))
    for bodies, expected in zip(frames, positions, strict=True):
        assert len(bodies) == expected.any()
        for _, joints in bodies:
            np.testing.assert_array_equal(joints[:, :3].astype(np.float32), expected)


def test_names_are_of_the_published_form_and_unlike_those_that_are_taken() -> None:
    names = ClipNames({"S001C002P003R002A005"})
    made = [names.name(1, 2, 3, 4) for _ in range(3)]
    assert made == ["S001C002P003R001A005", "S001C002P003R003A005", "S001C002P003R004A005"]
    assert names.name(0, 0, 0, 0) == "S001C001P001R001A001"


@pytest.mark.parametrize("numbers", [(1, 1, 1, 999), (1, 1, 1000, 1), (1000, 1, 1, 1)])
def test_numbers_of_four_digits_have_no_name(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(UserError, match="no name of NTU RGB"):
        ClipNames().name(*numbers)


def test_a_thousandth_repetition_has_no_name() -> None:
    names = ClipNames()
    made = {names.name(1, 1, 1, 1) for _ in range(999)}
    assert len(made) == 999
    with pytest.raises(UserError, match="R1000"):
        names.name(1, 1, 1, 1)


@pytest.mark.parametrize("output", ["set", "set.zip"])
def test_files_are_there_when_all_are(output: str, tmp_path: Path) -> None:
    files = {f"{number}.skeleton": bytes([number]) * 9 for number in range(5)}

    def stopped() -> Iterator[tuple[str, bytes]]:
        yield from files.items()
        assert not (tmp_path / output).exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path / output, stopped())
    assert list(tmp_path.iterdir()) == []
    write_files(tmp_path / output, files.items())
    assert [path.name for path in tmp_path.iterdir()] == [output]
    if output == "set":
        assert {path.name: path.read_bytes() for path in (tmp_path / output).iterdir()} == files
    else:
        with zipfile.ZipFile(tmp_path / output) as zipped:
            assert zipped.testzip() is None
            assert {Path(name).name: zipped.read(name) for name in zipped.namelist()} == files


def test_a_zip_has_the_same_bytes_whenever_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [("a.skeleton", b"a" * 100), ("b.skeleton", b"b")]
    write_files(tmp_path / "now.zip", files)
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *when: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    write_files(tmp_path / "later.zip", files)
    assert (tmp_path / "now.zip").read_bytes() == (tmp_path / "later.zip").read_bytes()


# npz


def test_a_row_has_two_bodies_and_zeros_where_they_are_not_seen() -> None:
    first, second, third = track(0, 5), track(2, 2), track(0, 5)
    dense = row((first, second, third), 8).reshape(8, 2, 25, 3)
    np.testing.assert_array_equal(dense[:5, 0], first.positions)
    np.testing.assert_array_equal(dense[2:4, 1], second.positions)
    assert not dense[5:].any()
    assert not dense[[0, 1, 4], 1].any()


def test_frames_without_a_body_are_left_out() -> None:
    early, late = track(1, 2), track(5, 2)
    dense = row((early, late), 9).reshape(9, 2, 25, 3)
    np.testing.assert_array_equal(dense[:2, 0], early.positions)
    np.testing.assert_array_equal(dense[2:4, 1], late.positions)
    assert not dense[4:].any()


def test_a_centred_row_is_moved_as_the_published_files_are() -> None:
    """As in seq_transformation.py: joint 2 of the first body, when it is first seen, is taken from all that is seen."""
    first, second = track(1, 4), track(0, 3)
    moved = row((first, second), 5, centred=True).reshape(5, 2, 25, 3)
    origin = first.positions[0, 1]
    np.testing.assert_array_equal(moved[1:, 0], first.positions - origin)
    np.testing.assert_array_equal(moved[:3, 1], second.positions - origin)
    assert not moved[0, 0].any()
    assert not moved[3:, 1].any()


def test_where_the_middle_of_the_spine_is_not_seen_a_row_is_moved_by_where_it_is_put() -> None:
    body = track(0, 4)
    for frames, place in ((slice(0, 2), body.positions[2, 1]), (slice(None), body.positions[0, [0, 20]].mean(0))):
        body.positions[frames, 1] = 0
        moved = row((body,), 4, centred=True).reshape(4, 2, 25, 3)
        np.testing.assert_allclose(moved[:, 0, 4], body.positions[:, 4] - place, atol=1e-6)
        assert not moved[frames, 0, 1].any()


def folds(rows: np.ndarray) -> tuple[Fold, Fold]:
    def given(part: np.ndarray) -> Callable[[], Generator[np.ndarray]]:
        return lambda: (each for each in part)

    return Fold(np.array([2, 0, 1]), given(rows[:3])), Fold(np.array([1, 1]), given(rows[3:]))


def test_numpy_loads_what_is_written(tmp_path: Path) -> None:
    rows = RNG.normal(size=(5, 6, 150)).astype(np.float32)
    write_npz(tmp_path / "set.npz", *folds(rows), n_frames=6, n_classes=3)
    with np.load(tmp_path / "set.npz") as npz:
        assert npz.files == ["x_train", "y_train", "x_test", "y_test"]
        np.testing.assert_array_equal(npz["x_train"], rows[:3])
        np.testing.assert_array_equal(npz["x_test"], rows[3:])
        np.testing.assert_array_equal(npz["y_train"], [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
        np.testing.assert_array_equal(npz["y_test"], [[0, 1, 0], [0, 1, 0]])
        assert (npz["x_train"].dtype, npz["y_train"].dtype) == (np.float32, np.float64)


def test_a_stopped_npz_leaves_nothing(tmp_path: Path) -> None:
    closed = []

    def stopped() -> Generator[np.ndarray]:
        try:
            yield np.zeros((6, 150))
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    fold = Fold(np.array([0, 1]), stopped)
    with pytest.raises(KeyboardInterrupt):
        write_npz(tmp_path / "set.npz", fold, fold, n_frames=6, n_classes=3)
    assert list(tmp_path.iterdir()) == []
    assert closed


# Where it goes


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "full", "link"):
        with pytest.raises(UserError, match="is there already"), new_output(tmp_path / name):
            pytest.fail("was let through")


def test_missing_folders_are_made_and_an_empty_one_serves(tmp_path: Path) -> None:
    with new_output(tmp_path / "new" / "deep" / "set"):
        write_files(tmp_path / "new" / "deep" / "set", [("a", b"")])
    (tmp_path / "empty").mkdir()
    with new_output(tmp_path / "empty"):
        write_files(tmp_path / "empty", [("a", b"")])
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["a"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set: cannot be written \(No space left"), new_output(tmp_path / "set"):
        raise OSError(28, "No space left on device")


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="cannot be written"), new_output(tmp_path / "file" / "set"):
        pytest.fail("was let through")


# Processes


def square(number: int) -> int:
    return number * number


def die(number: int) -> int:
    os._exit(3)


def fail(number: int) -> int:
    raise UserError(f"{number} is bad")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(in_order(square, range(100), workers)) == [number**2 for number in range(100)]


def test_few_items_are_ahead_of_what_is_taken() -> None:
    given: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            given.append(number)
            yield number

    made = in_order(square, items(), 2)
    assert [next(made) for _ in range(3)] == [0, 1, 4]
    made.close()
    assert len(given) < 200


@pytest.mark.parametrize(("make", "line"), [(die, "a process was killed"), (fail, "0 is bad")])
def test_what_goes_wrong_in_a_process_is_told(make: Callable[[int], Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        list(in_order(make, range(20), 2))


def test_the_form_of_names_is_that_of_the_reader() -> None:
    from mmcl_bench.datasets.readers.ntu import Ntu60

    assert Ntu60.file_name.fullmatch(f"{ClipNames().name(17, 3, 40, 59)}.skeleton")
    assert NAME.count(r"\d{3}") == 5
