"""Readers: from the files that a data set's owner publishes to clips. A class with a ``name`` for each data set."""

from __future__ import annotations

import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import packaged
from mmcl_bench.core.records import first_fault
from mmcl_bench.core.registry import Registry, declared_in
from mmcl_bench.datasets.classes import class_texts
from mmcl_bench.datasets.formats.archive import (
    Archive,
    BadFile,
    NoFiles,
    base_name,
    open_archive,
    packed_inside,
    text_bytes,
)
from mmcl_bench.datasets.store import Clip, DatasetCard, Side
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from mmcl_bench.skeleton.layouts import Layout, portable

OnBad = Callable[[str, str], None]
"""Called with the name of a file, or of a clip in one, and what is wrong with it, said so that the name fits before."""

MAX_METRES = 100.0
"""No depth camera or capture volume reaches this far; a larger coordinate is damage or another unit."""
MAX_HEIGHTS = 5.0
"""Image heights; the widest images are not four times as wide as high, and key points lie in the image or near it."""
LengthUnit = Literal["metres", "image"]


class AnotherSetError(UserError):
    """A source is not the data set that it was given as."""


class BadClip(Exception):
    """One clip of a unit cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Unit:
    """What is read in one go, by one process: a file of the source, or a stretch of one."""

    file: str
    detail: tuple[Any, ...] = ()
    """Whatever else the reader needs to read it; plain values that can be sent to another process."""


@dataclass(frozen=True)
class WholeCopy:
    """What is known of a whole copy of the published files."""

    count: int
    """Its clips, or its videos; without those that are never read."""
    counted: Literal["clips", "videos"] = "clips"
    """``videos``: whose names are those of their clips up to the last ``_``; how many clips they hold is not known."""
    sides: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Of a side, those for training and for testing, where these numbers are published."""
    sample_ids: frozenset[str] = frozenset()
    """All of them, where names are known; else empty."""
    faulty: frozenset[str] = frozenset()
    """Those that no copy has in a usable form: left out with ``--skip-bad``, they are not missing."""


