"""Reading one array of numbers from an untrusted MATLAB 5 file.

``scipy.io.loadmat`` follows the data type numbers of a file without checking them, so that one changed byte ends the
process with a segmentation fault (seen with SciPy 1.17). This reader knows real arrays only and checks every number.
Format: MathWorks, MAT-File Format, level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from mmcl_bench.datasets.formats.archive import MAX_MEMBER_BYTES, BadFile
from mmcl_bench.datasets.formats.first_bytes import MATLAB_73, kind_of

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 0x08


def read_array(content: bytes, name: str) -> np.ndarray:
    """The real array called ``name`` as float64, in the shape MATLAB shows. Raises :class:`BadFile`."""
    if kind_of(content) is MATLAB_73:
        raise BadFile(f"is {MATLAB_73.what}; {MATLAB_73.mend}")
    if content[124:_HEADER_BYTES] != b"\x00\x01IM":
        raise BadFile("is not a little-endian MATLAB 5 file")
    for kind, data in _elements(content[_HEADER_BYTES:]):
        for inner, matrix in _elements(_inflate(data)) if kind == _COMPRESSED else [(kind, data)]:
            if inner == _MATRIX and (parts := list(_elements(matrix)))[2:3] and parts[2][1] == name.encode():
                return _real_array(parts, name)
    raise BadFile(f"holds no {name!r} array")


def read_joints(content: bytes, name: str, n_joints: int) -> np.ndarray:
    """float64 (T, n_joints, 3) from the array (n_joints, 3, T) called ``name``. Raises :class:`BadFile`."""
    array = read_array(content, name)
    if array.ndim != 3 or array.shape[:2] != (n_joints, 3):
        raise BadFile(f"has an array {name!r} of shape {array.shape}; expected ({n_joints}, 3, frames)")
    return array.transpose(2, 0, 1)


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(data type, bytes) of each element, one after the other."""
    at = 0
    while at < len(content):
        if at + 8 > len(content):
            raise BadFile("is cut short")
        kind, size = struct.unpack_from("<II", content, at)
        if kind >> 16:  # A small element: type and size share one number, and the data follow within the eight bytes.
            kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            after = start + size if kind == _COMPRESSED else start + -(-size // 8) * 8
        if start + size > min(after, len(content)):
            raise BadFile("is cut short")
        yield kind, content[start : start + size]
        at = after


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, MAX_MEMBER_BYTES)
    except zlib.error as error:
        raise BadFile(f"is damaged ({error})") from error
    if not inflater.eof:
        raise BadFile(f"is cut short, or larger than {MAX_MEMBER_BYTES >> 20} MiB")
    return inflated


def _real_array(parts: list[tuple[int, bytes]], name: str) -> np.ndarray:
    """The array in the parts of a matrix element: flags, dimensions, name, numbers."""
    flags, (_, dimensions), _, *numbers = (parts[0][1], *parts[1:])
    kind, data = numbers[0] if numbers else (0, b"")
    if len(flags) != 8 or flags[0] not in _NUMERIC_CLASSES or flags[1] & _COMPLEX or kind not in _NUMBERS:
        raise BadFile(f"has a {name!r} that is no array of real numbers")
    try:
        shape = np.frombuffer(dimensions, "<i4").tolist()
        values = np.frombuffer(data, _NUMBERS[kind])
        if min(shape, default=-1) < 0 or math.prod(shape) != len(values):
            raise BadFile(f"has {len(values)} numbers for a {name!r} of shape {tuple(shape)}")
        return values.reshape(shape, order="F").astype(np.float64)
    except ValueError as error:
        raise BadFile(f"has a damaged {name!r} ({error})") from error
