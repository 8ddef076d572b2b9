"""Reading the published files of a data set where they lie: in a zip or in a folder. Nothing is unpacked to disk.

Both kinds of source are untrusted: a member that climbs out of the source, a link, a member of absurd size and a
damaged one are refused by name.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import first_line

MAX_MEMBER_BYTES = 64 << 20
"""Published skeleton files are below 10 MB; more than this is a mistake or a decompression bomb."""

SYNTHETIC_MARK = "SYNTHETIC.txt"
"""A file of this name says that no file beside it was recorded from people."""

_DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    OSError,
    ValueError,
    OverflowError,
    MemoryError,
)
"""What :mod:`zipfile` raises on bytes that no honest writer made."""


_Kind = TypeVar("_Kind", bound="Archive")


class BadFile(Exception):
    """One file of a source cannot be used; the message is the reason, without the file's name."""


class Archive(ABC):
    """The files of a source. Names are POSIX paths below it."""

    source: Path
    """Where the user said they are."""

    @abstractmethod
    def names(self) -> list[str]:
        """Sorted names of all files."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises :class:`BadFile` when they cannot be had or should not be trusted."""

    def identity(self) -> str:
        """What changes when the files change, found without reading them."""
        return stamp(self.source)


class NoFiles(Archive):
    """What an embedded data set is made from. It is its own context, as nothing needs closing."""

    source = Path()

    def names(self) -> list[str]:
        return []

    def read(self, name: str) -> bytes:
        raise BadFile("is not there")

    def __enter__(self) -> NoFiles:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class FolderArchive(Archive):
    """A folder and all below it. Links are listed, so that they can be refused by name, but never followed."""

    def __init__(self, folder: Path) -> None:
        self.source = self.folder = folder

    def names(self) -> list[str]:
        def refuse(error: OSError) -> None:
            raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); mend its permissions")

        return sorted(
            (Path(parent) / file).relative_to(self.folder).as_posix()
            for parent, _, files in os.walk(self.folder, onerror=refuse, followlinks=False)
            for file in files
        )

    def read(self, name: str) -> bytes:
        path = self.folder / name
        try:
            status = path.lstat()
            _require_plain_file(status.st_mode)
            _require_sane_size(status.st_size, MAX_MEMBER_BYTES)
            return path.read_bytes()
        except OSError as error:
            raise BadFile(f"cannot be read ({error.strerror})") from error

    def identity(self) -> str:
        return _digest((name, stamp(self.folder / name)) for name in self.names())


class ZipArchive(Archive):
    """An open zip. Raises :class:`UserError` when a member climbs out of it or has another's or no readable name."""

    def __init__(self, zipped: zipfile.ZipFile, source: Path) -> None:
        self.source = source
        self.zip = zipped
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in zipped.infolist():
            if _climbs_out(member.filename):
                raise UserError(f"{source}: member {member.filename!r} climbs out of the zip; do not trust this file")
            if not (member.filename and member.filename.isprintable()):
                raise UserError(
                    f"{source}: member {member.filename!r} has no name, or control characters in it; "
                    "do not trust this file"
                )
            if member.filename in self._members:
                raise UserError(f"{source}: holds {member.filename!r} twice; download it again")
            if not member.is_dir():
                self._members[member.filename] = member

    def names(self) -> list[str]:
        return sorted(self._members)

    def identity(self) -> str:
        return _digest((name, str((member.CRC, member.file_size))) for name, member in sorted(self._members.items()))

    def member(self, name: str) -> zipfile.ZipInfo:
        """What the zip says of a file. Raises :class:`BadFile` when it should not be opened."""
        member = self._members[name]
        _require_plain_file(member.external_attr >> 16)
        if member.flag_bits & 0x1:
            raise BadFile("is encrypted")
        # bzip2 and LZMA members are inflated without a bound on the output.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadFile("is packed by another method than deflate")
        return member

    def read(self, name: str, most: int = MAX_MEMBER_BYTES) -> bytes:
        member = self.member(name)
        _require_sane_size(member.file_size, most)
        try:
            # Reading a number of bytes, not all, is what bounds the memory that a zip bomb can take.
            with self.zip.open(member) as stream:
                content = stream.read(member.file_size + 1)
        except _DAMAGED_ZIP as error:
            raise BadFile(f"is damaged ({first_line(error)})") from error
        if len(content) != member.file_size:
            raise BadFile("is damaged (its size is another than the zip says)")
        return content


class FolderOfZips(Archive):
    """A folder, and the files in some of the zips in it; the name of such a file begins with that of its zip."""

    def __init__(self, folder: Path, zips: Mapping[str, Archive]) -> None:
        self.source = folder
        self._loose = FolderArchive(folder)
        self._zips = zips

    def names(self) -> list[str]:
        zipped = (f"{name}/{member}" for name, archive in self._zips.items() for member in archive.names())
        return sorted([*self._loose.names(), *zipped])

    def read(self, name: str) -> bytes:
        first, _, member = name.partition("/")
        return self._zips[first].read(member) if first in self._zips and member else self._loose.read(name)

    def identity(self) -> str:
        return _digest(
            [("", self._loose.identity()), *((name, archive.identity()) for name, archive in self._zips.items())]
        )


def opened_as(kind: type[_Kind], archive: Archive) -> _Kind:
    """The archive, which the reader that is given it has opened itself."""
    if not isinstance(archive, kind):
        raise TypeError(f"{archive.source} was not opened by the reader of its set")
    return archive


@contextmanager
def open_with_zips(source: Path, wanted: str) -> Iterator[Archive]:
    """As :func:`open_archive`; of a folder, zips in it whose name matches the glob ``wanted`` are read too."""
    zips = sorted(source.glob(wanted)) if source.is_dir() else []
    with ExitStack() as stack:
        archives = {path.name: stack.enter_context(open_archive(path)) for path in zips}
        yield FolderOfZips(source, archives) if archives else stack.enter_context(open_archive(source))


@contextmanager
def open_archive(source: Path) -> Iterator[Archive]:
    """Opens a zip or a folder. Raises :class:`UserError` when ``source`` is neither."""
    if source.is_dir():
        yield FolderArchive(source)
        return
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; give the zip as published or the folder unpacked from it")
    if not source.is_file():
        raise UserError(f"{source}: neither a plain file nor a folder; give the zip as published")
    try:
        file = source.open("rb")
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror}); mend its permissions") from error
    with file:
        try:
            zipped = zipfile.ZipFile(file)
        except _DAMAGED_ZIP as error:
            raise UserError(f"{source}: not a zip, or cut short ({first_line(error)}); download it again") from error
        with zipped:
            yield ZipArchive(zipped, source)


def stamp(path: Path) -> str:
    """Size and time of change of a file; empty where there is none."""
    try:
        status = path.lstat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _digest(facts: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(repr(fact).encode())
    return digest.hexdigest()


def base_name(name: str) -> str:
    """The last part of a member's name."""
    return PurePosixPath(name).name


def _climbs_out(name: str) -> bool:
    # Windows paths know both separators and drives, so one check serves every platform that the zip may reach.
    path = PureWindowsPath(name)
    return bool(path.anchor) or ".." in path.parts


def _require_plain_file(mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise BadFile("is a link; put the file itself there")
    # Zips made without Unix modes have none at all.
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        raise BadFile("is not a plain file")


def _require_sane_size(size: int, most: int) -> None:
    if size > most:
        raise BadFile(f"is {size / 2**20:,.0f} MiB large; more than {most >> 20:,} MiB is refused")
