"""The prepared form of a data set: body tracks in one memory-mapped array, and an index table.

A prepared data set is a folder::

    card.json        what it is: classes, layout, evaluation sides, fingerprint, what was skipped
    tracks.npy       float32 (F, V, 3): all body tracks back to back, metres, y up
    index.parquet    one row a clip, in the order of sample_id
    rgb.parquet      optional, one row a clip: an encoded image (PNG or JPEG), m person crops side by side
    instruct.parquet optional, one row an answer: sample_id, instruction, answer

``mmcl-bench features`` may put strips, answers and features beside them later, as :class:`Addition` says.

An absent body takes no space: a clip has as many tracks as it has bodies, and a track covers only the frames in
which its body was seen. The files hold no time and no path: the same clips give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.text import as_utf8, first_line, some_of
from mmcl_bench.datasets.classes import ClassText
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from mmcl_bench.skeleton.layouts import Layout

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
CARD, TRACKS, INDEX, RGB, INSTRUCT = "card.json", "tracks.npy", "index.parquet", "rgb.parquet", "instruct.parquet"

IMAGES_A_GROUP = 64
OTHER_SUBJECTS = "other_subjects"
"""Column of the index of a set in which clips show several people: the numbers of all but the first, a list."""


class Side(BaseModel):
    """One way to part a data set into train and test clips, by a column of the index table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Literal["subject", "camera", "setup", "fold"]
    train: tuple[int, ...]
    test: tuple[int, ...]
    source: str

    def masks(self, index: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """(N,) bool: the training clips and the test clips of an index table.

        A clip of several people is on the side on which all of them are, so that no one trains and tests.
        """
        numbers = index[self.column].to_numpy()
        train, test = np.isin(numbers, self.train), np.isin(numbers, self.test)
        if self.column == "subject" and OTHER_SUBJECTS in index:
            for mask, people in ((train, self.train), (test, self.test)):
                mask &= [set(others) <= set(people) for others in index[OTHER_SUBJECTS]]
        return train, test


class Addition(BaseModel):
    """What ``mmcl-bench features`` put beside the clips of a prepared set; see :mod:`mmcl_bench.datasets.additions`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["strips", "answers", "features"]
    """Strips are the images, answers the answers of the set; of features there may be any number, by name."""
    name: str
    modality: Modality
    file: str = Field(pattern=r"^[^/\\:]*[^/\\:.][^/\\:]*$")
    """In the folder of the set: a bare name, as it is removed once another addition takes its place."""
    sha256: str
    """Of the content, however the file encodes it."""
    n_clips: int
    lacking: dict[str, str] = {}
    """Clips that it lacks: sample_id to reason."""
    made: dict[str, Any] = {}
    """How it was made, for people: settings, models, hashes of weights."""


class Completeness(BaseModel):
    """How much of a published set a copy holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    published: int
    """Clips, or what ``counted`` says, of a whole copy."""
    present: int
    """Those that are here."""
    counted: Literal["clips", "videos"] = "clips"
    missing: tuple[str, ...] = ()
    """Sample ids of clips that are not here, the first of them, as far as names tell."""
    sides: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
    """By side whose numbers are published, of training and of test: how many are here, and in a whole copy."""

    @property
    def is_whole(self) -> bool:
        return self.present >= self.published and not self._short_sides

    @property
    def _short_sides(self) -> list[str]:
        return [name for name, side in self.sides.items() if any(here < whole for here, whole in side)]

    def __str__(self) -> str:
        """``1,187 of 1,484 published clips``; where all are here and not all on their sides, also those of a side."""
        count = f"{self.present:,} of {self.published:,} published {self.counted}"
        return count if self.present < self.published else "; ".join([count, *map(self._of_side, self._short_sides)])

    def _of_side(self, name: str) -> str:
        train, test = self.sides[name]
        return f"{name} has {train[0]:,} of {train[1]:,} for training and {test[0]:,} of {test[1]:,} for testing"

    @property
    def details(self) -> str:
        """What is missing, by side and by name, as far as that is known."""
        sides = map(self._of_side, self.sides)
        names = [f"missing are {some_of(self.missing, self.published - self.present)}"] if self.missing else []
        return "; ".join([*sides, *names])


class DatasetCard(BaseModel):
    """What a prepared data set says of itself (``card.json``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    """What it was prepared as: the folder's name, and what tasks call it."""
    reader: str
    """The reader that read it."""
    reader_version: int = 1
    settings: dict[str, Any] = {}
    """The reader's settings, such as the steps of denoising."""
    title: str
    synthetic: bool
    layout: str | Layout
    """The name of a layout of this package, else the layout itself, so that the set can be opened elsewhere."""
    unit: Literal["metres", "image"] = "metres"
    """Of positions, y up. ``image``: seen by a colour camera, in image heights from the middle, z is 0."""
    class_table: str
    """Name of the table of class names and descriptions, e.g. ``ntu60``."""
    classes: tuple[str, ...]
    class_texts: tuple[ClassText, ...] = ()
    """What classes look like, in label order, where the set brings its own; else ``class_table`` tells."""
    splits: dict[str, tuple[int, ...]] = {}
    """Unseen classes of zero-shot splits that the set brings, by name."""
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
    completeness: Completeness | None = None
    """How much of the published set it is; None where nobody says how much a whole copy holds."""
    noted: dict[str, str] = {}
    """Faults of the published files that the reader knows and works around: file name to what and how."""
    additions: tuple[Addition, ...] = ()
    own_modalities: tuple[Modality, ...] | None = None
    """Those that the published files bring, where there are ``additions``."""
    own_fingerprint: str | None = None
    """:attr:`fingerprint` without ``additions``, where there are some."""

    def addition(self, kind: str, name: str | None = None, modality: str | None = None) -> Addition | None:
        """The first addition of a kind, and of a name and a modality where they are given."""
        for addition in self.additions:
            if addition.kind == kind and name in (None, addition.name) and modality in (None, addition.modality):
                return addition
        return None

    def brings(self, modality: Modality) -> bool:
        """Whether the published files themselves bring a modality."""
        return modality in (self.own_modalities or self.modalities)


@dataclass(frozen=True)
class Clip:
    """One sample as a reader yields it. ``label`` is the zero-based class; numbers that a set lacks are 0."""

    sample_id: str
    label: int
    subject: int
    """The first of its subjects, where they are several."""
    n_frames: int
    bodies: tuple[BodyTrack, ...]
    camera: int = 0
    setup: int = 0
    fold: int = 0
    """The side on which the published files themselves put it: 1 train, 2 test, 0 where they do not; or its fold."""
    other_subjects: tuple[int, ...] = ()
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
            card = DatasetCard.model_validate_json(as_utf8(path.read_bytes(), errors="replace"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"{folder}: no prepared data set; run mmcl-bench data prepare {folder.name}") from error
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from error
        except ValidationError as error:
            raise damaged(path, f"not a card of format {FORMAT}", folder.name) from error
        if card.format != FORMAT:
            raise damaged(path, f"of format {card.format}, not {FORMAT}", folder.name)
        return cls(folder, card)

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a clip: sample_id, label, subject, camera, setup, fold, n_bodies, n_frames, offset, track_start,
        track_length, content; other_subjects where clips show several people. ``offset`` is the clip's first row in
        :attr:`tracks`; the next two are lists, one item a body; ``content`` is its :func:`content_hash`."""
        return self._read_table(self._part(INDEX))

    @cached_property
    def tracks(self) -> np.ndarray:
        """float32 (F, V, 3), memory-mapped read-only."""
        path = self._part(TRACKS)
        try:
            return np.lib.format.open_memmap(path, mode="r")
        except (ValueError, OSError) as error:
            raise damaged(path, f"damaged ({error})", self.card.name) from error

    def bodies(self, row: int) -> tuple[BodyTrack, ...]:
        """The body tracks of the clip in row ``row`` of the index; arrays are views of the memory map."""
        clip = self.index.iloc[row]
        tracks, at = [], int(clip.offset)
        for start, length in zip(clip.track_start, clip.track_length, strict=True):
            tracks.append(BodyTrack(int(start), self.tracks[at : at + int(length)]))
            at += int(length)
        return tuple(tracks)

    def images(self, rows: Sequence[int]) -> Iterator[bytes | None]:
        """Encoded person-crop images of the given index rows, in their order; ascending rows are read fastest.

        The image of a clip that lacks one is None; the card's addition says why.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._modality_file(Modality.RGB, "strips", RGB)
        try:
            with pq.ParquetFile(path) as file:
                loaded, images = -1, pa.chunked_array([], pa.binary())
                for row in rows:
                    group, position = divmod(int(row), IMAGES_A_GROUP)
                    if group != loaded:
                        loaded, images = group, file.read_row_group(group, columns=["image"])["image"]
                    yield images[position].as_py()
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, f"damaged ({first_line(error)})", self.card.name) from error

    def answers(self) -> pd.DataFrame:
        """One row an answer: sample_id, instruction, answer."""
        return self._read_table(self._modality_file(Modality.INSTRUCT, "answers", INSTRUCT))

    def features(self, name: str, modality: Modality) -> tuple[np.ndarray, np.ndarray]:
        """Index rows int64 (n,), ascending, and float32 (n, D): features that stand with the set under ``name``.

        Raises :class:`UserError` when there are none of that name.
        """
        addition = self.card.addition("features", name, modality)
        if addition is None:
            known = [each.name for each in self.card.additions if each.kind == "features" and each.modality == modality]
            raise UserError(f"{self.card.name}: {unknown(f'stored {modality} features', name, sorted(known))}")
        path = self.added_file(addition)
        try:
            with safe_open(path, framework="np") as file:
                return file.get_tensor("rows"), file.get_tensor("features")
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise _added_damaged(self.card.name, path, f"damaged ({first_line(error)})") from error

    def added_file(self, addition: Addition) -> Path:
        """The file of an addition. Raises :class:`UserError` when it is not there."""
        path = self.folder / addition.file
        if not path.is_file():
            raise _added_damaged(self.card.name, path, "missing")
        return path

    def modality_identity(self, modality: Modality) -> str:
        """What changes when the images, or the answers, change: sha256 in hex."""
        addition = self.card.addition("strips" if modality == Modality.RGB else "answers")
        return addition.sha256 if addition is not None else self.card.own_fingerprint or self.card.fingerprint

    def _modality_file(self, modality: Modality, kind: Literal["strips", "answers"], own: str) -> Path:
        addition = self.card.addition(kind)
        if addition is not None:
            return self.added_file(addition)
        if not self.card.brings(modality):
            stored = next((each.name for each in self.card.additions if each.modality == modality), None)
            instead = f", or use its stored features, --set {modality}_encoder=stored:{stored}" if stored else ""
            raise UserError(
                f"{self.card.name} has no {kind}; make them with mmcl-bench features build {self.card.name}{instead}"
            )
        return self._part(own)

    def _read_table(self, path: Path) -> pd.DataFrame:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(path).to_pandas()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise damaged(path, f"damaged ({first_line(error)})", self.card.name) from error

    def _part(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise damaged(path, "missing", self.card.name)
        return path


def damaged(path: Path, what: str, name: str) -> UserError:
    """The error for a file of the prepared set ``name`` that cannot be used."""
    return UserError(f"{path}: {what}; run mmcl-bench data prepare {name} again")


def _added_damaged(name: str, path: Path, what: str) -> UserError:
    return UserError(f"{path}: {what}; run mmcl-bench features build {name}, or features import {name}, again")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its place when the block ends well and vanishes when it does not."""
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(_draft_name(target, secrets.token_hex(4)))
    draft.mkdir()
    try:
        yield draft
        if target.is_dir():
            target.rename(draft.with_name(f"{draft.name}{_REPLACED}"))
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        _put_back(target, f"{draft.name}{_REPLACED}")


def remove_drafts(target: Path) -> None:
    """Removes what killed runs of :func:`atomic_folder` left. Only for who knows that no other run is writing."""
    target = target.resolve()
    for replaced in target.parent.glob(_draft_name(target, f"*{_REPLACED}")):
        _put_back(target, replaced.name)
    for draft in target.parent.glob(_draft_name(target, "*")):
        shutil.rmtree(draft, ignore_errors=True)


def _put_back(target: Path, replaced: str) -> None:
    """Removes the former folder if another one took its place; else, after a stop between both, it is the target."""
    former = target.with_name(replaced)
    if not target.exists() and former.is_dir():
        former.rename(target)
    shutil.rmtree(former, ignore_errors=True)


_REPLACED = "-replaced"


def _draft_name(target: Path, token: str) -> str:
    return f".{target.name}.draft-{token}"


def each_subject(index: pd.DataFrame) -> pd.DataFrame:
    """An index table with a row for every subject of a clip."""
    if OTHER_SUBJECTS not in index:
        return index
    people = [[first, *others] for first, others in zip(index["subject"], index[OTHER_SUBJECTS], strict=True)]
    return index.assign(subject=people).explode("subject").astype({"subject": np.int64})


def content_hash(n_frames: int, bodies: Sequence[BodyTrack]) -> bytes:
    """sha256 of what a clip shows, whatever it is called and whoever it is of."""
    starts, lengths = [body.start for body in bodies], [len(body.positions) for body in bodies]
    digest = hashlib.sha256(json.dumps([n_frames, starts, lengths]).encode())
    for body in bodies:
        digest.update(np.ascontiguousarray(body.positions, dtype="<f4").data)
    return digest.digest()


def fingerprint(dataset: SkeletonDataset) -> str:
    """sha256 over the content of a data set: index, tracks, images and answers.

    It does not depend on how the files encode the content, so it is the same under every version of the libraries
    that write them. Tracks enter by the content hashes of the index; ``mmcl-bench data verify`` checks these.
    """
    digest = hashlib.sha256(json.dumps(dataset.tracks.shape[1:]).encode())
    if isinstance(dataset.card.layout, Layout):
        digest.update(json.dumps(asdict(dataset.card.layout), sort_keys=True).encode())
    elif dataset.card.reader == "custom":
        # Other readers have one layout each; another one of one's own set may have as many joints, in another order.
        digest.update(dataset.card.layout.encode())
    facts = dataset.index[["sample_id", "label", "subject", "camera", "setup", "fold", "content"]]
    for *values, fold, content in facts.itertuples(index=False):
        digest.update(json.dumps([*values, fold] if fold else values).encode())
        digest.update(content)
    if OTHER_SUBJECTS in dataset.index:
        digest.update(json.dumps([[int(n) for n in others] for others in dataset.index[OTHER_SUBJECTS]]).encode())
    if dataset.card.brings(Modality.RGB):
        for image in dataset.images(range(len(facts))):
            digest.update(hashlib.sha256(image or b"").digest())
    if dataset.card.brings(Modality.INSTRUCT):
        for answer in dataset.answers().itertuples(index=False):
            digest.update(json.dumps(list(answer)).encode())
    for addition in dataset.card.additions:
        content = addition_hash(dataset, addition)
        digest.update(json.dumps([addition.kind, addition.name, addition.modality, content]).encode())
    return digest.hexdigest()


def addition_hash(dataset: SkeletonDataset, addition: Addition) -> str:
    """sha256 of the content of an addition, and of the clips whose it is."""
    digest = hashlib.sha256(json.dumps(dataset.index["sample_id"].tolist()).encode())
    match addition.kind:
        case "strips":
            for image in dataset.images(range(len(dataset.index))):
                digest.update(hashlib.sha256(image or b"").digest())
        case "answers":
            for answer in dataset.answers().itertuples(index=False):
                digest.update(json.dumps(list(answer)).encode())
        case "features":
            rows, features = dataset.features(addition.name, addition.modality)
            digest.update(json.dumps(features.shape).encode())
            digest.update(np.ascontiguousarray(rows, dtype="<i8").data)
            digest.update(np.ascontiguousarray(features, dtype="<f4").data)
    return digest.hexdigest()
