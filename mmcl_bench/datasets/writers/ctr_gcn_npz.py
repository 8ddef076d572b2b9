"""Writing clips as the ``.npz`` that CTR-GCN and its successors are trained on; :mod:`..readers.ntu_npz` reads it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmcl_bench.core.files import write_atomically
from mmcl_bench.datasets.formats.archive import SYNTHETIC_MARK
from mmcl_bench.datasets.writers import SYNTHETIC_NOTE
from mmcl_bench.datasets.writers.ntu_skeleton import plain_member
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.layouts import KINECT_V2
from mmcl_bench.skeleton.unseen import fill_missing

N_BODIES, N_JOINTS = 2, 25
N_NUMBERS = N_BODIES * N_JOINTS * 3
"""Numbers in a frame."""
_CENTRE = KINECT_V2.index("spine_mid")


@dataclass(frozen=True)
class Fold:
    """The clips of one side, train or test."""

    labels: np.ndarray
    """(N,) int, zero-based."""
    rows: Callable[[], Generator[np.ndarray]]
    """Gives the :func:`row` of every clip, in the order of the labels."""


def row(bodies: tuple[BodyTrack, ...], n_frames: int, centred: bool = False) -> np.ndarray:
    """float32 (n_frames, 150): the first two tracks, kinect-v2, zeros where a body is not seen and behind the end.

    Frames in which neither is seen are left out, as in the published files, whose readers take the frames that are not
    all zeros for the first ones. ``centred``: moved as the published files are, so that the middle of the spine of the
    first body is in the origin when it is first seen.
    """
    last = max((body.start + len(body.positions) for body in bodies), default=0)
    dense = np.zeros((last, N_BODIES, N_JOINTS, 3), dtype=np.float32)
    for slot, body in enumerate(bodies[:N_BODIES]):
        dense[body.start : body.start + len(body.positions), slot] = body.positions
    dense = dense[dense.any(axis=(1, 2, 3))]
    if centred and (seen := dense[:, 0].any(axis=(1, 2))).any():
        origin = fill_missing(dense[:, 0], KINECT_V2)[int(seen.argmax()), _CENTRE].copy()
        np.subtract(dense, origin, out=dense, where=dense.any(axis=-1, keepdims=True))
    padded = np.zeros((n_frames, N_NUMBERS), dtype=np.float32)
    padded[: len(dense)] = dense.reshape(-1, N_NUMBERS)
    return padded


def write_npz(output: Path, train: Fold, test: Fold, n_frames: int, n_classes: int, synthetic: bool = False) -> None:
    """Writes ``x_train``, ``y_train``, ``x_test`` and ``y_test`` a row at a time; the file appears when all is done.

    A ``synthetic`` set carries the mark of one. The same clips give the same bytes. Raises ``OSError`` when the disk is
    full.
    """

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as zipped:
            if synthetic:
                zipped.writestr(plain_member(SYNTHETIC_MARK, zipfile.ZIP_STORED), SYNTHETIC_NOTE)
            for name, fold in (("train", train), ("test", test)):
                shape = (len(fold.labels), n_frames, N_NUMBERS)
                with closing(fold.rows()) as rows:
                    _write_array(zipped, f"x_{name}", "<f4", shape, rows)
                one_hots = (np.eye(1, n_classes, int(label)) for label in fold.labels)
                _write_array(zipped, f"y_{name}", "<f8", (len(fold.labels), n_classes), one_hots)

    write_atomically(output, write)


def _write_array(
    zipped: zipfile.ZipFile, name: str, descr: str, shape: tuple[int, ...], rows: Iterable[np.ndarray]
) -> None:
    with zipped.open(plain_member(f"{name}.npy", zipfile.ZIP_STORED), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {"descr": descr, "fortran_order": False, "shape": shape})
        for each in rows:
            member.write(np.ascontiguousarray(each, dtype=descr).data)
