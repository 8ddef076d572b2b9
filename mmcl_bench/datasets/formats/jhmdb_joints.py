"""The puppet joints of JHMDB: ``joint_positions/<action>/<video>/joint_positions.mat``, a file a clip.

``pos_img`` holds pixels of frames of 320 x 240, x to the right and y down. ``pos_world`` is the same relative to the
middle of the frame and to the puppet's size; it is not read.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.formats.mat5 import read_array

JOINT_FILE = "joint_positions.mat"
FRAME = (320, 240)
"""Width and height in pixels of every frame."""
N_JOINTS = 15


def video_of(name: str) -> str:
    """The video whose joints a file holds: its folder."""
    return PurePosixPath(name).parent.name


def read_puppet(content: bytes) -> np.ndarray:
    """float64 (T, 15, 2), pixels from the top left corner. Raises :class:`BadFile`."""
    array = read_array(content, "pos_img")
    if array.ndim == 2:  # MATLAB drops the last dimension of a single frame.
        array = array[..., None]
    if array.ndim != 3 or array.shape[:2] != (2, N_JOINTS):
        raise BadFile(f"has an array 'pos_img' of shape {array.shape}; expected (2, {N_JOINTS}, frames)")
    return array.transpose(2, 1, 0)
