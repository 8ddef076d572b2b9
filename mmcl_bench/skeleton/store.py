"""The prepared form of a data set: body tracks in one memory-mapped array, and an index table.

A prepared data set is a folder::

    card.json        what it is: classes, layout, evaluation sides, fingerprint, what was skipped
    tracks.npy       float32 (F, V, 3): all body tracks back to back, metres, y up
    index.parquet    one row a clip, in the order of sample_id
    rgb.parquet      optional, one row a clip: an encoded image (PNG or JPEG), m person crops side by side
    instruct.parquet optional, one row an answer: sample_id, instruction, answer

An absent body takes no space: a clip has as many tracks as it has bodies, and a track covers only the frames in
which its body was seen. The files hold no time and no path: the same clips give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from mmcl_bench.errors import UserError

FORMAT = 1
CARD, TRACKS, INDEX, RGB, INSTRUCT = "card.json", "tracks.npy", "index.parquet", "rgb.parquet", "instruct.parquet"

_IMAGES_A_GROUP = 64


class Modality(StrEnum):
    SKELETON = "skeleton"
    RGB = "rgb"
    INSTRUCT = "instruct"


class Side(BaseModel):
    """One way to part a data set into train and test clips, by a column of the index table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Literal["subject", "camera", "setup"]
    train: tuple[int, ...]
    test: tuple[int, ...]
    source: str


