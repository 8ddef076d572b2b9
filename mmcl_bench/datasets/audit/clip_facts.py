"""What the numbers of one clip give away of its faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.layouts import Layout


class ClipFacts(NamedTuple):
    """Figures of one clip; lengths are in the set's unit. Frames are counted from 0, and of the whole clip.

    Where a clip has several bodies, the figure is of the worst, and joints and bones are counted together.
    """

    empty_frames: int = 0
    """Frames in which nobody is seen."""
    repeated_frames: int = 0
    """Frames that equal the one before, in which somebody is seen."""
    frozen_joints: int = 0
    """Joints that are seen and never move."""
    frozen_joint: int = -1
    """The first of them."""
    unseen_joints: int = 0
    """Joints that are never seen, of bodies that are."""
    unseen_joint: int = -1
    step: float = 0.0
    """The farthest that a joint moves from one frame to the next."""
    step_joint: int = -1
    step_frame: int = -1
    """The frame in which it arrives."""
    bone_change: float = 0.0
    """The most by which a bone is off its median length in the clip."""
    bone: int = -1
    bone_frame: int = -1
    bone_length: float = 0.0
    """That bone's median length."""
    longest_bone: float = 0.0
    """The median length of the longest bone."""
    distance: float = 0.0
    """Median distance of the first body's centre from the origin."""
    uprightness: float = 0.0
    """Median height of the first body's head over its legs; below zero it stands on its head."""
    twins: bool = False
    """Whether two of its bodies are equal."""


@dataclass(frozen=True)
class Anatomy:
    """What of a layout is measured."""

    layout: Layout

    @cached_property
    def bones(self) -> np.ndarray:
        """(B, 2)."""
        return np.array(self.layout.bone_pairs)

    @cached_property
    def head(self) -> list[int]:
        return [self.layout.index(joint) for joint in self.layout.parts["head"]]

    @cached_property
    def legs(self) -> list[int]:
        return [self.layout.index(joint) for joint in self.layout.parts["legs"]]

    @cached_property
    def centre(self) -> int:
        return self.layout.index(self.layout.centre)


class _Step(NamedTuple):
    length: float = 0.0
    joint: int = -1
    frame: int = -1


class _Bone(NamedTuple):
    change: float = 0.0
    bone: int = -1
    frame: int = -1
    length: float = 0.0


def measure(n_frames: int, bodies: Sequence[BodyTrack], anatomy: Anatomy) -> ClipFacts:
    """The facts of one clip of ``n_frames``, whose joints are in the order of the layout of ``anatomy``."""
    shown = np.zeros(n_frames, bool)
    # One more at the end, for a body that leaves with the last frame.
    changed = np.zeros(n_frames + 1, bool)
    frozen, unseen, steps, bones, longest = [], [], [_Step()], [_Bone()], [0.0]
    for body in bodies:
        start, end = body.start, body.start + len(body.positions)
        seen = anatomy.layout.seen(body.positions)
        positions = np.where(seen[..., None], body.positions, 0)
        moves = positions[1:] != positions[:-1]
        shown[start:end] |= seen.any(-1)
        changed[[start, end]] = True
        changed[start + 1 : end] |= moves.any((1, 2))
        is_seen = seen.any(0)
        # A joint that stays in the origin is the one that the set was moved by.
        frozen.append(np.flatnonzero(is_seen & ~moves.any((0, 2)) & positions.any((0, 2))))
        unseen.append(np.flatnonzero(~is_seen & is_seen.any()))
        steps.append(_farthest_step(positions, seen, start))
        bone, length = _bones(positions, seen, start, anatomy)
        bones.append(bone)
        longest.append(length)
    frozen_joints, unseen_joints = np.concatenate([*frozen, []]), np.concatenate([*unseen, []])
    step, bone = max(steps), max(bones)
    distance, uprightness = _stance(bodies[0].positions, anatomy) if bodies else (0.0, 0.0)
    return ClipFacts(
        empty_frames=int(n_frames - shown.sum()),
        repeated_frames=int((~changed[1:n_frames] & shown[1:]).sum()),
        frozen_joints=len(frozen_joints),
        frozen_joint=_first(frozen_joints),
        unseen_joints=len(unseen_joints),
        unseen_joint=_first(unseen_joints),
        step=step.length,
        step_joint=step.joint,
        step_frame=step.frame,
        bone_change=bone.change,
        bone=bone.bone,
        bone_frame=bone.frame,
        bone_length=bone.length,
        longest_bone=max(longest),
        distance=distance,
        uprightness=uprightness,
        twins=_has_twins(bodies),
    )


