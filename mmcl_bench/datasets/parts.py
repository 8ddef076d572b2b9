"""Writing a prepared data set: in parts, each by one process, which are then put together in the order of sample_id.

A part is two files: ``NAME.bin`` with the tracks and the image of every clip, back to back, and ``NAME.json`` with all
else. The second appears last and whole, so that a part that has it is done, whoever was killed since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically, write_text
from mmcl_bench.core.text import sorted_names
from mmcl_bench.datasets.completeness import completeness_of
from mmcl_bench.datasets.store import (
    CARD,
    IMAGES_A_GROUP,
    INDEX,
    INSTRUCT,
    OTHER_SUBJECTS,
    RGB,
    TRACKS,
    Clip,
    DatasetCard,
    SkeletonDataset,
    atomic_folder,
    content_hash,
    fingerprint,
)
from mmcl_bench.skeleton.clips import Modality

Bad = list[tuple[str, str]]
"""Names of files or clips that cannot be used, and why."""

_INDEX_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        *((name, pa.int32()) for name in ("label", "subject", "camera", "setup", "fold", "n_bodies", "n_frames")),
        ("offset", pa.int64()),
        ("track_start", pa.list_(pa.int32())),
        ("track_length", pa.list_(pa.int32())),
        ("content", pa.binary(32)),
    ]
)
_ANSWER_SCHEMA = pa.schema([("sample_id", pa.string()), ("instruction", pa.string()), ("answer", pa.string())])


class Part:
    """One part of a data set in the making, at ``stem`` with two suffixes."""

    def __init__(self, stem: Path) -> None:
        self.data = stem.with_suffix(".bin")
        self._facts = stem.with_suffix(".json")

    @property
    def is_done(self) -> bool:
        return self._facts.is_file()

    def write(self, clips: Iterable[Clip], card: DatasetCard, n_joints: int, bad: Bad) -> None:
        """Lays ``clips`` down in the order in which they come. ``bad`` is read after the last one.

        Raises ``ValueError`` for a clip that is not of this set, ``OSError`` when the disk is full.
        """
        facts: list[dict[str, Any]] = []

        def lay_down(path: Path) -> None:
            with path.open("wb") as file:
                for clip in clips:
                    _require_of(card, n_joints, clip)
                    facts.append(_facts(clip, file.tell()))
                    for body in clip.bodies:
                        file.write(np.ascontiguousarray(body.positions, dtype="<f4").data)
                    file.write(clip.rgb or b"")

        write_atomically(self.data, lay_down)
        write_text(self._facts, json.dumps({"clips": facts, "bad": bad}))

    def read(self) -> tuple[list[dict[str, Any]], Bad]:
        """What is known of its clips, and what could not be used."""
        content = json.loads(self._facts.read_text())
        return content["clips"], [(name, reason) for name, reason in content["bad"]]


def put_together(folder: Path, parts: Sequence[Part], n_joints: int, describe: DatasetCard) -> SkeletonDataset:
    """Writes a prepared data set from its parts, atomically, and opens it. One clip at a time is held in memory.

    ``describe`` gives every field of the card; ``fingerprint``, ``n_clips``, ``skipped`` and ``completeness`` in it are
    replaced by what was written. The files depend on the clips alone, not on their order or how they were parted.
    Raises :class:`UserError` for no clip or two of one name, ``OSError`` when the disk is full.
    """
    laid, bad = _gather(parts, describe.name)
    with atomic_folder(folder) as draft, _Bins() as bins:
        _write_index(draft / INDEX, laid)
        _write_tracks(draft / TRACKS, laid, n_joints, bins)
        if Modality.RGB in describe.modalities:
            _write_images(draft / RGB, laid, bins)
        if Modality.INSTRUCT in describe.modalities:
            _write_answers(draft / INSTRUCT, laid)
        card = describe.model_copy(update={"n_clips": len(laid), "skipped": dict(bad)})
        written = SkeletonDataset(draft, card)
        card = card.model_copy(update={"fingerprint": fingerprint(written), "completeness": completeness_of(written)})
        (draft / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return SkeletonDataset.open(folder)


@dataclass(frozen=True)
class _Laid:
    """A clip that lies in a part."""

    data: Path
    facts: Mapping[str, Any]

    @property
    def n_rows(self) -> int:
        return sum(self.facts["track_length"])


def _gather(parts: Sequence[Part], name: str) -> tuple[list[_Laid], Bad]:
    """Clips by sample_id, whole numbers by value. Raises :class:`UserError` for no clip or two of one name."""
    laid: dict[str, _Laid] = {}
    bad: Bad = []
    for part in parts:
        clips, unusable = part.read()
        bad.extend(unusable)
        for facts in clips:
            if facts["sample_id"] in laid:
                raise UserError(f"{name}: two clips are called {facts['sample_id']}; remove one")
            laid[facts["sample_id"]] = _Laid(part.data, facts)
    if not laid:
        raise UserError(f"{name}: no clip to prepare")
    return [laid[sample_id] for sample_id in sorted_names(laid)], sorted(bad)


class _Bins(ExitStack):
    """The data files of parts; the one that was read last stays open, as neighbours mostly lie together."""

    def __init__(self) -> None:
        super().__init__()
        self._opened: Path | None = None
        self._file: IO[bytes] | None = None

    def read(self, path: Path, at: int, size: int) -> bytes:
        if self._file is None or path != self._opened:
            self.close()
            self._file, self._opened = self.enter_context(path.open("rb")), path
        self._file.seek(at)
        return self._file.read(size)


def _write_index(path: Path, laid: Sequence[_Laid]) -> None:
    offsets = np.cumsum([0, *(clip.n_rows for clip in laid)])[:-1]
    columns: dict[str, Any] = {
        name: [clip.facts[name] for clip in laid]
        for name in _INDEX_SCHEMA.names
        if name not in ("offset", "content", "n_bodies")
    }
    columns["offset"] = offsets
    columns["n_bodies"] = [len(clip.facts["track_start"]) for clip in laid]
    columns["content"] = [bytes.fromhex(clip.facts["content"]) for clip in laid]
    schema = _INDEX_SCHEMA
    # Parts that an earlier version left have no such entry.
    others = [clip.facts.get(OTHER_SUBJECTS, []) for clip in laid]
    if any(others):
        schema = schema.append(pa.field(OTHER_SUBJECTS, pa.list_(pa.int32())))
        columns[OTHER_SUBJECTS] = others
    pq.write_table(pa.table(columns, schema=schema), path)


def _write_tracks(path: Path, laid: Sequence[_Laid], n_joints: int, bins: _Bins) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (sum(clip.n_rows for clip in laid), n_joints, 3)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for clip in laid:
            file.write(bins.read(clip.data, clip.facts["at"], clip.facts["image_at"] - clip.facts["at"]))


def _write_images(path: Path, laid: Sequence[_Laid], bins: _Bins) -> None:
    groups = (laid[first : first + IMAGES_A_GROUP] for first in range(0, len(laid), IMAGES_A_GROUP))
    write_images(
        path, ([bins.read(c.data, c.facts["image_at"], c.facts["image_bytes"]) for c in group] for group in groups)
    )


def _write_answers(path: Path, laid: Sequence[_Laid]) -> None:
    write_answers(path, [(clip.facts["sample_id"], *answer) for clip in laid for answer in clip.facts["answers"]])


def write_images(path: Path, groups: Iterable[Sequence[bytes | None]]) -> None:
    """One image a clip; all groups but the last are of :data:`.store.IMAGES_A_GROUP` clips."""
    schema = pa.schema([("image", pa.binary())])
    # Images are compressed already.
    with pq.ParquetWriter(path, schema, compression="none") as file:
        for group in groups:
            file.write_table(pa.table([list(group)], schema=schema))


def write_answers(path: Path, answers: Sequence[tuple[str, str, str]]) -> None:
    """(sample_id, instruction, answer) each."""
    columns = [list(column) for column in zip(*answers, strict=True)] or [[]] * 3
    pq.write_table(pa.table(columns, schema=_ANSWER_SCHEMA), path)


def _facts(clip: Clip, at: int) -> dict[str, Any]:
    """All that is kept of a clip beside its tracks, which lie at ``at`` with the image behind them."""
    track_bytes = sum(body.positions.size for body in clip.bodies) * np.dtype("<f4").itemsize
    return {
        "sample_id": clip.sample_id,
        "label": clip.label,
        "subject": clip.subject,
        OTHER_SUBJECTS: clip.other_subjects,
        "camera": clip.camera,
        "setup": clip.setup,
        "fold": clip.fold,
        "n_frames": clip.n_frames,
        "track_start": [body.start for body in clip.bodies],
        "track_length": [len(body.positions) for body in clip.bodies],
        "content": content_hash(clip.n_frames, clip.bodies).hex(),
        "at": at,
        "image_at": at + track_bytes,
        "image_bytes": len(clip.rgb or b""),
        "answers": clip.answers,
    }


def _require_of(card: DatasetCard, n_joints: int, clip: Clip) -> None:
    if not 0 <= clip.label < len(card.classes):
        raise ValueError(f"{clip.sample_id}: label {clip.label} of {len(card.classes)} classes")
    if shapes := {body.positions.shape[1:] for body in clip.bodies} - {(n_joints, 3)}:
        raise ValueError(f"{clip.sample_id}: body tracks of shape {shapes}, not ({n_joints}, 3)")
    if Modality.RGB in card.modalities and clip.rgb is None:
        raise ValueError(f"{clip.sample_id}: no image, in a data set that has images")