class Settings(BaseModel):
    """What a user may choose of a reader, with ``--set key=value``. A reader without choices has no field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reader(ABC):
    """Reads one data set. A reader is made anew in every process that reads; it keeps no state between units."""

    name: ClassVar[str]
    title: ClassVar[str]
    layout: ClassVar[str]
    unit: ClassVar[LengthUnit] = "metres"
    class_table: ClassVar[str]
    """Name of its table of class names, e.g. ``ntu60``."""
    version: ClassVar[int] = 1
    """Raised when a change of the reader changes what it yields."""
    synthetic: ClassVar[bool] = False
    embedded: ClassVar[bool] = False
    """True: made on first use, without a source."""
    frame_rate: ClassVar[float | None]
    modalities: ClassVar[tuple[Modality, ...]] = (Modality.SKELETON,)
    sides: ClassVar[Mapping[str, Side]]
    default_side: ClassVar[str]
    recording: ClassVar[Literal["subject", "setup", "clip"] | None] = "subject"
    """What clips of validation must not share with those that train: the column of the index that numbers performers or
    recorded performances; ``clip`` where every clip is a recording of its own; None where the files tell nothing."""
    collection: ClassVar[str] = ""
    """The collection that its recordings come from, where other readers read them too, in another form or a part of
    them. No transfer has two sets of one collection."""
    homepage: ClassVar[str]
    citation: ClassVar[str]
    published: ClassVar[str] = ""
    """What its owner calls the file; empty where that varies."""
    settings_model: ClassVar[type[Settings]] = Settings

    def __init__(self, **settings: Any) -> None:
        """Raises :class:`UserError` for a setting that the reader lacks or cannot take."""
        try:
            self.settings = self.settings_model.model_validate(settings)
        except ValidationError as error:
            where, message = first_fault(error)
            known = ", ".join(self.settings_model.model_fields) or "none"
            raise UserError(f"{self.name}: setting {where}: {message}; its settings: {known}") from error

    def open(self, source: Path | None) -> AbstractContextManager[Archive]:
        """The files of ``source``: a zip or a folder; None for an embedded set.

        Raises :class:`UserError` when it cannot be opened. A reader of one large file overrides this.
        """
        if source is None:
            return NoFiles()
        return open_archive(source)

    def card(self, archive: Archive) -> DatasetCard:
        """What the prepared set will say of itself; its figures are filled in later."""
        return DatasetCard(
            name=self.name,
            reader=self.name,
            reader_version=self.version,
            settings=self.settings.model_dump(mode="json"),
            title=self.title,
            synthetic=self.synthetic,
            layout=self.layout_of(archive),
            unit=self.unit,
            class_table=self.class_table,
            classes=self.class_names,
            sides=dict(self.sides),
            default_side=self.default_side,
            frame_rate=self.frame_rate,
            modalities=self.modalities,
            homepage=self.homepage,
            citation=self.citation,
            fingerprint="",
            n_clips=0,
        )

    def layout_of(self, archive: Archive) -> str | Layout:
        """The joint layout of its clips, as the card keeps it."""
        return portable(self.layout)

    def unit_of(self, archive: Archive) -> LengthUnit:
        """The unit of the positions of its clips."""
        return self.unit

    def whole_copy(self) -> WholeCopy | None:
        """What a whole copy holds, as the settings read it; None where nobody published that."""
        return None

    def missing_clips(self, found: Set[str]) -> Set[str]:
        """The sample ids of a whole copy that are not among those ``found``, as far as names tell."""
        whole = self.whole_copy()
        return whole.sample_ids - found if whole else frozenset()

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """In label order."""
        return class_texts(self.class_table).names

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    def lacking(self, archive: Archive, what: str) -> UserError:
        """The error for a source that is not this data set."""
        return AnotherSetError(
            f"{archive.source}: not {self.title}: holds {what}{packed_inside(archive)}; see {self.homepage}"
        )

    def label_of(self, action: int) -> int:
        """The label of an action that is numbered from 1. Raises :class:`.archive.BadFile`."""
        if not 1 <= action <= self.n_classes:
            raise BadFile(f"has action {action}; {self.title} has 1 to {self.n_classes}")
        return action - 1

    @abstractmethod
    def units(self, archive: Archive) -> list[Unit]:
        """All that there is to read, in an order that depends on the files alone; quick, for nothing is parsed yet.

        Raises :class:`UserError` when the source is not this data set.
        """

    @abstractmethod
    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        """The clips of one unit.

        Raises :class:`.archive.BadFile` when the whole unit cannot be used; tells ``on_bad`` of single clips that
        cannot. What :func:`clip_fault` finds need not be looked for.
        """


class FilePerClipReader(Reader):
    """A data set that is published with one file a clip, in any folder of the source."""

    files: ClassVar[str]
    """The files it wants, in words."""
    file_name: ClassVar[re.Pattern[str]]
    """Matches the whole name of a clip's file; the group ``sample_id`` is the sample id."""

    @abstractmethod
    def clip(self, name: re.Match[str], content: bytes) -> Clip:
        """The clip in one file, from the match of :attr:`file_name` and the file's bytes.

        Raises :class:`.archive.BadFile`.
        """

    def units(self, archive: Archive) -> list[Unit]:
        wanted = sorted(
            (match["sample_id"], file)
            for file in archive.names()
            if (match := self.file_name.fullmatch(base_name(file)))
        )
        if not wanted:
            raise self.lacking(archive, f"none of its {self.files}")
        require_once(archive, wanted)
        return [Unit(file) for _, file in wanted]

    def named(self, unit: Unit) -> re.Match[str]:
        """The match of :attr:`file_name` for the file of a unit."""
        return matched(self.file_name, base_name(unit.file))

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        yield replace(self.clip(self.named(unit), archive.read(unit.file)), file=unit.file)


def require_once(archive: Archive, found: Sequence[tuple[Any, ...]]) -> None:
    """Raises :class:`UserError` where two files are one clip, as in a zip beside the folder unpacked from it.

    ``found`` is sorted and holds the clip first, then its file.
    """
    for (clip, file, *_), (next_clip, next_file, *_) in pairwise(found):
        if clip == next_clip:
            raise UserError(f"{archive.source}: {file} and {next_file} are one clip; remove one of them")


def matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    """The match of a text that matches, as a reader's own units do."""
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no {pattern.pattern}")
    return match


def text_of(archive: Archive, file: str) -> str:
    """An ASCII file without which a source cannot be read. Raises :class:`UserError` when it is none."""
    try:
        return text_bytes(archive.read(file)).decode("ascii")
    except BadFile as error:
        raise UserError(f"{archive.source}: {file} {error}; download it again") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{archive.source}: {file} is no plain text; download it again") from error


def odd_subjects_train(n_subjects: int, source: str) -> Side:
    """Subjects 1, 3, 5, ... train and 2, 4, 6, ... test."""
    odd, even = (tuple(range(first, n_subjects + 1, 2)) for first in (1, 2))
    return Side(column="subject", train=odd, test=even, source=source)


