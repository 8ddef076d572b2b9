"""Where bodies are in the colour image, as the ``.skeleton`` files of NTU RGB+D or the joints of JHMDB say it.

Source of the form: shahroudy/NTURGB-D, ``Matlab/read_skeleton_file.m``. Of a joint's twelve numbers the sixth and the
seventh are its place in the colour image, 1920 x 1080 pixels, from the top left corner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import Archive, BadFile, base_name, open_with_zips
from mmcl_bench.datasets.formats.jhmdb_joints import FRAME, JOINT_FILE, read_puppet, video_of

COLOUR_IMAGE = np.array([1920.0, 1080.0])
"""Width and height in pixels of Kinect v2's colour image."""
_BODY_NUMBERS, _JOINT_NUMBERS = 10, 12
_COLOUR = slice(5, 7)
_MOST_JOINTS = 64
_SEEN_SHARE = 0.5
"""A body counts that is seen in this share of the frames of the one seen longest; others are often furniture."""

Places = list[np.ndarray]
"""By frame, float64 (n, 2): places of all joints of all bodies, as shares of width and height; n may be 0."""


def colour_places(content: bytes) -> Places:
    """Places in the colour image from the text of a ``.skeleton`` file.

    Joints that lie nowhere (not a number, or 0 0) are left out. Raises :class:`BadFile` for text of another form.
    """
    words = content.split()
    frames: list[list[tuple[bytes, np.ndarray]]] = []
    try:
        n_frames, at = int(words[0]), 1
        for _ in range(n_frames):
            n_bodies, at = int(words[at]), at + 1
            bodies = []
            for _ in range(n_bodies):
                body_id, n_joints = words[at], int(words[at + _BODY_NUMBERS])
                at += _BODY_NUMBERS + 1
                if not 0 < n_joints <= _MOST_JOINTS:
                    raise BadFile(f"has a body of {n_joints} joints")
                numbers = np.array(words[at : at + n_joints * _JOINT_NUMBERS], dtype=np.float64)
                bodies.append((body_id, numbers.reshape(n_joints, _JOINT_NUMBERS)[:, _COLOUR] / COLOUR_IMAGE))
                at += n_joints * _JOINT_NUMBERS
            frames.append(bodies)
    except (ValueError, IndexError, OverflowError) as error:
        raise BadFile("is not of the form of NTU RGB+D, or is cut short") from error
    seen = Counter(body_id for bodies in frames for body_id, _ in bodies)
    longest = max(seen.values(), default=0)
    kept = {body_id for body_id, count in seen.items() if count >= _SEEN_SHARE * longest}
    return [_located([places for body_id, places in bodies if body_id in kept]) for bodies in frames]


def _located(bodies: list[np.ndarray]) -> np.ndarray:
    places = np.concatenate([np.zeros((0, 2)), *bodies])
    chosen: np.ndarray = places[np.isfinite(places).all(axis=1) & places.any(axis=1)]
    return chosen


@dataclass(frozen=True)
class ProjectedSkeletons:
    """The ``.skeleton`` files of a source, or its joint files of JHMDB, by sample id."""

    archive: Archive
    names: Mapping[str, str]

    @classmethod
    @contextmanager
    def open(cls, source: Path) -> Iterator[Self]:
        """Raises :class:`UserError` for a source without such files."""
        with open_with_zips(source, "*.zip") as archive:
            names = archive.names()
            files = {base_name(name).removesuffix(".skeleton"): name for name in names if name.endswith(".skeleton")}
            files |= {video_of(name): name for name in names if base_name(name) == JOINT_FILE}
            if not files:
                raise UserError(
                    f"{source}: holds no .skeleton file and no {JOINT_FILE}, which alone say where bodies are in the "
                    "colour image; give --detector instead"
                )
            yield cls(archive, files)

    def places(self, sample_id: str) -> Places | None:
        """Of a clip's bodies; None where there is no file of it. Raises :class:`BadFile` for a file that is no good."""
        name = self.names.get(sample_id)
        if name is None:
            return None
        content = self.archive.read(name)
        return list(read_puppet(content) / FRAME) if base_name(name) == JOINT_FILE else colour_places(content)
