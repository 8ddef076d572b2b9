"""The text form of NTU RGB+D: right to the last bit where it is right, refused where it is not."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.formats.ntu_skeleton import MAX_FRAMES, TrackedBody, parse_skeleton
from published.ntu60 import Sighting, clip_file, moving_person, skeleton_file


def joints(x: str, z: str) -> str:
    """The lines of 25 joints, of which joint j is j hundredths of a metre high."""
    return "\n".join(f"{x} 0.{j:02d} {z} 277.419 191.82 1036.233 519.16 -0.2 0.05 0.97 -0.12 2" for j in range(25))


BY_HAND = f"""4
2
72057594037931101 0 1 1 1 1 0 -0.1062439 0.03214923 2
25
{joints("0.2181153", "3.785547")}
72057594037931102 2 0 0 1 0 0 0.4 -0.1 2
25
{joints("-1", "2.5e-1")}
1
72057594037931101 0 1 1 1 1 0 -0.1062439 0.03214923 2
25
{joints("0.3", "3.7")}
0
2
72057594037931102 2 0 0 1 0 0 0.4 -0.1 2
25
{joints("-2", "4")}
72057594037931101 0 1 1 1 1 0 -0.1062439 0.03214923 2
25
{joints("0.5", "3.5")}
"""


def at(x: float, z: float) -> np.ndarray:
    """What :func:`joints` says, as (25, 3)."""
    return np.stack([np.full(25, x), np.arange(25) / 100, np.full(25, z)], axis=1).astype(np.float32)


def one_frame(first_joint: str) -> bytes:
    """A file with one body in one frame."""
    _, _, info, count, _, *others = BY_HAND.splitlines()[:29]
    return "\n".join(["1", "1", info, count, f"{first_joint} 0 0 0 0 0 0 0 0 2", *others]).encode()


def read_plainly(content: bytes) -> list[list[tuple[int, np.ndarray]]]:
    """(body id, float32 (25, 3)) of each body of each frame, read line by line."""
    file = io.StringIO(content.decode())

    def body() -> tuple[int, np.ndarray]:
        body_id = int(file.readline().split()[0])
        lines = [file.readline().split()[:3] for _ in range(int(file.readline()))]
        return body_id, np.array([[float(word) for word in line] for line in lines]).astype(np.float32)

    return [[body() for _ in range(int(file.readline()))] for _ in range(int(file.readline()))]


def as_frames(n_frames: int, bodies: list[TrackedBody]) -> list[dict[int, np.ndarray]]:
    """By frame, the positions of the bodies that were seen in it."""
    frames: list[dict[int, np.ndarray]] = [{} for _ in range(n_frames)]
    for body in bodies:
        for frame, positions in zip(body.frames, body.positions, strict=True):
            frames[frame][body.body_id] = positions
    return frames


def test_a_file_written_by_hand_with_a_body_that_is_missing_in_the_middle() -> None:
    n_frames, (first, second) = parse_skeleton(BY_HAND.encode())
    assert n_frames == 4
    assert (first.body_id, second.body_id) == (72057594037931101, 72057594037931102)
    track = first.track()
    assert track.start == 0
    assert track.positions.dtype == np.float32
    np.testing.assert_array_equal(
        track.positions, [at(0.2181153, 3.785547), at(0.3, 3.7), np.zeros((25, 3)), at(0.5, 3.5)]
    )
    track = second.track()
    assert track.start == 0
    np.testing.assert_array_equal(track.positions, [at(-1, 0.25), np.zeros((25, 3)), np.zeros((25, 3)), at(-2, 4)])


def test_a_body_that_comes_late_begins_late_and_ends_with_its_last_frame() -> None:
    person = moving_person(1, 6)
    seen = [[], [], [Sighting(7, person[2])], [Sighting(7, person[3])], [], []]
    n_frames, (body,) = parse_skeleton(skeleton_file(seen))
    assert n_frames == 6
    assert body.track().start == 2
    np.testing.assert_allclose(body.track().positions, person[2:4], rtol=1e-6)


def test_a_file_without_bodies_has_frames_all_the_same() -> None:
    assert parse_skeleton(b"3\r\n0\r\n0\r\n0\r\n") == (3, [])


def test_ids_beyond_the_precision_of_floats_are_told_apart() -> None:
    person = moving_person(1, 2)
    frames = [[Sighting(2**62, person[0]), Sighting(2**62 + 1, person[1])]]
    _, bodies = parse_skeleton(skeleton_file(frames))
    assert [body.body_id for body in bodies] == [2**62, 2**62 + 1]


number = st.one_of(
    st.floats(-10, 10).map(lambda x: f"{x:.7g}"),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e-300, 1e-300).map(lambda x: f"{x:.30e}"),
    st.sampled_from(["0", "-0", "1e-400", "-7.450581E-09", "+1.5", ".5", "5.", "0." + "0" * 70 + "1", "1" * 40]),
)


@given(st.lists(number, min_size=3, max_size=3))
@settings(max_examples=300)
def test_numbers_are_what_python_reads_rounded_once(words: list[str]) -> None:
    content = one_frame(" ".join(words))
    with np.errstate(over="ignore"):
        expected = np.array([float(word) for word in words]).astype(np.float32)
    _, (body,) = parse_skeleton(content)
    np.testing.assert_array_equal(body.positions[0, 0].view(np.uint32), expected.view(np.uint32))


@given(
    st.lists(st.lists(st.sampled_from([5, 72057594037931101, 72057594037931102]), unique=True, max_size=3), max_size=8),
    st.sampled_from(["\n", "\r\n", "\r", "  \r\n", "\t\n\n"]),
)
@settings(max_examples=100)
def test_files_read_as_line_by_line(seen: list[list[int]], line_end: str) -> None:
    person = moving_person(3, 30)
    frames = [
        [Sighting(body_id, person[3 * frame + at]) for at, body_id in enumerate(ids)] for frame, ids in enumerate(seen)
    ]
    expected = [dict(frame) for frame in read_plainly(skeleton_file(frames, "\n"))]
    read = as_frames(*parse_skeleton(skeleton_file(frames, line_end)))
    for found, wanted in zip(read, expected, strict=True):
        assert set(found) == set(wanted)
        for body_id, positions in wanted.items():
            np.testing.assert_array_equal(found[body_id], positions)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", " \n"),
        lambda text: text.replace("\n", "\n  "),
        lambda text: text.replace(" ", "  "),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n25\n", " \n25\n", 1),
        lambda text: text.rstrip("\n"),
        lambda text: f"\n{text}\r\n \r\n",
    ],
)
def test_blanks_and_line_ends_of_any_kind_change_nothing(change: Callable[[str], str]) -> None:
    n_frames, bodies = parse_skeleton(change(BY_HAND).encode())
    _, expected = parse_skeleton(BY_HAND.encode())
    assert n_frames == 4
    for body, wanted in zip(bodies, expected, strict=True):
        assert body.body_id == wanted.body_id
        np.testing.assert_array_equal(body.frames, wanted.frames)
        np.testing.assert_array_equal(body.positions, wanted.positions)


LINES = BY_HAND.splitlines()


def with_line(number: int, line: str | None) -> str:
    """The file with another line of this number, counted from 0, or without it."""
    return "\n".join([*LINES[:number], *([] if line is None else [line]), *LINES[number + 1 :]])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (" \r\n\n ", "is empty"),
        ("\x00\x01\x02", "does not begin with a number of frames"),
        ("x\n", "does not begin with a number of frames"),
        ("-1\n0\n", "does not begin with a number of frames"),
        ("2.0\n0\n0\n", "does not begin with a number of frames"),
        ("3\n0\n0\n", "is cut short in frame 3 of 3"),
        ("3\n0\n0\n0\n0\n", "goes on after its 3 frames"),
        (f"{MAX_FRAMES + 1}\n0\n", f"says that it has '{MAX_FRAMES + 1}' frames; more than {MAX_FRAMES} are refused"),
        ("9" * 5000 + "\n0\n", "says that it has '99999999999999999999' frames"),
        ("1\n-1\n", "has '-1' where a whole number should stand, in frame 1"),
        ("1\n1 1\n", "has '1 1' where a whole number should stand, in frame 1"),
        ("1\n" + "9" * 20 + "\n", "is cut short in frame 1 of 1"),
        ("1\n" + "9" * 21 + "\n", "has '99999999999999999999' where a whole number should stand, in frame 1"),
        (with_line(0, "3"), "goes on after its 3 frames"),
        (with_line(0, "5"), "is cut short in frame 5 of 5"),
        (with_line(1, "1"), "has '72057594037931102 2 ' where a whole number should stand, in frame 2"),
        (with_line(1, "3"), "has .* where a whole number should stand, in frame 1"),
        (with_line(3, "24"), "has a body of 24 joints in frame 1; expected 25"),
        (with_line(3, "25.0"), "has '25.0' where a whole number should stand, in frame 1"),
        (with_line(2, LINES[2].replace("7205", "0x05")), "has '0x057594037931101' where a whole number should stand"),
        (with_line(2, LINES[2] + " 0"), "has lines with too few or too many numbers"),
        (with_line(4, "0.1 0.2"), "has lines with too few or too many numbers"),
        (with_line(4, LINES[4].replace("3.785547", "3,785547")), "has '3,785547' for a coordinate"),
        (with_line(4, LINES[4].replace("3.785547", "3.78l547")), "has '3.78l547' for a coordinate"),
        (with_line(4, LINES[4].replace("3.785547", "3_7")), "has '3_7' for a coordinate"),
        (with_line(4, LINES[4].replace("3.785547", "0x1p3")), "has '0x1p3' for a coordinate"),
        (with_line(20, None), "has .* where a whole number should stand, in frame 1"),
        (BY_HAND.replace("931102 2 0", "931101 2 0"), "has body 72057594037931101 twice in one frame"),
        (BY_HAND[: len(BY_HAND) // 2], "is cut short in frame 3 of 4"),
        (BY_HAND[:-20], "has lines with too few or too many numbers"),
    ],
)
def test_what_is_not_of_the_form_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(BadFile, match=reason):
        parse_skeleton(text.encode())


def test_an_encoding_without_a_mark_is_refused() -> None:
    with pytest.raises(BadFile, match="does not begin with a number of frames"):
        parse_skeleton(BY_HAND.encode("utf-16-be"))


def test_nan_and_infinity_are_numbers_and_left_to_be_found() -> None:
    _, (body,) = parse_skeleton(one_frame("nan -inf 1e39"))
    np.testing.assert_array_equal(body.positions[0, 0], [np.nan, -np.inf, np.inf])


def test_bodies_seen_at_both_ends_of_many_empty_frames_do_not_fill_the_memory() -> None:
    person = moving_person(1, 1)[0]
    crowd = [Sighting(body_id, person) for body_id in range(10)]
    # Ten tracks of 20,000 frames would take 60 MB.
    content = skeleton_file([crowd, *[[]] * 19_998, crowd])
    tracemalloc.start()
    with pytest.raises(BadFile, match="has tracks of 200000 frames; more than 131072 are refused"):
        parse_skeleton(content)
    assert tracemalloc.get_traced_memory()[1] < 15e6
    tracemalloc.stop()


SOUND = clip_file(1, n_bodies=2, n_frames=3)
position = st.integers(0, len(SOUND))
damage = st.one_of(
    st.tuples(st.just("cut"), position, position),
    st.tuples(st.just("put"), position, st.binary(max_size=4)),
    st.tuples(
        st.just("put"), position, st.sampled_from([b" ", b"\n", b"25", b"0", b"-", b"e9999", b"nan", b"\r", b"1 "])
    ),
    st.tuples(st.just("over"), position, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("again"), position, position),
)


def damaged(content: bytes, kind: str, place: int, what: int | bytes) -> bytes:
    if isinstance(what, bytes):
        return content[:place] + what + content[place + (len(what) if kind == "over" else 0) :]
    first, last = sorted((place, what))
    return content[:first] + (content[last:] if kind == "cut" else content[first:last] + content[first:])


def outcome(content: bytes) -> str | None:
    """Why the file is refused, or None, when its bodies are sound."""
    try:
        n_frames, bodies = parse_skeleton(content)
    except BadFile as error:
        return str(error)
    for body in bodies:
        track = body.track()
        assert track.positions.shape[1:] == (25, 3)
        assert 0 <= track.start < track.start + len(track.positions) <= n_frames
    return None


@given(st.lists(damage, min_size=1, max_size=3))
@settings(max_examples=400)
def test_damaged_files_are_bodies_or_refused_in_one_line(damages: list[tuple[str, int, int | bytes]]) -> None:
    content = SOUND
    for kind, place, what in damages:
        content = damaged(content, kind, place, what)
    assert (outcome(content) or "").isprintable()


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_are_bodies_or_refused_in_one_line(content: bytes) -> None:
    assert (outcome(content) or "").isprintable()
