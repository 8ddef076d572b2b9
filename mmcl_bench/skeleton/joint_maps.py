"""Skeletons of one layout from those of another, by the maps in ``protocols/joint_maps``."""

from __future__ import annotations

import numpy as np

from mmcl_bench import facts
from mmcl_bench.skeleton.layouts import get_layout

HUB = "kinect-v2"
"""The layout that every other one is mapped to and from; two layouts without a map of their own meet in it."""


def joint_matrix(source: str, target: str) -> np.ndarray:
    """float64 (U, V): each joint of layout ``target`` as a weighted sum of the joints of ``source``. Rows add up to 1.

    Raises :class:`mmcl_bench.core.errors.UserError` for a layout that is unknown or has no map.
    """
    source_layout, target_layout = get_layout(source), get_layout(target)
    if source == target:
        return np.eye(len(source_layout))
    if f"{source}--{target}" not in facts.joint_maps() and HUB not in (source, target):
        through_hub: np.ndarray = joint_matrix(HUB, target) @ joint_matrix(source, HUB)
        return through_hub
    weights = np.zeros((len(target_layout), len(source_layout)))
    for rule in facts.joint_map(source, target).joints:
        for joint, weight in zip(rule.sources, rule.weights, strict=True):
            weights[target_layout.index(rule.target), source_layout.index(joint)] += weight
    return weights


def map_joints(positions: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., V, 3) -> (..., U, 3) by a :func:`joint_matrix`, of the same precision.

    A joint that was not seen is all zeros, and so is every joint that would be made from it.
    """
    seen = positions.any(-1)
    made: np.ndarray = matrix.astype(positions.dtype) @ positions
    lacking = ~seen @ (matrix != 0).T
    made[lacking] = 0
    return made
