"""Writing clips as ``.skeleton`` text files, the form in which NTU RGB+D is published.

Form: shahroudy/NTURGB-D, ``Matlab/read_skeleton_file.m``. Lines end as on Windows, where the Kinect ran.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically
from mmcl_bench.datasets.formats.archive import SYNTHETIC_MARK
from mmcl_bench.datasets.store import atomic_folder
from mmcl_bench.datasets.writers import SYNTHETIC_NOTE
from mmcl_bench.skeleton.clips import BodyTrack

NAME = r"S\d{3}C\d{3}P\d{3}R\d{3}A\d{3}"
"""Of a clip: setup, camera, person, repetition, action."""
LINE_END = "\r\n"
N_JOINTS = 25
FIRST_BODY_ID, BODY_ID_STEP = 1 << 56, 16
"""Kinect's ids begin here. At this step they stay apart even where they are read as floating-point numbers."""
FOLDER_IN_ZIP = "nturgbd_skeletons"
MAX_NUMBER = 999
"""Of a setup, camera, subject, repetition or action: three digits."""

_DEPTH = (512, 424, 70.6, 60.0)
_COLOUR = (1920, 1080, 84.1, 53.8)
"""Width and height of Kinect v2's images in pixels, and the angles of view in degrees: the figures of its makers."""
_NEAREST = 0.1
"""Metres; what is nearer is on no image."""
_SEEN, _UNSEEN = 2, 0
"""Tracking states of a joint: tracked, not tracked."""

_NO_ORIENTATION = "0 0 0 0"


def skeleton_text(n_frames: int, bodies: Sequence[BodyTrack]) -> bytes:
    """The text of a clip of ``n_frames`` with tracks in kinect-v2, float32 metres, y up.

    Numbers are as short as they can be and still give back the float32. A frame of a track that is all zeros has no
    such body; there is one track at least. Positions in the images are those of a pinhole camera with Kinect v2's
    angles of view, both in the place of the depth camera.
    """
    seen = [np.flatnonzero(body.positions.any(axis=(1, 2))) for body in bodies]
    positions = np.concatenate([body.positions[rows] for body, rows in zip(bodies, seen, strict=True)])
    frames = np.concatenate([body.start + rows for body, rows in zip(bodies, seen, strict=True)])
    numbers = np.repeat(np.arange(len(bodies)), [len(rows) for rows in seen])
    order = np.lexsort((numbers, frames))
    heads, tail = _heads(n_frames, frames[order].tolist(), numbers[order].tolist())
    return _joined(heads, _columns(positions[order])) + tail.encode("ascii")


def _heads(n_frames: int, frames: Sequence[int], numbers: Sequence[int]) -> tuple[list[str], str]:
    """What stands before the joints of each sighting, a body in a frame, and what stands behind the last.

    ``frames`` ascend. Edges that cut the body, states of the hands and lean are 0, as no set here has them.
    """
    counts = Counter(frames)
    heads, told = [], 0
    opening = f"{n_frames}{LINE_END}"
    for frame, number in zip(frames, numbers, strict=True):
        opening += "".join(f"{counts[each]}{LINE_END}" for each in range(told, frame + 1))
        told = frame + 1
        body_id = FIRST_BODY_ID + BODY_ID_STEP * number
        heads.append(f"{opening}{body_id} 0 0 0 0 0 0 0 0 2{LINE_END}{N_JOINTS}{LINE_END}")
        opening = ""
    return heads, opening + f"0{LINE_END}" * (n_frames - told)


def _joined(heads: Sequence[str], columns: Sequence[pa.Array]) -> bytes:
    """The heads, each with the lines of 25 joints behind, whose words stand in ``columns``."""
    before = [word for head in heads for word in (head, *[""] * (N_JOINTS - 1))]
    lines = pc.binary_join_element_wise(*columns, " ")
    text = pc.binary_join_element_wise(pa.array(before, pa.string()), lines, LINE_END, "")
    return "".join(text.to_pylist()).encode("ascii")


def _columns(positions: np.ndarray) -> list[pa.Array]:
    """The words of all joint lines, from (n, V, 3): x, y, z, places in both images, orientation, tracking state."""
    joints = np.ascontiguousarray(positions, dtype=np.float32).reshape(-1, 3)
    numbers = np.concatenate([joints, _projected(joints, *_DEPTH), _projected(joints, *_COLOUR)], axis=1)
    words = [pa.array(np.ascontiguousarray(column, dtype=np.float32)).cast(pa.string()) for column in numbers.T]
    states = np.where(joints.any(axis=1), _SEEN, _UNSEEN)
    return [*words, pa.array([_NO_ORIENTATION] * len(joints), pa.string()), pa.array(states).cast(pa.string())]


def _projected(positions: np.ndarray, width: int, height: int, across: float, upright: float) -> np.ndarray:
    """(..., 2) pixels from the top left corner; zeros for what no camera sees."""
    half = np.array([width, height]) / 2
    focal = half / np.tan(np.radians([across, upright]) / 2) * [1, -1]
    depth = positions[..., 2:]
    visible = depth >= _NEAREST
    return np.where(visible, half + focal * positions[..., :2] / np.where(visible, depth, 1), 0)


class ClipNames:
    """Hands out names of clips, ``SsssCcccPpppRrrrAaaa``, each once, with repetitions counted from 1.

    ``taken`` names are passed over, such as those of samples that readers of NTU RGB+D leave out. Numbers that a set
    lacks, which are 0, become 1.
    """

    def __init__(self, taken: Collection[str] = ()) -> None:
        self._taken = taken
        self._last: Counter[tuple[int, int, int, int]] = Counter()

    def name(self, setup: int, camera: int, subject: int, label: int) -> str:
        """The next name of a clip of class ``label``, from 0. Raises :class:`UserError` when three digits are few."""
        numbers = (max(setup, 1), max(camera, 1), max(subject, 1), label + 1)
        while True:
            self._last[numbers] += 1
            name = "S{:03d}C{:03d}P{:03d}R{repetition:03d}A{:03d}".format(*numbers, repetition=self._last[numbers])
            if max(*numbers, self._last[numbers]) > MAX_NUMBER:
                raise UserError(f"no name of NTU RGB+D's form is left: {name} has a number above {MAX_NUMBER}")
            if name not in self._taken:
                return name


def write_files(output: Path, files: Iterable[tuple[str, bytes]], synthetic: bool = False) -> None:
    """Writes (name, content) to a new folder ``output``, or to a zip where it is called so.

    ``synthetic`` ones are marked as such by a file beside them. It appears when all is done. The same files give the
    same bytes of a zip. Raises ``OSError`` when the disk is full.
    """
    if synthetic:
        files = chain([(SYNTHETIC_MARK, SYNTHETIC_NOTE)], files)
    if output.suffix == ".zip":
        write_atomically(output, lambda path: _write_zip(path, files))
        return
    with atomic_folder(output) as draft:
        for name, content in files:
            (draft / name).write_bytes(content)


def _write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in files:
            member = plain_member(f"{FOLDER_IN_ZIP}/{name}", zipfile.ZIP_DEFLATED)
            # Higher levels take five times as long for a tenth less.
            zipped.writestr(member, content, compresslevel=1)


def plain_member(name: str, compression: int) -> zipfile.ZipInfo:
    """A member of a zip without a time, readable by all."""
    member = zipfile.ZipInfo(name)
    member.compress_type = compression
    member.create_system, member.external_attr = 3, 0o100644 << 16
    return member
