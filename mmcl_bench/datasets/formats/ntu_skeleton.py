"""Reading the ``.skeleton`` text form of NTU RGB+D fast, from bytes that nobody vouches for.

A file holds the number of frames; each frame holds the number of its bodies; each body a line of ten numbers that
begins with its id, the number of its joints, and a line a joint: x, y and z in metres, two positions in images, an
orientation and a tracking state. Source: shahroudy/NTURGB-D, ``Matlab/read_skeleton_file.m``.

Nine of a joint's twelve numbers are of no use here, so lines are not split: all line ends are found at once, a light
walk over frames and bodies tells what each line is, and the first three words of all joint lines become numbers in one
go. That works on regular text, with single blanks; any other text is made regular first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcl_bench.datasets.formats.archive import BadFile, text_bytes
from mmcl_bench.skeleton.clips import BodyTrack

N_JOINTS = 25
MAX_FRAMES = 1 << 17
"""In a clip, and in the tracks of a clip together: above an hour. The longest published clip has 300."""

_LINES_A_BODY = 2 + N_JOINTS
_BLANKS_A_BODY = 9 + 11 * N_JOINTS
_WINDOW = 64
"""Bytes of a joint line in which its first three words end; as many as there are bits in a number."""
_MAX_DIGITS = 20
_N_JOINTS_LINES = (b"25", b"25\r")
_ODD_BLANKS = bytes.maketrans(b"\t\v\f\r", b"   \n")
_SINGLE = ((b"  ", b" "), (b" \n", b"\n"), (b"\n ", b"\n"), (b"\n\n", b"\n"))


@dataclass(frozen=True)
class TrackedBody:
    """What the sensor took for one body: in each of ``frames`` (n,), ascending, it was at ``positions`` (n, 25, 3)."""

    body_id: int
    frames: np.ndarray
    positions: np.ndarray

    @property
    def n_spanned(self) -> int:
        """Frames from the first to the last in which it was seen."""
        return int(self.frames[-1] - self.frames[0]) + 1

    def track(self) -> BodyTrack:
        """Its track; all zeros where it was not seen."""
        start = int(self.frames[0])
        if len(self.frames) == self.n_spanned:
            return BodyTrack(start, self.positions)
        positions = np.zeros((self.n_spanned, *self.positions.shape[1:]), dtype=np.float32)
        positions[self.frames - start] = self.positions
        return BodyTrack(start, positions)


def parse_skeleton(content: bytes) -> tuple[int, list[TrackedBody]]:
    """The number of frames, and the bodies in the order in which they were first seen; positions are float32 metres.

    Raises :class:`BadFile` when the text is not of the form, or ends too early or too late.
    """
    content = text_bytes(content).strip()
    try:
        return _parse_regular(content)
    except BadFile:
        regular = _made_regular(content)
        if regular == content:
            raise
        return _parse_regular(regular)


def _made_regular(content: bytes) -> bytes:
    """The text with single blanks and line ends, and without empty lines."""
    content = content.translate(_ODD_BLANKS)
    for several, single in _SINGLE:
        while several in content:
            content = content.replace(several, single)
    return content


def _parse_regular(content: bytes) -> tuple[int, list[TrackedBody]]:
    # The window of the last joint may reach beyond the text.
    content = b"".join((content, b"\n", bytes(_WINDOW)))
    text = np.frombuffer(content, np.uint8)
    line_ends = np.flatnonzero(text == ord("\n"))
    outline = _outline(content, line_ends)
    if np.count_nonzero(text == ord(" ")) != _BLANKS_A_BODY * len(outline.frames):
        raise BadFile("has lines with too few or too many numbers")
    positions = _positions(content, line_ends[outline.joint_lines() - 1] + 1)
    return outline.n_frames, _bodies(outline, positions.reshape(-1, N_JOINTS, 3))


@dataclass(frozen=True)
class _Outline:
    """What stands where in a file. A sighting is one body in one frame."""

    n_frames: int
    frames: list[int]
    """The frame of each sighting."""
    lines: list[int]
    """The first line of each sighting."""
    sightings: dict[bytes, list[int]]
    """By body id, in the order in which bodies were first seen."""

    def joint_lines(self) -> np.ndarray:
        """The line of each joint of each sighting."""
        return (np.array(self.lines, dtype=np.int64)[:, None] + np.arange(2, _LINES_A_BODY)).ravel()


def _outline(content: bytes, line_ends: np.ndarray) -> _Outline:
    """Walks from frame to frame and from body to body."""
    end: memoryview = line_ends.data
    outline = _Outline(_n_frames(content[: end[0]].rstrip()), [], [], {})
    line = 1
    try:
        for frame in range(outline.n_frames):
            n_bodies = _whole(content[end[line - 1] + 1 : end[line]].rstrip(), frame)
            first, line = line + 1, line + 1 + n_bodies * _LINES_A_BODY
            for info in range(first, line, _LINES_A_BODY):
                n_joints = content[end[info] + 1 : end[info + 1]]
                if n_joints not in _N_JOINTS_LINES:
                    found = _whole(n_joints.rstrip(), frame)
                    raise BadFile(f"has a body of {found} joints in frame {frame + 1}; expected {N_JOINTS}")
                body_id = content[end[info - 1] + 1 : end[info]].partition(b" ")[0]
                outline.sightings.setdefault(body_id, []).append(len(outline.lines))
                outline.frames.append(frame)
                outline.lines.append(info)
    except IndexError:
        raise BadFile(f"is cut short in frame {frame + 1} of {outline.n_frames}") from None
    if line > len(end):
        raise BadFile(f"is cut short in frame {outline.n_frames} of {outline.n_frames}")
    if line < len(end):
        raise BadFile(f"goes on after its {outline.n_frames} frames")
    return outline


def _n_frames(word: bytes) -> int:
    if not word.isdigit():
        raise BadFile("does not begin with a number of frames" if word else "is empty")
    if len(word) > _MAX_DIGITS or int(word) > MAX_FRAMES:
        raise BadFile(f"says that it has {_shown(word)} frames; more than {MAX_FRAMES} are refused")
    return int(word)


def _whole(word: bytes, frame: int) -> int:
    if not word.isdigit() or len(word) > _MAX_DIGITS:
        raise BadFile(f"has {_shown(word)} where a whole number should stand, in frame {frame + 1}")
    return int(word)


def _positions(content: bytes, starts: np.ndarray) -> np.ndarray:
    """float32 (n, 3): the first three words of the lines that begin at ``starts``."""
    if not len(starts):
        return np.empty((0, 3), dtype=np.float32)
    # To Arrow, words and the blanks between them are strings that follow one another; every other one is null.
    bounds = np.empty((len(starts), 6), dtype=np.int32)
    bounds[:, 0] = starts
    bounds[:, 1::2] = _first_blanks(content, starts)
    bounds[:, 2::2] = bounds[:, 1:-1:2] + 1
    n_strings = bounds.size - 1
    every_other = pa.py_buffer(b"\x55" * (n_strings // 8 + 1))
    words = pa.StringArray.from_buffers(n_strings, pa.py_buffer(bounds), pa.py_buffer(content), every_other)
    try:
        numbers = np.frombuffer(pc.cast(words, pa.float64()).buffers()[1], np.float64, n_strings)[::2]
    except pa.ArrowInvalid:
        # Arrow refuses what is too small or too large for a double.
        numbers = np.array([_number(content[start:end]) for start, end in bounds.reshape(-1, 2).tolist()])
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32).reshape(-1, 3)


def _first_blanks(content: bytes, starts: np.ndarray) -> np.ndarray:
    """(n, 3): where the first three blanks after each of ``starts`` stand."""
    windows = np.ndarray(len(content) - _WINDOW + 1, f"V{_WINDOW}", content, strides=(1,))[starts]
    left = np.packbits(windows.view(np.uint8) == ord(" "), bitorder="little").view("<u8")
    blanks = np.empty((len(starts), 3), dtype=np.int64)
    for nth in range(3):
        without_lowest = left & (left - np.uint64(1))
        # The exponent of a power of two is the place of its one bit; a double keeps it from bit 52 on, plus 1023.
        exponent = (left ^ without_lowest).astype(np.float64).view(np.int64) >> 52
        blanks[:, nth] = starts + exponent - 1023
        left, found = without_lowest, left != 0
    for row in np.flatnonzero(~found):
        blanks[row] = _first_blanks_of_line(content, int(starts[row]))
    return blanks


def _first_blanks_of_line(content: bytes, start: int) -> list[int]:
    blanks = [start - 1]
    for _ in range(3):
        blanks.append(content.find(b" ", blanks[-1] + 1))
        if blanks[-1] < 0:
            raise BadFile("has lines with too few or too many numbers")
    return blanks[1:]


def _number(word: bytes) -> float:
    try:
        if b"_" in word:
            raise ValueError
        return float(word)
    except ValueError:
        raise BadFile(f"has {_shown(word)} for a coordinate") from None


def _shown(word: bytes) -> str:
    return repr(word[:_MAX_DIGITS].decode("ascii", "replace"))


def _bodies(outline: _Outline, positions: np.ndarray) -> list[TrackedBody]:
    """The bodies, from the ``positions`` (n, 25, 3) of all sightings."""
    frames = np.array(outline.frames, dtype=np.int64)
    bodies = []
    for body_id, sightings in outline.sightings.items():
        body = TrackedBody(_whole(body_id, outline.frames[sightings[0]]), frames[sightings], positions[sightings])
        if not np.diff(body.frames).all():
            raise BadFile(f"has body {body.body_id} twice in one frame")
        bodies.append(body)
    if (n_spanned := sum(body.n_spanned for body in bodies)) > MAX_FRAMES:
        raise BadFile(f"has tracks of {n_spanned} frames; more than {MAX_FRAMES} are refused")
    return bodies
