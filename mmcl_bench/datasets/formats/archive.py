"""Reading the published files of a data set where they lie: in a zip or in a folder. Nothing is unpacked to disk.

Names of files are the same whatever system packed them: with slashes, composed letters (NFC), and without the files
that macOS and Windows add of their own.

Both kinds of source are untrusted: a member that climbs out of the source, a link, a member of absurd size and a
damaged one are refused by name.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TypeVar

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import as_utf8, first_line, some_of
from mmcl_bench.datasets.formats.first_bytes import N_BYTES, kind_of, stand_in

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

_PACKED = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")
_ADDED_FOLDER, _ADDED_FILES = "__MACOSX", (".DS_Store", "Thumbs.db", "desktop.ini")
"""What macOS and Windows add to folders and zips, beside files whose names begin with ``._``."""


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

    def identity(self) -> str:
        return ""

    def __enter__(self) -> NoFiles:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class FolderArchive(Archive):
    """A folder and all below it. Links are listed, so that they can be refused by name, but never followed."""

    def __init__(self, folder: Path) -> None:
        self.source = self.folder = folder

    def names(self) -> list[str]:
        return sorted(self._paths)

    def path(self, name: str) -> Path:
        """Where a file lies. Raises :class:`BadFile` where there is none."""
        if name not in self._paths:
            raise BadFile("is not there")
        return self.folder / self._paths[name]

    def read(self, name: str) -> bytes:
        path = self.path(name)
        try:
            status = path.lstat()
            _require_plain_file(status.st_mode)
            _require_sane_size(status.st_size, MAX_MEMBER_BYTES)
            return _fetched(path.read_bytes())
        except OSError as error:
            raise BadFile(f"cannot be read ({error.strerror})") from error

    def identity(self) -> str:
        return _digest((name, stamp(self.path(name))) for name in self.names())

    @cached_property
    def _paths(self) -> dict[str, str]:
        """Below the folder, by name; what was unpacked from a zip of Windows may have backslashes in its own name."""

        def refuse(error: OSError) -> None:
            raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); mend its permissions")

        found: dict[str, str] = {}
        for parent, _, files in os.walk(self.folder, onerror=refuse, followlinks=False):
            folder = Path(parent).relative_to(self.folder).as_posix()
            for file in files:
                name = plain_name(path := f"{folder}/{file}")
                if name in found:
                    raise UserError(f"{self.source}: {found[name]!a} and {path!a} are one name; remove one of them")
                if name is not None:
                    found[name] = path
        return found


class ZipArchive(Archive):
    """An open zip. Raises :class:`UserError` when a member climbs out of it or has another's or no readable name."""

    def __init__(self, zipped: zipfile.ZipFile, source: Path) -> None:
        self.source = source
        self.zip = zipped
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in zipped.infolist():
            if _climbs_out(member.filename):
                raise UserError(f"{source}: member {member.filename!r} climbs out of the zip; do not trust this file")
            if not member.filename or any(map(_is_control, member.filename)):
                raise UserError(
                    f"{source}: member {member.filename!r} has no name, or control characters in it; "
                    "do not trust this file"
                )
            name = plain_name(member.filename)
            if name in self._members:
                raise UserError(f"{source}: holds {name!r} twice; download it again")
            if name is not None and not member.filename.endswith(("/", "\\")):
                self._members[name] = member
        faults = [_packing_fault(member) for member in self._members.values()]
        if faults and all(faults):
            raise UserError(f"{source}: every file in it {faults[0]}; unpack it by another program and give the folder")

    def names(self) -> list[str]:
        return sorted(self._members)

    def identity(self) -> str:
        return _digest((name, self.stamp(name)) for name in self.names())

    def stamp(self, name: str) -> str:
        """Checksum and size of a file, as the zip says."""
        member = self._members[name]
        return f"{member.CRC} {member.file_size}"

    def member(self, name: str) -> zipfile.ZipInfo:
        """What the zip says of a file. Raises :class:`BadFile` when it should not be opened."""
        member = self._members[name]
        _require_plain_file(member.external_attr >> 16)
        if fault := _packing_fault(member):
            raise BadFile(fault)
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
        return _fetched(content)


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
    zips = [path for path in sorted(source.glob(wanted)) if plain_name(path.name)] if source.is_dir() else []
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
            raise _no_zip(source, file, error) from error
        with zipped:
            yield ZipArchive(zipped, source)


def _no_zip(source: Path, file: IO[bytes], error: BaseException) -> UserError:
    """The error for a file that is not a zip, which says what it is."""
    file.seek(0)
    if kind := kind_of(file.read(N_BYTES)):
        return UserError(f"{source}: is {kind.what}; {kind.mend}")
    if source.suffix.lower() == ".zip":
        return UserError(f"{source}: not a zip, or cut short ({first_line(error)}); download it again")
    return UserError(
        f"{source}: is a single file, not a zip; give the zip as published, or the folder that holds it and the others"
    )


def plain_name(name: str) -> str | None:
    """The name of a file as systems with slashes and composed letters have it; None for one that a system added.

    Control characters, and bytes that are no text, are shown as escapes.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or _ADDED_FOLDER in parts or parts[-1] in _ADDED_FILES or parts[-1].startswith("._"):
        return None
    text = unicodedata.normalize("NFC", "/".join(parts))
    return text if text.isprintable() else "".join(ascii(each)[1:-1] if _is_control(each) else each for each in text)


def _is_control(letter: str) -> bool:
    """Whether it is none that can be printed in a line. Joiners and wide blanks can, unlike to ``str.isprintable``."""
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def packed_inside(archive: Archive) -> str:
    """Says which archives lie in one that lacks the files that are looked for; empty where none does."""
    packed = [name for name in archive.names() if name.lower().endswith(_PACKED)]
    return f", but {some_of(packed)}, which must be unpacked first" if packed else ""


def text_bytes(content: bytes) -> bytes:
    """The content of a text file as UTF-8 without a byte order mark. Raises :class:`BadFile`."""
    try:
        return as_utf8(content)
    except UnicodeDecodeError as error:
        raise BadFile("begins like a text in UTF-16 and does not go on so; save it as UTF-8") from error


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


def _packing_fault(member: zipfile.ZipInfo) -> str | None:
    """Why a file in a zip is not opened, in words."""
    if member.flag_bits & 0x1:
        return "is encrypted"
    # bzip2 and LZMA members are inflated without a bound on the output.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed by another method than deflate"
    return None


def _fetched(content: bytes) -> bytes:
    """The content of a file. Raises :class:`BadFile` where it is something in the place of one."""
    if kind := stand_in(content[:N_BYTES]):
        raise BadFile(f"is {kind.what}; {kind.mend}")
    return content


def _require_plain_file(mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise BadFile("is a link; put the file itself there")
    # Zips made without Unix modes have none at all.
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        raise BadFile("is not a plain file")


def _require_sane_size(size: int, most: int) -> None:
    if size > most:
        raise BadFile(f"is {size / 2**20:,.0f} MiB large; more than {most >> 20:,} MiB is refused")
