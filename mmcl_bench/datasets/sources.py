"""Clips from wherever they lie, one after the other, without preparing a data set."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.text import name_order
from mmcl_bench.datasets.denoise import denoise
from mmcl_bench.datasets.formats.archive import Archive, BadFile, FolderArchive, base_name, open_archive
from mmcl_bench.datasets.formats.ntu_skeleton import parse_skeleton
from mmcl_bench.datasets.prepare import open_dataset
from mmcl_bench.datasets.readers import READERS, FilePerClipReader, LengthUnit, OnBad, Reader, clip_fault, nobody_in
from mmcl_bench.datasets.readers.custom import CLIP_ENDINGS, MANIFEST, Custom, loose_unit
from mmcl_bench.datasets.readers.ntu import NtuSettings
from mmcl_bench.datasets.store import CARD, Clip, SkeletonDataset
from mmcl_bench.skeleton.layouts import Layout, get_layout

SKELETON_ENDING, SKELETON_LAYOUT = ".skeleton", "kinect-v2"
LOOSE_ENDINGS = (*CLIP_ENDINGS, SKELETON_ENDING)
"""Of files that hold one clip each and need no name, label or table."""


@dataclass(frozen=True)
class Source:
    """Clips that are read unit by unit: a file, a stretch of one, or a row of a prepared set."""

    where: str
    layout: str | Layout
    units: tuple[Any, ...]
    read: Callable[[Any, OnBad], Iterator[Clip]]
    """The clips of a unit; raises :class:`.archive.BadFile`, or tells of single clips, as :meth:`Reader.clips` does."""
    name: Callable[[Any], str]
    """What messages call a unit."""
    unit: LengthUnit = "metres"
    """Of positions."""

    def clips(self, unit: Any, on_bad: OnBad) -> Iterator[Clip]:
        """The usable clips of a unit, their labels 0; ``on_bad`` is told of the others."""
        n_joints = len(get_layout(self.layout))
        try:
            for clip in self.read(unit, on_bad):
                # Whatever the file says that the clip shows, nothing here asks for it.
                unlabelled = replace(clip, label=0)
                if fault := clip_fault(unlabelled, n_joints, 1, self.unit):
                    on_bad(clip.file or clip.sample_id, fault)
                else:
                    yield unlabelled
        except BadFile as error:
            on_bad(self.name(unit), str(error))


@contextmanager
def open_source(
    named: str,
    data_root: Path,
    reader: str | None = None,
    settings: Mapping[str, Any] | None = None,
    layout: str | Layout | None = None,
    usual_reader: str | None = None,
) -> Iterator[Source]:
    """The clips of what ``named`` says: a file, a folder, a zip, or a prepared data set by its name or folder.

    ``reader`` with its ``settings`` reads a published set. Without it, a table of clips (``manifest.csv``) is read as
    your own data, and loose ``.npy``, ``.csv`` and ``.skeleton`` files as a clip each, the former two in ``layout``;
    anything else by ``usual_reader``. Raises :class:`UserError` when there is nothing that could be read.
    """
    path = Path(named)
    if reader is not None:
        with _published(READERS.get(reader)(**(settings or {})), path) as source:
            yield source
        return
    if settings:
        raise UserError("settings are of a reader; name it with --reader")
    if (path / CARD).is_file():
        yield _of_prepared(SkeletonDataset.open(path), named)
    elif not path.exists():
        yield _of_prepared(_prepared(named, data_root), named)
    else:
        with _unnamed(path, layout, usual_reader) as source:
            yield source


@contextmanager
def _unnamed(path: Path, layout: str | Layout | None, usual_reader: str | None) -> Iterator[Source]:
    """A file, a folder or a zip whose form nobody named."""
    if path.is_file() and not zipfile.is_zipfile(path):
        if path.suffix.lower() in LOOSE_ENDINGS:
            yield _loose(_OneFile(path), layout)
            return
    else:
        with open_archive(path) as archive:
            held = {base_name(file) for file in archive.names()}
            if MANIFEST in held:
                yield _read_by(Custom(), archive)
                return
            if any(PurePosixPath(file).suffix.lower() in LOOSE_ENDINGS for file in held):
                yield _loose(archive, layout)
                return
    if usual_reader is None:
        raise UserError(f"{path}: nothing says what reads it; name a data set's reader with --reader")
    with _published(READERS.get(usual_reader)(), path) as source:
        yield source


@contextmanager
def _published(reader: Reader, path: Path) -> Iterator[Source]:
    if reader.embedded:
        raise UserError(f"{reader.name} is generated, not read; give {reader.name} itself as the source")
    is_one_clip = isinstance(reader, FilePerClipReader) and path.is_file() and reader.file_name.fullmatch(path.name)
    opened: AbstractContextManager[Archive] = nullcontext(_OneFile(path)) if is_one_clip else reader.open(path)
    with opened as archive:
        yield _read_by(reader, archive)


def _read_by(reader: Reader, archive: Archive) -> Source:
    return Source(
        where=str(archive.source),
        layout=reader.layout_of(archive),
        units=tuple(reader.units(archive)),
        read=lambda unit, on_bad: reader.clips(archive, unit, on_bad),
        name=lambda unit: str(unit.file),
        unit=reader.unit_of(archive),
    )


def _loose(archive: Archive, layout: str | Layout | None) -> Source:
    """A clip a file, called by the path without its ending."""
    loose = (file for file in archive.names() if PurePosixPath(file).suffix.lower() in LOOSE_ENDINGS)
    files = sorted(loose, key=lambda file: name_order(str(PurePosixPath(file).with_suffix(""))))
    forms = {PurePosixPath(file).suffix.lower() == SKELETON_ENDING for file in files}
    if len(forms) > 1:
        raise UserError(f"{archive.source}: holds {SKELETON_ENDING} files and others; give one form at a time")
    if forms == {True}:
        return _files(archive, files, SKELETON_LAYOUT, lambda file, on_bad: _from_skeleton(archive, file))
    unit, chosen, length_unit = loose_unit(archive, layout)
    reader = Custom()
    found = _files(archive, files, chosen, lambda file, on_bad: reader.clips(archive, unit(file), on_bad))
    return replace(found, unit=length_unit)


def _files(
    archive: Archive, files: list[str], layout: str | Layout, read: Callable[[str, OnBad], Iterator[Clip]]
) -> Source:
    return Source(str(archive.source), layout, tuple(files), read, str)


def _from_skeleton(archive: Archive, file: str) -> Iterator[Clip]:
    n_frames, bodies = parse_skeleton(archive.read(file))
    if not bodies:
        raise BadFile(nobody_in(n_frames))
    tracks = tuple(body.track() for body in denoise(bodies, NtuSettings().denoise))
    yield Clip(str(PurePosixPath(file).with_suffix("")), 0, 0, n_frames, tracks, file=file)


def _of_prepared(dataset: SkeletonDataset, named: str) -> Source:
    index = dataset.index

    def read(row: int, on_bad: OnBad) -> Iterator[Clip]:
        yield Clip(str(index["sample_id"].iat[row]), 0, 0, int(index["n_frames"].iat[row]), dataset.bodies(row))

    return Source(
        where=named,
        layout=dataset.card.layout,
        units=tuple(range(len(index))),
        read=read,
        name=lambda row: str(index["sample_id"].iat[row]),
        unit=dataset.card.unit,
    )


def _prepared(name: str, data_root: Path) -> SkeletonDataset:
    try:
        return open_dataset(name, data_root)
    except UserError as error:
        known = sorted({*READERS, *(card.parent.name for card in data_root.glob(f"*/{CARD}"))})
        if name in known:
            raise
        raise UserError(f"{name}: no such file or folder, and {unknown('data set', name, known)}") from error


class _OneFile(FolderArchive):
    """A single file, as an archive that holds nothing else."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self.source = path

    @cached_property
    def _paths(self) -> dict[str, str]:
        return {self.source.name: self.source.name}
