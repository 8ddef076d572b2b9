"""Numpy's ``.npy`` form, from bytes that nobody vouches for; see ``numpy.lib.format``. Nothing in them is evaluated."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from mmcl_bench.datasets.formats.archive import BadFile

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 12
"""Bytes; numpy's own headers of plain arrays have 118."""
_HEADER = re.compile(
    rb"\{'descr': '(?P<descr>[<>|][fiub][1248])', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,15}L?,? ?){1,5})\),? ?\}\s*"
)
"""What numpy writes; Python 2 marked long numbers by an L."""


@dataclass(frozen=True)
class Header:
    """What an array says of itself."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran_order: bool
    start: int
    """Bytes before the first number."""

    @property
    def n_bytes(self) -> int:
        """Of the whole file."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def read_header(beginning: bytes) -> Header:
    """The header at the beginning of a file, of which at least :data:`MAX_HEADER` bytes should be given.

    Raises :class:`BadFile` when it is not one that numpy writes for plain numbers.
    """
    version = beginning[len(MAGIC) : len(MAGIC) + 1]
    if not beginning.startswith(MAGIC) or version not in (b"\x01", b"\x02", b"\x03"):
        raise BadFile("is no numpy array")
    n_digits = 2 if version == b"\x01" else 4
    at = len(MAGIC) + 2
    length = int.from_bytes(beginning[at : at + n_digits], "little")
    start = at + n_digits + length
    header = _HEADER.fullmatch(beginning[at + n_digits : start]) if length <= MAX_HEADER else None
    if header is None:
        raise BadFile("is no plain numpy array: its header is not one that numpy writes for numbers")
    try:
        dtype = np.dtype(header["descr"].decode())
    except TypeError as error:
        raise BadFile(f"has numbers of an unknown kind, {header['descr'].decode()}") from error
    shape = tuple(int(size) for size in re.findall(rb"\d+", header["shape"]))
    return Header(dtype, shape, header["fortran"] == b"True", start)


def read_array(content: bytes) -> np.ndarray:
    """The array in the bytes of a whole file, not copied.

    Raises :class:`BadFile` when it is not of the size that it says.
    """
    header = read_header(content)
    if header.n_bytes != len(content):
        raise BadFile("is cut short, or is not of the size that its header says")
    flat = np.frombuffer(content, header.dtype, offset=header.start)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")
