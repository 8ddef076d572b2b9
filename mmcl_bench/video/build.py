"""Making the strips of a prepared data set from its videos.

Clips are done in stretches, each by one process, which leaves a part: a file that is there whole or not at all. A part
is called after all that it follows from, so a run that is stopped, or of which a video was mended, goes on from the
parts that still hold.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically
from mmcl_bench.core.parallel import in_order
from mmcl_bench.core.text import some_of
from mmcl_bench.datasets.additions import add_strips, require_none_of_its_own
from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.store import IMAGES_A_GROUP, Addition, SkeletonDataset
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.video.decode import sample_evenly
from mmcl_bench.video.detectors import person_detector
from mmcl_bench.video.files import VideoFiles
from mmcl_bench.video.projection import ProjectedSkeletons
from mmcl_bench.video.strips import (
    AroundDetected,
    AroundSkeleton,
    Cropper,
    FirstThatCan,
    StripForm,
    WholeFrame,
    make_strip,
)

VERSION = 1
"""Raised when strips of the same videos become others."""
NO_VIDEO = "has no video"
_PART_SCHEMA = pa.schema([("image", pa.binary()), ("reason", pa.string())])

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class VideoSource:
    """Where videos are, and how people are cut out of them."""

    videos: Path
    pattern: str | None = None
    """Of file names, with ``{sample_id}``; the usual ones are tried where there is none."""
    skeletons: Path | None = None
    """``.skeleton`` files, to cut around bodies where they say that they are in the image."""
    detector: str | None = None
    """Spec of a person detector, for clips of which no skeleton says it."""
    form: StripForm = field(default_factory=StripForm)
    device: str = "cpu"
    """Of the detector."""

    def described(self) -> dict[str, Any]:
        """For the card: all but places on this machine."""
        skeletons = ["skeletons"] if self.skeletons is not None else []
        detector = [person_detector(self.detector).name] if self.detector is not None else []
        return {"around": [*skeletons, *detector] or ["whole frame"], "form": asdict(self.form)}

    def identity(self) -> str:
        """What changes when it would cut otherwise. Raises :class:`UserError` for what is not on this machine."""
        named = person_detector(self.detector) if self.detector is not None else None
        detector = f"{named.name} {named.weight_hash}" if named else ""
        skeletons = ""
        if self.skeletons is not None:
            with ProjectedSkeletons.open(self.skeletons) as opened:
                skeletons = opened.archive.identity()
        return json.dumps([VERSION, asdict(self.form), skeletons, detector])


def build_strips(
    dataset: SkeletonDataset,
    source: VideoSource,
    skip_bad: bool = False,
    advance: Advance | None = None,
    workers: int | None = None,
) -> Addition:
    """Makes the strip of every clip and puts them with the data set.

    ``skip_bad`` leaves clips without a video, or with a bad one, without a strip, and says which in the card; else
    :class:`UserError` names them. ``workers`` processes decode, by default one a core, eight at most;
    with a detector on a GPU there is one.
    """
    require_none_of_its_own(dataset, Modality.RGB)
    if source.detector is not None and source.device != "cpu":
        # A process that was forked cannot use the GPU.
        workers = 1
    parts = dataset.folder.with_name(f".{dataset.folder.name}.strips")
    with FileLock(dataset.folder.with_name(f".{dataset.folder.name}.strips.lock")):
        stretches = _stretches(dataset, source, parts, skip_bad)
        made = {**source.described(), "follows_from": _follows_from(stretches)}
        present = dataset.card.addition("strips")
        if present is not None and present.made == made and (skip_bad or not present.lacking):
            return present
        parts.mkdir(exist_ok=True)
        lacking = _make_parts(source, stretches, skip_bad, advance, workers)
        if len(lacking) == len(dataset.index):
            sample_id, reason = next(iter(lacking.items()))
            raise UserError(f"{source.videos}: no video can be used; that of {sample_id} {reason}")
        groups = [stretch.read_images for stretch in stretches]
        addition = add_strips(dataset, groups, lacking, made)
        shutil.rmtree(parts, ignore_errors=True)
    return addition


@dataclass(frozen=True)
class Stretch:
    """Some clips, their videos, and the part that they become."""

    sample_ids: tuple[str, ...]
    videos: tuple[str | None, ...]
    part: Path

    @property
    def is_done(self) -> bool:
        return self.part.is_file()

    def write(self, images: Sequence[bytes | None], reasons: Sequence[str | None]) -> None:
        table = pa.table([list(images), list(reasons)], schema=_PART_SCHEMA)
        write_atomically(self.part, lambda path: pq.write_table(table, path, compression="none"))

    def read_images(self) -> list[bytes | None]:
        images: list[bytes | None] = pq.read_table(self.part, columns=["image"])["image"].to_pylist()
        return images

    def read_bad(self) -> dict[str, str]:
        """Clips without a strip, and why."""
        reasons = pq.read_table(self.part, columns=["reason"])["reason"].to_pylist()
        return {sample_id: reason for sample_id, reason in zip(self.sample_ids, reasons, strict=True) if reason}


class _StripMaker:
    """Files and cropper, which are opened in the process that works, when it first does."""

    def __init__(self, source: VideoSource) -> None:
        self._source = source
        self._opened = ExitStack()

    def __call__(self, stretch: Stretch) -> None:
        images: list[bytes | None] = []
        reasons: list[str | None] = []
        for sample_id, video in zip(stretch.sample_ids, stretch.videos, strict=True):
            try:
                images.append(self._strip(sample_id, video))
                reasons.append(None)
            except BadFile as error:
                images.append(None)
                reasons.append(str(error))
        stretch.write(images, reasons)

    def close(self) -> None:
        self._opened.close()

    def _strip(self, sample_id: str, video: str | None) -> bytes:
        if video is None:
            raise BadFile(NO_VIDEO)
        with self._files.open(video) as opened:
            sampled = sample_evenly(opened, self._source.form.crops)
        return make_strip(sample_id, sampled, self._cropper, self._source.form)

    @cached_property
    def _files(self) -> VideoFiles:
        return self._opened.enter_context(VideoFiles(self._source.videos))

    @cached_property
    def _cropper(self) -> Cropper:
        croppers: list[Cropper] = []
        if self._source.skeletons is not None:
            croppers.append(AroundSkeleton(self._opened.enter_context(ProjectedSkeletons.open(self._source.skeletons))))
        if self._source.detector is not None:
            croppers.append(AroundDetected(person_detector(self._source.detector, self._source.device)))
        return FirstThatCan(croppers) if croppers else WholeFrame()


def _stretches(dataset: SkeletonDataset, source: VideoSource, parts: Path, skip_bad: bool) -> list[Stretch]:
    """All clips in their order, with the names of their parts. Raises :class:`UserError` for missing videos."""
    sample_ids = dataset.index["sample_id"].tolist()
    with VideoFiles(source.videos) as files:
        names = files.of_samples(sample_ids, source.pattern)
        missing = [sample_id for sample_id, name in zip(sample_ids, names, strict=True) if name is None]
        if missing and not skip_bad:
            raise UserError(
                f"{source.videos}: {len(missing)} of {len(names)} clips have no video: "
                f"{some_of(missing)}; put them there, or leave them out with --skip-bad"
            )
        stamps = [None if name is None else files.stamp(name) for name in names]
    identity = source.identity()
    stretches = []
    for first in range(0, len(names), IMAGES_A_GROUP):
        chosen = slice(first, first + IMAGES_A_GROUP)
        follows_from = json.dumps([identity, sample_ids[chosen], names[chosen], stamps[chosen]])
        part = parts / f"{hashlib.sha256(follows_from.encode()).hexdigest()[:32]}.parquet"
        stretches.append(Stretch(tuple(sample_ids[chosen]), tuple(names[chosen]), part))
    return stretches


def _follows_from(stretches: Sequence[Stretch]) -> str:
    """sha256 of all that the strips follow from, in hex."""
    return hashlib.sha256("".join(stretch.part.name for stretch in stretches).encode()).hexdigest()


def _make_parts(
    source: VideoSource,
    stretches: Sequence[Stretch],
    skip_bad: bool,
    advance: Advance | None,
    workers: int | None,
) -> dict[str, str]:
    """Makes the parts that are missing, and says which clips have no strip, and why. What could not be read before is
    tried again, unless it is to be skipped: the reason may be gone while the file is the same."""
    waiting = [stretch for stretch in stretches if not stretch.is_done or (not skip_bad and stretch.read_bad())]
    todo = {stretch.part for stretch in waiting}
    total, done = sum(len(stretch.sample_ids) for stretch in stretches), 0
    lacking: dict[str, str] = {}
    with closing(_StripMaker(source)) as maker, closing(in_order(maker, waiting, workers, items_a_call=1)) as making:
        for stretch in stretches:
            if stretch.part in todo:
                next(making)
            bad = stretch.read_bad()
            if bad and not skip_bad:
                sample_id, reason = next(iter(bad.items()))
                raise UserError(
                    f"{source.videos}: the video of {sample_id} {reason}; mend it, or leave it out with --skip-bad"
                )
            lacking |= bad
            done += len(stretch.sample_ids)
            if advance is not None:
                advance(done, total)
    return lacking
