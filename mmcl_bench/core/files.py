"""Files that are written completely or not at all, and files with a checksum that shows damage."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from mmcl_bench.core.text import as_utf8

_DRAFT = re.compile(r"\.(.+-[a-z0-9_]{8}|tmp[A-Za-z0-9]{6})")
"""Names that :func:`write_atomically` gives, and those of drafts that safetensors makes beside them."""
CHECKPOINT = ".checkpoint"
"""How files end that hold the state of a training."""
_SEAL = b"mmcl-bench sha256:"
_ROOM = 2**16
"""Bytes of free space below which a failed write is one of a full disk."""
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DamagedError(Exception):
    """A file that was cut short, changed or deleted after it was written. The message names the file and the damage."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a new file beside ``path`` and moves it into place: no reader sees an incomplete file.

    Once it returns, the file survives a power cut. Raises :class:`OSError` with ENOSPC when the disk is full, whatever
    error the writing library raises then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        write(draft)
        draft.chmod(0o666 & ~_umask())
        _flush(draft)
        draft.replace(path)
    except BaseException as error:
        room = shutil.disk_usage(path.parent).free
        draft.unlink(missing_ok=True)
        # The writers of safetensors and of torch hide a full disk in errors of their own.
        if is_disk_full(error) or (isinstance(error, Exception) and room < _ROOM):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent)) from error
        raise
    _flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes text atomically as UTF-8, lines ending as they do in the text."""
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8", newline=""))


def read_text(path: Path) -> str:
    """Text in UTF-8, or in UTF-16 or UTF-32 that says so with a byte order mark; the mark is left out.

    Raises :class:`OSError`, and :class:`ValueError` for what is no text of that encoding.
    """
    return as_utf8(path.read_bytes()).decode()


def write_sealed(path: Path, content: bytes) -> None:
    """Writes bytes atomically, with their sha256 before them."""
    seal = _SEAL + hashlib.sha256(content).hexdigest().encode() + b"\n"

    def write(draft: Path) -> None:
        with draft.open("wb") as file:
            file.write(seal)
            file.write(content)

    write_atomically(path, write)


def read_sealed(path: Path) -> bytes:
    """The bytes that :func:`write_sealed` wrote. Raises :class:`DamagedError` if any of them has changed."""
    try:
        seal, _, content = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise DamagedError(f"{path}: {error.strerror or error}") from error
    if not seal.startswith(_SEAL):
        raise DamagedError(f"{path}: empty, cut short or no file of this program")
    if seal != _SEAL + hashlib.sha256(content).hexdigest().encode():
        raise DamagedError(f"{path}: its content is not what was written (sha256 differs)")
    return content


def file_sha256(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_aside(path: Path) -> None:
    """Renames a damaged file, so that it is not read again but can be inspected."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.damaged"))


def remove_drafts(folder: Path) -> None:
    """Removes the drafts that killed calls of :func:`write_atomically` left. Only for the sole writer of the folder."""
    for path in folder.glob(".*"):
        if _DRAFT.fullmatch(path.name):
            path.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether the error means that a disk, a quota or a file has no space left."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def is_read_only(error: BaseException) -> bool:
    """Whether the error means that a folder or a disk may be read but not written."""
    return isinstance(error, OSError) and error.errno in _READ_ONLY


def _flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
