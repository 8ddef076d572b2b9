"""Reading a whole prepared set from front to back, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from tokenize import TokenError
from typing import IO

import numpy as np

from mmcl_bench.datasets.store import INDEX, TRACKS, SkeletonDataset, damaged
from mmcl_bench.skeleton.clips import BodyTrack


@dataclass(frozen=True)
class StoredClip:
    """A clip as it lies in a prepared set."""

    row: int
    """Of the index."""
    sample_id: str
    n_frames: int
    bodies: tuple[BodyTrack, ...]
    content: bytes
    """The :func:`~mmcl_bench.datasets.store.content_hash` that it had when it was prepared."""


def read_through(dataset: SkeletonDataset) -> Iterator[StoredClip]:
    """Every clip in the order of the index; only one is in memory.

    The tracks are read, not mapped: pages of a map count as memory of the process, and a large set has gigabytes.
    Raises :class:`UserError` for files that do not fit together.
    """
    path = dataset.folder / TRACKS
    columns = ["sample_id", "n_frames", "offset", "track_start", "track_length", "content"]
    if missing := [column for column in columns if column not in dataset.index]:
        raise damaged(dataset.folder / INDEX, f"has no column {missing[0]}", dataset.card.name)
    try:
        with path.open("rb") as file:
            n_rows, joints = _header(file, dataset)
            at = 0
            for row, (sample_id, n_frames, offset, starts, lengths, content) in enumerate(
                dataset.index[columns].itertuples(index=False)
            ):
                if not _fits(n_frames, starts, lengths) or offset != at or at + sum(lengths) > n_rows:
                    raise damaged(dataset.folder / INDEX, f"{sample_id} does not fit {TRACKS}", dataset.card.name)
                at += int(sum(lengths))
                bodies = tuple(
                    BodyTrack(int(start), _read(file, int(length), joints, dataset))
                    for start, length in zip(starts, lengths, strict=True)
                )
                yield StoredClip(row, sample_id, int(n_frames), bodies, content)
            if at != n_rows:
                raise damaged(path, f"holds {n_rows} frames of bodies, and {INDEX} tells of {at}", dataset.card.name)
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror or error})", dataset.card.name) from error


def _header(file: IO[bytes], dataset: SkeletonDataset) -> tuple[int, int]:
    """Frames of bodies in the file, and joints."""
    try:
        np.lib.format.read_magic(file)
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, TokenError) as error:
        raise damaged(dataset.folder / TRACKS, "is no array", dataset.card.name) from error
    if fortran_order or dtype != np.dtype("<f4") or len(shape) != 3 or shape[2] != 3:
        raise damaged(dataset.folder / TRACKS, f"is an array of {dtype} {shape}", dataset.card.name)
    return shape[0], shape[1]


def _fits(n_frames: int, starts: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether the tracks of a clip lie in its frames."""
    return len(starts) == len(lengths) and all(
        start >= 0 and length >= 0 and start + length <= n_frames
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    )


def _read(file: IO[bytes], length: int, joints: int, dataset: SkeletonDataset) -> np.ndarray:
    wanted = length * joints * 3 * 4
    content = file.read(wanted)
    if len(content) != wanted:
        raise damaged(dataset.folder / TRACKS, "is cut short", dataset.card.name)
    return np.frombuffer(content, "<f4").reshape(length, joints, 3)