def frame_codes(bodies: Sequence[BodyTrack]) -> np.ndarray:
    """uint64, sorted, each once: a number for every pose of every body, equal for equal poses.

    Unequal poses have the same number by chance less than once in 2^40 pairs.
    """
    numbers = [np.nan_to_num(body.positions) for body in bodies]
    poses = [positions[positions.any((1, 2))] for positions in numbers]
    words = [np.ascontiguousarray(pose, "<f4").reshape(len(pose), -1).view("<u4").astype(np.uint64) for pose in poses]
    codes = [word @ _multipliers(word.shape[1]) for word in words if word.size]
    return np.unique(np.concatenate(codes)) if codes else np.zeros(0, np.uint64)


def _multipliers(count: int) -> np.ndarray:
    """Fixed odd numbers of 64 bits: a multiply-add hash."""
    drawn = np.random.default_rng(64).integers(0, 2**63, size=count, dtype=np.uint64)
    odd: np.ndarray = drawn * np.uint64(2) + np.uint64(1)
    return odd


def _farthest_step(positions: np.ndarray, seen: np.ndarray, start: int) -> _Step:
    if len(positions) < 2:
        return _Step()
    moved = positions[1:] - positions[:-1]
    squares = np.einsum("tvc,tvc->tv", moved, moved)
    squares[~(seen[1:] & seen[:-1])] = 0
    frame, joint = np.unravel_index(squares.argmax(), squares.shape)
    return _Step(float(np.sqrt(squares[frame, joint])), int(joint), int(frame) + 1 + start)


def _bones(positions: np.ndarray, seen: np.ndarray, start: int, anatomy: Anatomy) -> tuple[_Bone, float]:
    """The bone that changes most, and the median length of the longest."""
    outer, inner = anatomy.bones.T
    both = seen[:, outer] & seen[:, inner]
    if not both.any():
        return _Bone(), 0.0
    spans = positions[:, outer] - positions[:, inner]
    lengths = np.sqrt(np.einsum("tbc,tbc->tb", spans, spans))
    if both.all():
        median = np.median(lengths, axis=0)
    else:
        lengths[~both] = np.nan
        median = np.zeros(lengths.shape[1], lengths.dtype)
        median[both.any(0)] = np.nanmedian(lengths[:, both.any(0)], axis=0)
    off = np.nan_to_num(np.abs(lengths - median))
    frame, bone = np.unravel_index(off.argmax(), off.shape)
    worst = _Bone(float(off[frame, bone]), int(bone), int(frame) + start, float(median[bone]))
    return worst, float(median.max())


def _stance(positions: np.ndarray, anatomy: Anatomy) -> tuple[float, float]:
    """Distance of the centre from the origin, and height of the head over the legs."""
    whole = positions[anatomy.layout.seen(positions).all(-1)]
    if not len(whole):
        return 0.0, 0.0
    distance = np.linalg.norm(whole[:, anatomy.centre], axis=-1)
    height = whole[:, anatomy.head, 1].mean(1) - whole[:, anatomy.legs, 1].mean(1)
    return float(np.median(distance)), float(np.median(height))


def _has_twins(bodies: Sequence[BodyTrack]) -> bool:
    return any(
        first.start == second.start and np.array_equal(first.positions, second.positions, equal_nan=True)
        for at, first in enumerate(bodies)
        for second in bodies[at + 1 :]
    )


def _first(joints: np.ndarray) -> int:
    return int(joints[0]) if len(joints) else -1
