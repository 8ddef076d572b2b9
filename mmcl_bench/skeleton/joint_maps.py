"""Skeletons of one layout from those of another: by the maps in ``protocols/joint_maps``, else by names of joints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.facts import Fact, Words, fact_names, read_fact
from mmcl_bench.skeleton.layouts import LAYOUTS, Layout, get_layout

HUB = "kinect-v2"
"""The layout that those with maps on file are mapped to and from; two without a map of their own meet in it."""

_SHOULDERS, _HIPS = "left_shoulder+right_shoulder", "left_hip+right_hip"
_MIDDLE: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("spine_base", "hip_center", "pelvis", "mid_hip"), (_HIPS,)),
    (
        ("spine_mid", "spine", "torso", "spine_navel", "spine2", "spine1", "lower_back"),
        (f"{_SHOULDERS}+{_HIPS}",),
    ),
    (("spine_shoulder", "shoulder_center", "thorax"), (_SHOULDERS,)),
    (("spine_chest", "chest", "spine3", "upper_back"), ("spine_shoulder", "shoulder_center", "thorax", _SHOULDERS)),
    (("neck", "lower_neck", "upper_neck"), ("spine_shoulder", "shoulder_center", "thorax", _SHOULDERS)),
    (("head", "head_top"), ("left_ear+right_ear", "nose")),
    (("nose",), ("head", "head_top")),
)
_OF_A_SIDE: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("wrist", "hand"), ()),
    (("hand_tip", "index"), ("hand", "wrist")),
    (("thumb",), ("hand", "wrist")),
    (("ankle",), ("foot", "heel")),
    (("foot", "toes", "foot_index", "big_toe"), ("small_toe", "ankle")),
    (("heel",), ("ankle", "foot")),
)
"""Joints that stand for one another, and then what else stands for each of them, best first; + is the mean of some."""


def _stand_ins() -> Iterator[tuple[str, tuple[str, ...]]]:
    sided = (
        [tuple(f"{side}_{joint}" for joint in joints) for joints in group]
        for group in _OF_A_SIDE
        for side in ("left", "right")
    )
    for alike, beside in (*_MIDDLE, *sided):
        for joint in alike:
            yield joint, tuple(other for other in (*alike, *beside) if other != joint)


_STAND_INS: Mapping[str, tuple[str, ...]] = dict(_stand_ins())


def joint_matrix(source: str | Layout, target: str | Layout) -> np.ndarray:
    """float64 (U, V): each joint of layout ``target`` as a weighted sum of the joints of ``source``. Rows add up to 1.

    Raises :class:`UserError` for a layout that is unknown, and for two that have too few joints in common by name.
    """
    source_layout, target_layout = get_layout(source), get_layout(target)
    if source_layout == target_layout:
        return np.eye(len(source_layout))
    if _on_file(source_layout, target_layout):
        return _by_rules(source_layout, target_layout)
    hub = get_layout(HUB)
    if _on_file(source_layout, hub) and _on_file(hub, target_layout):
        through_hub: np.ndarray = joint_matrix(hub, target_layout) @ joint_matrix(source_layout, hub)
        return through_hub
    return _by_names(source_layout, target_layout)


def _on_file(source: Layout, target: Layout) -> bool:
    are_ours = all(LAYOUTS.get(layout.name) == layout for layout in (source, target))
    return are_ours and f"{source.name}--{target.name}" in joint_maps()


def _by_rules(source: Layout, target: Layout) -> np.ndarray:
    weights = np.zeros((len(target), len(source)))
    for rule in joint_map(source.name, target.name).joints:
        for joint, weight in zip(rule.sources, rule.weights, strict=True):
            weights[target.index(rule.target), source.index(joint)] += weight
    return weights


def _by_names(source: Layout, target: Layout) -> np.ndarray:
    """A joint is the one of its name, else the best of its stand-ins; else the mean of those joints of ``target`` that
    are the fewest bones away."""
    weights = np.zeros((len(target), len(source)))
    for at, joint in enumerate(target.joints):
        choices = (choice.split("+") for choice in (joint, *_STAND_INS.get(joint, ())))
        made_of = next((made_of for made_of in choices if set(made_of) <= set(source.joints)), ())
        for part in made_of:
            weights[at, source.index(part)] = 1 / len(made_of)
    placed = np.asarray(weights.any(1))
    if 2 * placed.sum() < min(len(source), len(target)):
        raise UserError(
            f"joint layout {source.name}: has {placed.sum()} of the {len(target)} joints of {target.name} by name, and "
            f"there is no joint map between the two; name its joints like those of {_nearest_mapped(source)}, the "
            "nearest layout that has one"
        )
    for lacking in np.flatnonzero(~placed):
        apart = np.where(placed, target.bones_apart[lacking], np.inf)
        weights[lacking] = weights[apart == apart.min()].mean(0)
    return weights


def _nearest_mapped(layout: Layout) -> str:
    """The layout with a joint map on file that has most joints in common with one, then the most similar number."""
    mapped = [LAYOUTS[name] for name in sorted({pair.partition("--")[0] for pair in joint_maps()})]
    common = {each.name: len({*each.joints} & {*layout.joints}) for each in mapped}
    return max(mapped, key=lambda each: (common[each.name], -abs(len(each) - len(layout)))).name


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
