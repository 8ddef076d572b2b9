"""Telling people from what a depth sensor mistakes for one, such as a chair, by how tracked bodies look and move.

The three steps and their figures are those of the preprocessing that skeleton networks share: P. Zhang et al. for
VA-CNN and SGN (microsoft/SGN: ``data/ntu/get_raw_denoised_data.py``), taken over by Shift-GCN, CTR-GCN and others.
The ideas of spread and motion are the data set's owners' (shahroudy/NTURGB-D: ``README.md``, questions 6 and 7).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from mmcl_bench.datasets.formats.ntu_skeleton import TrackedBody

MAX_SHORT = 11
"""Frames; who is seen in no more is no person."""
MAX_WIDTH = 0.8
"""Width of a body that stands, over its height."""
MAX_WIDE_FRAMES = 0.69754
"""Part of its frames in which a person may be wider than that."""
MIN_MOTION, MAX_MOTION = 0.089925, 2.0
"""Of a person, in square metres; see :func:`motion`."""


class Step(StrEnum):
    """A step of denoising, in the order in which they are taken."""

    LENGTH = "length"
    """Leaves out bodies that are seen in 11 frames or fewer."""
    SPREAD = "spread"
    """Leaves out bodies that are wider than 0.8 of their height in 69.754 % of their frames or more. Of others, such
    frames do not count for motion where that makes it smaller."""
    MOTION = "motion"
    """Leaves out bodies that move less than 0.089925 or more than 2 square metres, but never the most moving one. The
    shared preprocessing has this step and does not take it."""


@dataclass(frozen=True)
class _Actor:
    body: TrackedBody
    motion: float


def denoise(bodies: Sequence[TrackedBody], steps: Collection[Step]) -> list[TrackedBody]:
    """The bodies that pass all ``steps``, the most moving first. One body always stays.

    Where none is long enough, that is the longest; where all but one spread too far, the last one in their order.
    """
    if len(bodies) < 2:
        return list(bodies)
    actors = [_Actor(body, motion(body.positions)) for body in bodies]
    if Step.LENGTH in steps:
        actors = _long(actors)
    if Step.SPREAD in steps:
        actors = _slim(actors)
    actors.sort(key=lambda actor: actor.motion, reverse=True)
    if Step.MOTION in steps:
        actors = actors[:1] + [actor for actor in actors[1:] if MIN_MOTION <= actor.motion <= MAX_MOTION]
    return [actor.body for actor in actors]


def motion(positions: np.ndarray) -> float:
    """Variances of x, y and z over all joints of all frames, added up; ``positions`` are (T, V, 3).

    Joints that are NaN, which were not seen, do not count.
    """
    # Sums along rows that lie in one piece are several times faster than along columns.
    coordinates = np.ascontiguousarray(positions.reshape(-1, 3).T, dtype=np.float64)
    if np.isnan(coordinates).any():
        coordinates = coordinates[:, ~np.isnan(coordinates).any(0)]
    with np.errstate(over="ignore", invalid="ignore"):
        return float(coordinates.var(axis=1).sum())


def _long(actors: Sequence[_Actor]) -> list[_Actor]:
    kept = [actor for actor in actors if len(actor.body.frames) > MAX_SHORT]
    return kept or [max(actors, key=lambda actor: (len(actor.body.frames), actor.motion))]


def _slim(actors: Sequence[_Actor]) -> list[_Actor]:
    kept: list[_Actor] = []
    for at, actor in enumerate(actors):
        if not kept and at == len(actors) - 1:
            return [actor]
        wide = _is_wide(actor.body.positions)
        if wide.mean() >= MAX_WIDE_FRAMES:
            continue
        if wide.any():
            actor = replace(actor, motion=min(actor.motion, motion(actor.body.positions[~wide])))
        kept.append(actor)
    return kept


def _is_wide(positions: np.ndarray) -> np.ndarray:
    """(T,) whether a body is too wide for its height; x is to the side and y up."""
    x_and_y = np.ascontiguousarray(positions[..., :2].transpose(2, 1, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        width, height = np.fmax.reduce(x_and_y, axis=1) - np.fmin.reduce(x_and_y, axis=1)
        return np.asarray(width > MAX_WIDTH * height)