def camera_1_tests(source: str) -> Side:
    """Cameras 2 and 3 train and camera 1 tests, as in NTU RGB+D's cross-view evaluation."""
    return Side(column="camera", train=(2, 3), test=(1,), source=source)


def folds_of_the_files(source: str) -> Side:
    """The published files say which clips train, fold 1, and which test, fold 2."""
    return Side(column="fold", train=(1,), test=(2,), source=source)


def listed_samples(name: str) -> frozenset[str]:
    """Sample ids that are known to be missing or unusable, from ``protocols/samples``."""
    return frozenset(_samples(name)["missing"])


@cache
def named_clips(name: str) -> frozenset[str]:
    """Sample ids of a whole copy, from ``protocols/samples``."""
    listed = _samples(name)
    ids = (sample_id for pattern in listed["published"] for sample_id in _spelled_out(pattern))
    return frozenset(ids) - frozenset(listed.get("missing", ()))


def _samples(name: str) -> dict[str, Any]:
    path = packaged("protocols") / "samples" / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _spelled_out(pattern: str) -> Iterator[str]:
    """All names that a pattern stands for: ``{01-03}`` is 01, 02 and 03, ``{a|b}`` is a and b."""
    pieces = re.split(r"[{}]", pattern)
    choices = [
        [name for part in piece.split("|") for name in _range(part)] if at % 2 else [piece]
        for at, piece in enumerate(pieces)
    ]
    yield from map("".join, product(*choices))


def _range(text: str) -> list[str]:
    ends = re.fullmatch(r"(\d+)-(\d+)", text)
    return [f"{n:0{len(ends[1])}d}" for n in range(int(ends[1]), int(ends[2]) + 1)] if ends else [text]


def single_body(positions: np.ndarray) -> tuple[BodyTrack, ...]:
    """One body seen in every frame, from numbers of any precision and shape (T, V, 3)."""
    # What overflows here becomes infinite, and clip_fault finds it.
    with np.errstate(over="ignore", invalid="ignore"):
        return (BodyTrack(0, positions.astype(np.float32)),)


def clip_fault(clip: Clip, n_joints: int, n_classes: int, unit: LengthUnit = "metres") -> str | None:
    """What makes a clip unusable, in words, or None."""
    if not 0 <= clip.label < n_classes:
        return f"has label {clip.label}; the set has {n_classes} classes, counted from 0"
    if clip.n_frames < 1:
        return "has no frames"
    if not any(body.positions.size for body in clip.bodies):
        return nobody_in(clip.n_frames)
    faults = (_track_fault(body, clip.n_frames, n_joints, unit) for body in clip.bodies)
    if fault := next(filter(None, faults), None):
        return fault
    if not any(np.nan_to_num(body.positions).any() for body in clip.bodies):
        return f"is all zeros or NaN: it {nobody_in(clip.n_frames)}"
    return None


def nobody_in(n_frames: int) -> str:
    """Says of a clip that it shows no body."""
    return f"shows nobody in {f'any of its {n_frames} frames' if n_frames > 1 else 'its one frame'}"


def _track_fault(body: BodyTrack, n_frames: int, n_joints: int, unit: LengthUnit) -> str | None:
    positions = body.positions
    if positions.ndim != 3 or positions.shape[2] != 3:
        return f"has an array of shape {positions.shape}; expected (frames, {n_joints}, 3)"
    if positions.shape[1] != n_joints:
        return f"has {positions.shape[1]} joints; expected {n_joints}"
    if len(positions) == 0:
        return "has a body without frames; leave that body out"
    if body.start < 0 or body.start + len(positions) > n_frames:
        return f"has a body outside its {n_frames} frames"
    if not np.isfinite(positions).all():
        positions = positions[~np.isnan(positions).all(-1)]
        if not np.isfinite(positions).all():
            return "has NaN or infinite positions; a joint that was not seen has NaN in all three coordinates"
    farthest = np.abs(positions).max(initial=0)
    if unit == "image" and farthest > MAX_HEIGHTS:
        return (
            f"has a key point {farthest:.3g} image heights away; more than {MAX_HEIGHTS:g} is no place in or near an "
            "image: divide pixels by the height of the image"
        )
    if unit == "metres" and farthest > MAX_METRES:
        return f"has a joint {farthest:.3g} m away; more than {MAX_METRES:g} m is no measurement in metres"
    return None


READERS: Registry[type[Reader]] = Registry("data set", "mmcl_bench.datasets", declared_in(__name__, __path__[0]))
