"""Text files of numbers, one row a line."""

from __future__ import annotations

import numpy as np

from mmcl_bench.core.text import counted
from mmcl_bench.datasets.formats.archive import BadFile, text_bytes


def read_numbers(content: bytes, columns: int) -> np.ndarray:
    """float64 (rows, columns) from lines of numbers with blanks between; empty lines are skipped.

    Raises :class:`BadFile` for a line with another count, or a word that is no number.
    """
    lines = [words for line in text_bytes(content).split(b"\n") if (words := line.split())]
    if wrong := next((number for number, words in enumerate(lines, 1) if len(words) != columns), None):
        raise BadFile(f"has {counted(len(lines[wrong - 1]), 'number')} in row {wrong}; expected {columns}")
    try:
        flat = np.fromiter((float(word) for words in lines for word in words), np.float64, len(lines) * columns)
    except ValueError as error:
        raise BadFile("holds something that is no number") from error
    return flat.reshape(-1, columns)
