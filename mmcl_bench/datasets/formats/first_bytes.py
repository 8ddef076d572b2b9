"""What a file is, told by its first bytes: to name what was given where something else is wanted."""

from __future__ import annotations

import re
from dataclasses import dataclass

N_BYTES = 1024
"""Of a file's beginning that are looked at."""

_UNPACK = "unpack it and give the folder"
_AGAIN = "download it again"
_BESIDE = "give the folder that holds it and the others, or the zip as published"


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    what: str
    """With its article, such as ``a 7z archive``."""
    mend: str
    """What to do where the files of a data set are wanted."""


WEB_PAGE = Kind("a web page, such as one to log in or of an error", "download the file itself in a browser")
LFS = Kind("a Git LFS pointer in the place of the file", "fetch the file with git lfs pull")
ANNEX = Kind("a git-annex pointer in the place of the file", "fetch the file with git annex get")
MATLAB_73 = Kind("a MATLAB 7.3 file (HDF5)", "save it in MATLAB with '-v7'")
_STAND_INS = (WEB_PAGE, LFS, ANNEX)
"""What lies in the place of a file that was not fetched."""
_KINDS = (
    (rb"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK)),
    (rb"Rar!\x1a\x07", Kind("a RAR archive", _UNPACK)),
    (rb".{257}ustar", Kind("a tar archive", _UNPACK)),
    (rb"\x1f\x8b", Kind("a gzip file, as tar.gz archives are", _UNPACK)),
    (rb"BZh[1-9]", Kind("a bzip2 file, as tar.bz2 archives are", _UNPACK)),
    (rb"\xfd7zXZ\x00", Kind("an xz file, as tar.xz archives are", _UNPACK)),
    (rb"\x28\xb5\x2f\xfd", Kind("a Zstandard file, as tar.zst archives are", _UNPACK)),
    (
        rb"PK\x07\x08|PK00PK",
        Kind("the first part of a zip in parts", "put its parts together, as with zip -s 0 -O whole.zip"),
    ),
    (rb"PK\x03\x04", Kind("a zip that is cut short", _AGAIN)),
    (rb"(?>\s*<!--.*?-->)*+\s*+<(?:!doctype\s+html|html|head|body|script)\b", WEB_PAGE),
    (rb"\s*<\?xml", Kind("an XML text, as servers answer where a file is not to be had", _AGAIN)),
    (rb"version https://git-lfs\.github\.com/", LFS),
    (rb"(?:\.\./)*(?:\.git)?/annex/objects/", ANNEX),
    (rb"MATLAB 7\.3 |\x89HDF\r\n|.{512}\x89HDF\r\n", MATLAB_73),
    (rb"MATLAB 5\.0 ", Kind("a single MATLAB file", _BESIDE)),
    (rb"\x93NUMPY", Kind("a single numpy array", _BESIDE)),
    (
        rb"\x80[\x02-\x05]",
        Kind("a pickle", "data sets in pyskl's form are read from one: see mmcl-bench list datasets"),
    ),
    (rb"%PDF-", Kind("a PDF", _AGAIN)),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", Kind("a picture", _AGAIN)),
    (rb"RIFF....AVI |.{4}ftyp", Kind("a video", _AGAIN)),
    (rb"\x00{64}", Kind("nothing but zeros at its beginning, as of a download that was stopped", _AGAIN)),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL | re.IGNORECASE), kind) for pattern, kind in _KINDS)


def kind_of(beginning: bytes) -> Kind | None:
    """The kind of a file that begins so; None for one that is not known."""
    if not beginning:
        return Kind("an empty file", _AGAIN)
    beginning = beginning[:N_BYTES].removeprefix(b"\xef\xbb\xbf")
    return next((kind for pattern, kind in _PATTERNS if pattern.match(beginning)), None)


def stand_in(beginning: bytes) -> Kind | None:
    """What a file is that lies in the place of one that was not fetched; None for a file itself."""
    # Far more files are numbers than are such text.
    if not beginning[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"version https", b".", b"/annex")):
        return None
    kind = kind_of(beginning)
    return kind if kind in _STAND_INS else None
