"""Readers: from the files that a data set's owner publishes to clips. One file a data set."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmcl_bench.errors import UserError
from mmcl_bench.registry import Registry
from mmcl_bench.skeleton.archive import BadFile, base_name, open_archive
from mmcl_bench.skeleton.store import BodyTrack, Clip, Modality, Side

OnBad = Callable[[str, str], None]
"""Called with a file's name and what is wrong with it: raises UserError, or counts it under --skip-bad."""

Advance = Callable[[int, int], None]
"""Called with the clips done and the clips in all."""

MAX_METRES = 100.0
"""No depth camera or capture volume reaches this far; a larger coordinate is damage or another unit."""


class Reader(ABC):
    """Reads one data set. Everything but :meth:`clips` is fact about the set."""

    name: ClassVar[str]
    title: ClassVar[str]
    layout: ClassVar[str]
    class_table: ClassVar[str]
    """Name of its table of class names, e.g. ``ntu60``."""
    synthetic: ClassVar[bool] = False
    embedded: ClassVar[bool] = False
    """True: made on first use, without a source."""
    frame_rate: ClassVar[float | None]
    modalities: ClassVar[tuple[Modality, ...]] = (Modality.SKELETON,)
    sides: ClassVar[Mapping[str, Side]]
    default_side: ClassVar[str]
    homepage: ClassVar[str]
    citation: ClassVar[str]

    @abstractmethod
    def clips(self, source: Path | None, on_bad: OnBad, advance: Advance) -> Iterator[Clip]:
        """Yields the clips of ``source`` (a zip or a folder; None for an embedded set), in any order.

        A clip that cannot be used is reported to ``on_bad`` and left out if that returns; what :func:`clip_fault`
        finds need not be looked for. ``advance`` is called with (clips done, clips in all). Raises
        :class:`UserError` when ``source`` is not this data set.
        """


class FilePerClipReader(Reader):
    """A data set that is published with one file a clip, in any folder of the source."""

    files: ClassVar[str]
    """The files it wants, in words."""
    file_name: ClassVar[re.Pattern[str]]
    """Matches the whole name of a clip's file; the group ``sample_id`` is the sample id."""

    @abstractmethod
    def clip(self, name: re.Match[str], content: bytes) -> Clip:
        """The clip in one file, from the match of :attr:`file_name` and the file's bytes. Raises :class:`BadFile`."""

    def clips(self, source: Path | None, on_bad: OnBad, advance: Advance) -> Iterator[Clip]:
        if source is None:
            raise UserError(f"{self.name} cannot be generated; give --source, from {self.homepage}")
        with open_archive(source) as archive:
            members = [(name, self.file_name.fullmatch(base_name(name))) for name in archive.names()]
            wanted = sorted(((match, name) for name, match in members if match), key=lambda item: item[0]["sample_id"])
            if not wanted:
                raise UserError(f"{source}: not {self.title}: holds none of its {self.files}; see {self.homepage}")
            for done, (match, name) in enumerate(wanted, start=1):
                try:
                    clip = self.clip(match, archive.read(name))
                except BadFile as error:
                    on_bad(name, str(error))
                else:
                    yield replace(clip, file=name)
                advance(done, len(wanted))


def single_body(positions: np.ndarray) -> tuple[BodyTrack, ...]:
    """One body seen in every frame, from numbers of any precision and shape (T, V, 3)."""
    # What overflows here becomes infinite, and clip_fault finds it.
    with np.errstate(over="ignore"):
        return (BodyTrack(0, positions.astype(np.float32)),)


def clip_fault(clip: Clip, n_joints: int) -> str | None:
    """What makes a clip unusable, in words, or None."""
    if clip.n_frames < 1 or not any(len(body.positions) for body in clip.bodies):
        return "has no frames"
    faults = (_track_fault(body, clip.n_frames, n_joints) for body in clip.bodies)
    if fault := next(filter(None, faults), None):
        return fault
    if not any(body.positions.any() for body in clip.bodies):
        return "is all zeros"
    return None


def _track_fault(body: BodyTrack, n_frames: int, n_joints: int) -> str | None:
    positions = body.positions
    if positions.ndim != 3 or positions.shape[2] != 3:
        return f"has an array of shape {positions.shape}; expected (frames, {n_joints}, 3)"
    if positions.shape[1] != n_joints:
        return f"has {positions.shape[1]} joints; expected {n_joints}"
    if body.start < 0 or body.start + len(positions) > n_frames:
        return f"has a body outside its {n_frames} frames"
    if not np.isfinite(positions).all():
        return "has NaN or infinite positions"
    if (farthest := np.abs(positions).max(initial=0)) > MAX_METRES:
        return f"has a joint {farthest:.3g} m away; more than {MAX_METRES:g} m is no measurement in metres"
    return None


READERS: Registry[type[Reader]] = Registry(
    "data set",
    "mmcl_bench.datasets",
    {
        "synth60": "mmcl_bench.skeleton.readers.synth60:Synth60",
        "nw-ucla": "mmcl_bench.skeleton.readers.nw_ucla:NwUcla",
        "utd-mhad": "mmcl_bench.skeleton.readers.utd_mhad:UtdMhad",
    },
)
