"""Numpy's ``.npy`` form, from bytes that nobody vouches for; see ``numpy.lib.format``. Nothing in them is evaluated."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from tokenize import TokenError

import numpy as np
from numpy.lib import format as npy_format

from mmcl_bench.datasets.formats.archive import BadFile

MAX_HEADER = 1 << 12
"""Bytes; numpy's own headers of plain arrays have 118."""
_READ_HEADER = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
_FAULTS = (ValueError, TypeError, KeyError, SyntaxError, TokenError, OverflowError, RecursionError, MemoryError)
"""What numpy's reader raises on headers that no honest writer made."""
_NO_ARRAY = "is no plain numpy array: its header is not one that numpy writes for numbers"


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
    stream = io.BytesIO(beginning)
    try:
        read = _READ_HEADER[npy_format.read_magic(stream)]
        with warnings.catch_warnings(action="ignore"):  # Numpy tells of headers of Python 2.
            shape, fortran_order, dtype = read(stream, max_header_size=MAX_HEADER)
    except _FAULTS as error:
        raise BadFile(_NO_ARRAY) from error
    if dtype.kind not in "fiub" or dtype.itemsize > 8 or min(shape, default=-1) < 0:
        raise BadFile(_NO_ARRAY)
    # A truth value counts as a whole number to numpy's reader.
    return Header(dtype, tuple(map(int, shape)), fortran_order, stream.tell())


def read_array(content: bytes) -> np.ndarray:
    """The array in the bytes of a whole file, not copied.

    Raises :class:`BadFile` when it is not of the size that it says.
    """
    header = read_header(content)
    if header.n_bytes != len(content):
        raise BadFile("is cut short, or is not of the size that its header says")
    flat = np.frombuffer(content, header.dtype, offset=header.start)
    try:
        return flat.reshape(header.shape, order="F" if header.fortran_order else "C")
    except ValueError as error:  # Of no numbers at all, with sides that only multiply to 0.
        raise BadFile(_NO_ARRAY) from error