class DatasetCard(BaseModel):
    """What a prepared data set says of itself (``card.json``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    title: str
    synthetic: bool
    layout: str
    class_table: str
    """Name of the table of class names and descriptions, e.g. ``ntu60``."""
    classes: tuple[str, ...]
    sides: dict[str, Side]
    default_side: str
    frame_rate: float | None
    modalities: tuple[Modality, ...]
    homepage: str
    citation: str
    fingerprint: str
    """:func:`fingerprint` of the content."""
    n_clips: int
    skipped: dict[str, str] = {}
    """Clips left out with ``--skip-bad``: file name to reason."""


@dataclass(frozen=True)
class BodyTrack:
    """One tracked body: ``positions`` float32 (T, V, 3) in metres, y up, first seen in frame ``start`` of its clip."""

    start: int
    positions: np.ndarray


@dataclass(frozen=True)
class Clip:
    """One sample as a reader yields it. ``label`` is the zero-based class; numbers that a set lacks are 0."""

    sample_id: str
    label: int
    subject: int
    n_frames: int
    bodies: tuple[BodyTrack, ...]
    camera: int = 0
    setup: int = 0
    rgb: bytes | None = None
    """PNG or JPEG bytes of the person crops, concatenated left to right."""
    answers: tuple[tuple[str, str], ...] = ()
    """(instruction, answer) pairs of a multimodal LLM."""
    file: str = ""
    """The file it was read from, for messages; not stored."""


class SkeletonDataset:
    """A prepared data set, opened for reading. Nothing but the index is held in memory."""

    def __init__(self, folder: Path, card: DatasetCard) -> None:
        self.folder = folder
        self.card = card

    @classmethod
    def open(cls, folder: Path) -> SkeletonDataset:
        """Opens a prepared folder. Raises :class:`UserError` when it is damaged or of another format."""
        path = folder / CARD
        try:
            card = DatasetCard.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"{folder}: no prepared data set; run mmcl-bench data prepare {folder.name}") from error
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from error
        except ValidationError as error:
            raise _damaged(path, f"not a card of format {FORMAT}", folder.name) from error
        if card.format != FORMAT:
            raise _damaged(path, f"of format {card.format}, not {FORMAT}", folder.name)
        return cls(folder, card)

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a clip: sample_id, label, subject, camera, setup, n_bodies, n_frames, offset, track_start,
        track_length. ``offset`` is the clip's first row in :attr:`tracks`; the last two are lists, one item a body."""
        return self._table(INDEX).to_pandas()

    @cached_property
    def tracks(self) -> np.ndarray:
        """float32 (F, V, 3), memory-mapped read-only."""
        path = self._part(TRACKS)
        try:
            return np.lib.format.open_memmap(path, mode="r")
        except (ValueError, OSError) as error:
            raise _damaged(path, f"damaged ({error})", self.card.name) from error

    def bodies(self, row: int) -> tuple[BodyTrack, ...]:
        """The body tracks of the clip in row ``row`` of the index; arrays are views of the memory map."""
        clip = self.index.iloc[row]
        tracks, at = [], int(clip.offset)
        for start, length in zip(clip.track_start, clip.track_length, strict=True):
            tracks.append(BodyTrack(int(start), self.tracks[at : at + int(length)]))
            at += int(length)
        return tuple(tracks)

    def content_hash(self, row: int) -> bytes:
        """sha256 of what the clip in row ``row`` of the index shows, whatever it is called and whoever it is of."""
        clip = self.index.iloc[row]
        starts, lengths = clip.track_start.tolist(), clip.track_length.tolist()
        digest = hashlib.sha256(json.dumps([int(clip.n_frames), starts, lengths]).encode())
        digest.update(self.tracks[clip.offset : clip.offset + sum(lengths)].data)
        return digest.digest()

    def images(self, rows: Sequence[int]) -> Iterator[bytes]:
        """Encoded person-crop images of the given index rows, in their order; ascending rows are read fastest."""
        path = self._part(RGB)
        try:
            with pq.ParquetFile(path) as file:
                loaded, images = -1, pa.chunked_array([], pa.binary())
                for row in rows:
                    group, position = divmod(int(row), _IMAGES_A_GROUP)
                    if group != loaded:
                        loaded, images = group, file.read_row_group(group, columns=["image"])["image"]
                    yield images[position].as_py()
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, f"damaged ({_first_line(error)})", self.card.name) from error

    def answers(self) -> pd.DataFrame:
        """One row an answer: sample_id, instruction, answer."""
        return self._table(INSTRUCT).to_pandas()

    def _table(self, name: str) -> pa.Table:
        path = self._part(name)
        try:
            return pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, f"damaged ({_first_line(error)})", self.card.name) from error

    def _part(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing; run mmcl-bench data prepare {self.card.name} again")
        return path


def _damaged(path: Path, what: str, name: str) -> UserError:
    return UserError(f"{path}: {what}; run mmcl-bench data prepare {name} again")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its place when the block ends well and vanishes when it does not."""
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(_draft_name(target, secrets.token_hex(4)))
    draft.mkdir()
    try:
        yield draft
        replaced = target.with_name(f"{draft.name}-replaced")
        if target.is_dir():
            target.rename(replaced)
        draft.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(target: Path) -> None:
    """Removes what killed runs of :func:`atomic_folder` left. Only for who knows that no other run is writing."""
    target = target.resolve()
    for draft in target.parent.glob(_draft_name(target, "*")):
        shutil.rmtree(draft, ignore_errors=True)


def _draft_name(target: Path, token: str) -> str:
    return f".{target.name}.draft-{token}"


def write_dataset(
    folder: Path,
    clips: Iterable[Clip],
    n_joints: int,
    describe: DatasetCard,
    skipped: Mapping[str, str] | None = None,
) -> SkeletonDataset:
    """Writes a prepared data set atomically and opens it. One clip at a time is held in memory.

    ``describe`` gives every field of the card; ``fingerprint``, ``n_clips`` and ``skipped`` in it are replaced by what
    was written; ``skipped`` is read after the last clip. Clips may come in any order: the files do not depend on it.
    Raises :class:`UserError` for no clip or two of one name, ``OSError`` when the disk is full.
    """
    with atomic_folder(folder) as draft:
        with tempfile.TemporaryFile(dir=draft) as file:
            spool = _Spool(file, n_joints, describe)
            for clip in clips:
                spool.add(clip)
            spool.write(draft)
        card = describe.model_copy(update={"n_clips": len(spool), "skipped": dict(skipped or {})})
        card = card.model_copy(update={"fingerprint": fingerprint(SkeletonDataset(draft, card))})
        (draft / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return SkeletonDataset.open(folder)


def fingerprint(dataset: SkeletonDataset) -> str:
    """sha256 over the content of a data set: index, tracks, images and answers.

    It does not depend on how the files encode the content, so it is the same under every version of the libraries
    that write them.
    """
    digest = hashlib.sha256(json.dumps(dataset.tracks.shape[1:]).encode())
    facts = dataset.index[["sample_id", "label", "subject", "camera", "setup"]]
    for row, values in enumerate(facts.itertuples(index=False)):
        digest.update(json.dumps(list(values)).encode())
        digest.update(dataset.content_hash(row))
    if Modality.RGB in dataset.card.modalities:
        for image in dataset.images(range(len(facts))):
            digest.update(hashlib.sha256(image).digest())
    if Modality.INSTRUCT in dataset.card.modalities:
        for answer in dataset.answers().itertuples(index=False):
            digest.update(json.dumps(list(answer)).encode())
    return digest.hexdigest()


_INDEX_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("label", pa.int32()),
        ("subject", pa.int32()),
        ("camera", pa.int32()),
        ("setup", pa.int32()),
        ("n_bodies", pa.int32()),
        ("n_frames", pa.int32()),
        ("offset", pa.int64()),
        ("track_start", pa.list_(pa.int32())),
        ("track_length", pa.list_(pa.int32())),
    ]
)
_IMAGE_SCHEMA = pa.schema([("image", pa.binary())])
_ANSWER_SCHEMA = pa.schema([("sample_id", pa.string()), ("instruction", pa.string()), ("answer", pa.string())])


class _Spool:
    """Lays clips down in the order in which they come, and writes them in the order of sample_id."""

    def __init__(self, file: IO[bytes], n_joints: int, describe: DatasetCard) -> None:
        self._file = file
        self._n_joints = n_joints
        self._describe = describe
        self._clips: dict[str, _SpooledClip] = {}

    def __len__(self) -> int:
        return len(self._clips)

    def add(self, clip: Clip) -> None:
        """Raises :class:`UserError` for a name that is taken, ``ValueError`` for a clip that is not of this set."""
        if clip.sample_id in self._clips:
            raise UserError(f"{self._describe.name}: two clips are called {clip.sample_id}; remove one")
        self._check(clip)
        at = self._file.tell()
        track_bytes = sum(
            self._file.write(np.ascontiguousarray(body.positions, dtype="<f4").data) for body in clip.bodies
        )
        image_bytes = self._file.write(clip.rgb or b"")
        self._clips[clip.sample_id] = _SpooledClip(_facts(clip), at, track_bytes, image_bytes, clip.answers)

    def write(self, folder: Path) -> None:
        """Writes every data file of a prepared set. Raises :class:`UserError` when there is no clip."""
        if not self._clips:
            raise UserError(f"{self._describe.name}: no clip to prepare")
        clips = [self._clips[sample_id] for sample_id in sorted(self._clips)]
        self._write_index(folder / INDEX, clips)
        self._write_tracks(folder / TRACKS, clips)
        if Modality.RGB in self._describe.modalities:
            self._write_images(folder / RGB, clips)
        if Modality.INSTRUCT in self._describe.modalities:
            _write_answers(folder / INSTRUCT, clips)

    def _check(self, clip: Clip) -> None:
        n_classes = len(self._describe.classes)
        if not 0 <= clip.label < n_classes:
            raise ValueError(f"{clip.sample_id}: label {clip.label} of {n_classes} classes")
        if shapes := {body.positions.shape[1:] for body in clip.bodies} - {(self._n_joints, 3)}:
            raise ValueError(f"{clip.sample_id}: body tracks of shape {shapes}, not ({self._n_joints}, 3)")
        if Modality.RGB in self._describe.modalities and clip.rgb is None:
            raise ValueError(f"{clip.sample_id}: no image, in a data set that has images")

    def _write_index(self, path: Path, clips: Sequence[_SpooledClip]) -> None:
        offsets = np.cumsum([0, *(sum(clip.facts["track_length"]) for clip in clips)]).tolist()
        rows = [{**clip.facts, "offset": offset} for clip, offset in zip(clips, offsets[:-1], strict=True)]
        pq.write_table(pa.Table.from_pylist(rows, schema=_INDEX_SCHEMA), path)

    def _write_tracks(self, path: Path, clips: Sequence[_SpooledClip]) -> None:
        n_frames = sum(sum(clip.facts["track_length"]) for clip in clips)
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_frames, self._n_joints, 3)}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for clip in clips:
                file.write(self._read(clip.at, clip.track_bytes))

    def _write_images(self, path: Path, clips: Sequence[_SpooledClip]) -> None:
        # Images are compressed already.
        with pq.ParquetWriter(path, _IMAGE_SCHEMA, compression="none") as file:
            for first in range(0, len(clips), _IMAGES_A_GROUP):
                group = clips[first : first + _IMAGES_A_GROUP]
                images = [self._read(clip.at + clip.track_bytes, clip.image_bytes) for clip in group]
                file.write_table(pa.table([images], schema=_IMAGE_SCHEMA))

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)


@dataclass(frozen=True)
class _SpooledClip:
    """A clip in the spool: its tracks lie at ``at``, its image behind them."""

    facts: Mapping[str, Any]
    at: int
    track_bytes: int
    image_bytes: int
    answers: tuple[tuple[str, str], ...]


def _facts(clip: Clip) -> dict[str, Any]:
    """A row of the index, but for the offset."""
    return {
        "sample_id": clip.sample_id,
        "label": clip.label,
        "subject": clip.subject,
        "camera": clip.camera,
        "setup": clip.setup,
        "n_bodies": len(clip.bodies),
        "n_frames": clip.n_frames,
        "track_start": [body.start for body in clip.bodies],
        "track_length": [len(body.positions) for body in clip.bodies],
    }


def _write_answers(path: Path, clips: Iterable[_SpooledClip]) -> None:
    rows = [
        {"sample_id": clip.facts["sample_id"], "instruction": instruction, "answer": answer}
        for clip in clips
        for instruction, answer in clip.answers
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=_ANSWER_SCHEMA), path)
