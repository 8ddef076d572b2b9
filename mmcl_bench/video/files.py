"""Finding the videos of a data set where they lie: in a folder, in a zip, or in the zips of a folder."""

from __future__ import annotations

import io
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import (
    BadFile,
    FolderArchive,
    ZipArchive,
    base_name,
    open_archive,
    plain_name,
    stamp,
)

SAMPLE_ID = "{sample_id}"
SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv")
USUAL = tuple(f"{SAMPLE_ID}{mark}{suffix}" for mark in ("", "_rgb", "_color") for suffix in SUFFIXES)
"""Patterns that are tried where none is given. NTU RGB+D has ``_rgb.avi``, UTD-MHAD ``_color.avi``."""
MOST_ZIPPED = 4 << 30
"""Bytes of a zipped video, which is unpacked in memory."""


class VideoFiles:
    """The files of a source, open as long as the context lasts. Nothing is unpacked to disk, no link is followed."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._opened = ExitStack()
        self._zips: dict[str, ZipArchive] = {}
        """By the prefix of their members' names."""
        self._folder: FolderArchive | None = None
        self._names: list[str] = []

    def __enter__(self) -> Self:
        archive = self._opened.enter_context(open_archive(self.source))
        if isinstance(archive, ZipArchive):
            self._zips[""] = archive
        elif isinstance(archive, FolderArchive):
            self._folder = archive
            self._names = [name for name in archive.names() if PurePosixPath(name).suffix != ".zip"]
            for path in (path for path in sorted(self.source.glob("*.zip")) if plain_name(path.name)):
                zipped = self._opened.enter_context(open_archive(path))
                if isinstance(zipped, ZipArchive):
                    self._zips[f"{path.name}/"] = zipped
        for prefix, zipped in self._zips.items():
            self._names += [f"{prefix}{name}" for name in zipped.names()]
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def of_samples(self, sample_ids: list[str], pattern: str | None) -> list[str | None]:
        """The name of the video of each sample, None for one without; ``pattern`` has ``{sample_id}`` in it.

        Raises :class:`UserError` for a pattern without it, and when no sample or two files of one have the name.
        """
        if pattern is not None and SAMPLE_ID not in pattern:
            raise UserError(f"--pattern {pattern}: has no {SAMPLE_ID} in it, such as {SAMPLE_ID}_rgb.avi")
        by_name: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            by_name[base_name(name)].append(name)
        for usual in USUAL if pattern is None else (pattern,):
            found = [by_name[usual.replace(SAMPLE_ID, sample_id)] for sample_id in sample_ids]
            if not any(found):
                continue
            if twice := next((names for names in found if len(names) > 1), None):
                raise UserError(f"{self.source}: {twice[0]} and {twice[1]} have one name; leave one of them out")
            return [names[0] if names else None for names in found]
        example = base_name(self._names[0]) if self._names else "nothing"
        raise UserError(
            f"{self.source}: holds no video of a clip such as {sample_ids[0]}; it holds {example}; "
            f"say how the files are called with --pattern, such as {SAMPLE_ID}_rgb.avi"
        )

    def stamp(self, name: str) -> str:
        """What changes when a file changes, found without reading it."""
        zipped, member = self._zipped(name)
        if zipped is not None:
            return zipped.stamp(member)
        return stamp(self._path(name))

    def open(self, name: str) -> BinaryIO:
        """One file. Raises :class:`BadFile` when it cannot be had or should not be trusted."""
        zipped, member = self._zipped(name)
        if zipped is not None:
            return io.BytesIO(zipped.read(member, MOST_ZIPPED))
        path = self._path(name)
        if path.is_symlink():
            raise BadFile("is a link; put the file itself there")
        try:
            return path.open("rb")
        except OSError as error:
            raise BadFile(f"cannot be read ({error.strerror})") from error

    def _path(self, name: str) -> Path:
        return self._folder.path(name) if self._folder else self.source / name

    def _zipped(self, name: str) -> tuple[ZipArchive | None, str]:
        for prefix, zipped in self._zips.items():
            if name.startswith(prefix):
                return zipped, name.removeprefix(prefix)
        return None, name
