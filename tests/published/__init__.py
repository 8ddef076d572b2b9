"""Tiny synthetic data sets in the forms in which the real ones are published: one module a reader.

Each module is called after its reader, dashes as underscores, and has ``write(folder) -> Path``, which makes the source
below ``folder`` and returns what to give as ``--source``.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from mmcl_bench.skeleton.joint_maps import joint_matrix, map_joints


def write(name: str, folder: Path) -> Path:
    """The tiny source of the data set ``name``."""
    module = importlib.import_module(f"published.{name.replace('-', '_')}")
    source: Path = module.write(folder)
    return source


def kinect_v1_person(seed: int, n_frames: int) -> np.ndarray:
    """A synthetic (T, 20, 3) of a person in front of the camera, in the joint order of kinect-v1."""
    from published.ntu60 import moving_person

    return map_joints(moving_person(seed, n_frames), joint_matrix("kinect-v2", "kinect-v1"))
