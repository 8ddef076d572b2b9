"""Skeletons of one layout from those of another, by the maps in ``protocols/joint_maps``."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from mmcl_bench.core.facts import Fact, Words, fact_names, read_fact
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
    if f"{source}--{target}" not in joint_maps() and HUB not in (source, target):
        through_hub: np.ndarray = joint_matrix(HUB, target) @ joint_matrix(source, HUB)
        return through_hub
    weights = np.zeros((len(target_layout), len(source_layout)))
    for rule in joint_map(source, target).joints:
        for joint, weight in zip(rule.sources, rule.weights, strict=True):
            weights[target_layout.index(rule.target), source_layout.index(joint)] += weight
    return weights


def map_joints(positions: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., V, 3) -> (..., U, 3) by a :func:`joint_matrix`, of the same precision.

    A joint that was not seen is NaN, and so is every joint that would be made from it.
    """
    unseen = np.isnan(positions).any(-1)
    made: np.ndarray = matrix.astype(positions.dtype) @ np.where(unseen[..., None], 0, positions)
    made[unseen @ (matrix != 0).T] = np.nan
    return made


class JointRule(Fact):
    """A target joint as a weighted sum of source joints; weights add up to 1, so that translation carries over."""

    target: str
    sources: tuple[str, ...] = Field(min_length=1)
    weights: tuple[float, ...]
    rule: Literal["copy", "midpoint", "extrapolate"]

    @model_validator(mode="after")
    def _affine(self) -> JointRule:
        if len(self.sources) != len(self.weights) or not math.isclose(sum(self.weights), 1.0):
            raise ValueError(f"{self.target}: needs one weight a source joint, adding up to 1")
        return self


class JointMap(Fact):
    """How to place every joint of one layout from the joints of another. Names are those of the layouts."""

    source_layout: str
    target_layout: str
    source: Words
    note: Words | None = None
    joints: tuple[JointRule, ...]


def joint_maps() -> list[str]:
    """Joint maps, as ``source--target``."""
    return fact_names("joint_maps")


def joint_map(source_layout: str, target_layout: str) -> JointMap:
    """How to make a skeleton of ``target_layout`` from one of ``source_layout``.

    Raises :class:`UserError` when there is no such map.
    """
    return read_fact("joint_maps", "joint map", f"{source_layout}--{target_layout}", JointMap)
