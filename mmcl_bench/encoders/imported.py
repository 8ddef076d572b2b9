"""Features that somebody else computed, from ``.npy`` files that nobody vouches for.

A folder holds one file a clip, ``<sample_id>.npy``, or else one matrix and ``sample_ids.txt``, the clip of each of its
rows, one a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import read_text
from mmcl_bench.core.text import some_of
from mmcl_bench.datasets.formats.archive import BadFile, FolderArchive
from mmcl_bench.datasets.formats.npy import read_array

SAMPLE_IDS = "sample_ids.txt"
NO_FILE = "has no features in the folder"


@dataclass(frozen=True)
class Imported:
    """Features of the clips of a data set."""

    rows: np.ndarray
    """int64 (n,): in the index, ascending."""
    features: np.ndarray
    """float32 (n, D)"""
    lacking: dict[str, str]
    """Clips without features: sample_id to reason."""


def read_features(folder: Path, sample_ids: Sequence[str], skip_bad: bool = False) -> Imported:
    """Features of clips from a folder. An array of a clip with more than one axis is averaged over all but the last.

    Clips without features, or with bad ones, are left out with ``skip_bad``; else :class:`UserError` names them.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one with an .npy file a clip, or a matrix and {SAMPLE_IDS}")
    vectors = _of_matrix(folder) if (folder / SAMPLE_IDS).is_file() else None
    files = FolderArchive(folder)
    names = set(files.names())
    found: dict[int, np.ndarray] = {}
    lacking: dict[str, str] = {}
    for row, sample_id in enumerate(sample_ids):
        try:
            if vectors is not None:
                found[row] = _row(vectors, sample_id)
            elif (name := f"{sample_id}.npy") in names:  # below the folder, wherever the name of the clip points
                found[row] = _flat(read_array(files.read(name)))
            else:
                raise BadFile(NO_FILE)
        except BadFile as error:
            lacking[sample_id] = str(error)
    _refuse(folder, lacking, len(sample_ids), skip_bad)
    sizes = {len(vector) for vector in found.values()}
    if len(sizes) > 1:
        raise UserError(f"{folder}: features have {min(sizes)} to {max(sizes)} numbers; every clip should have as many")
    return Imported(np.array(list(found), dtype=np.int64), np.stack(list(found.values())), lacking)


def _refuse(folder: Path, lacking: dict[str, str], n_clips: int, skip_bad: bool) -> None:
    if not lacking or (skip_bad and len(lacking) < n_clips):
        return
    first = next(iter(lacking))
    hint = "check the folder" if len(lacking) == n_clips else "mend them, or leave them out with --skip-bad"
    raise UserError(
        f"{folder}: {len(lacking)} of {n_clips} clips are without features: {some_of(list(lacking))} "
        f"({first} {lacking[first]}); {hint}"
    )


def _of_matrix(folder: Path) -> dict[str, np.ndarray]:
    matrices = sorted(folder.glob("*.npy"))
    if len(matrices) != 1:
        raise UserError(f"{folder}: holds {SAMPLE_IDS} and {len(matrices)} .npy files; one matrix belongs there")
    try:
        lines = map(str.strip, read_text(folder / SAMPLE_IDS).splitlines())
        sample_ids = [line for line in lines if line]
        matrix = read_array(matrices[0].read_bytes())
    except (BadFile, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{matrices[0]}: {error}; write it again") from error
    if matrix.ndim < 2 or len(matrix) != len(sample_ids):
        raise UserError(
            f"{matrices[0]}: is of shape {matrix.shape}; {SAMPLE_IDS} names {len(sample_ids)} clips, one a row"
        )
    if len(set(sample_ids)) < len(sample_ids):
        raise UserError(f"{folder / SAMPLE_IDS}: names a clip twice; remove one")
    return dict(zip(sample_ids, matrix, strict=True))


def _row(vectors: dict[str, np.ndarray], sample_id: str) -> np.ndarray:
    if sample_id not in vectors:
        raise BadFile(NO_FILE)
    return _flat(vectors[sample_id])


def _flat(array: np.ndarray) -> np.ndarray:
    """float32 (D,)"""
    if not array.size or not array.ndim:
        raise BadFile("has an empty array")
    vector: np.ndarray = array.reshape(-1, array.shape[-1]).astype(np.float64).mean(axis=0).astype(np.float32)
    if not np.isfinite(vector).all():
        raise BadFile("has numbers that are not finite")
    return vector
