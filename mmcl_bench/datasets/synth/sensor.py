"""What a depth sensor makes of clean poses: noise, jumps, frozen joints, tracks that come late or end early."""

from __future__ import annotations

import numpy as np

from mmcl_bench.datasets.synth.body import Array
from mmcl_bench.skeleton.clips import BodyTrack

_EXTREMITIES = (7, 11, 15, 19, 21, 22, 23, 24)
"""Hands, feet, hand tips and thumbs, which a Kinect finds worst."""
_HANDS = ((6, 7, 21, 22), (10, 11, 23, 24))
"""Wrist, hand, hand tip and thumb, which are lost together."""
_SHAKY = np.ones(25)
_SHAKY[list(_EXTREMITIES)] = (1.5, 1.5, 1.3, 1.3, 2.2, 2.2, 2.2, 2.2)


def observe(rng: np.random.Generator, poses: Array) -> tuple[BodyTrack, ...]:
    """Body tracks of clean ``poses`` (M, T, 25, 3), metres, as a sensor would see them.

    Gaussian noise is 5 to 10 mm, more at the extremities and on the far side of the body; a joint may jump aside for
    some frames or freeze, and so may a whole hand; a second body is sometimes found late or lost early.
    """
    return tuple(_track(rng, pose, may_be_cut=at > 0) for at, pose in enumerate(poses))


def _track(rng: np.random.Generator, pose: Array, may_be_cut: bool) -> BodyTrack:
    n_frames = len(pose)
    behind = np.clip((pose[..., 2] - pose[:, :1, 2]) / 0.25, 0.0, 1.0)
    size = rng.uniform(0.005, 0.010) * _SHAKY * (1.0 + 1.2 * behind)
    seen = pose + rng.standard_normal(pose.shape) * size[..., None]
    for _ in range(rng.poisson(1.2)):
        joint, start, stop = _stretch(rng, n_frames, 2, 6)
        seen[start:stop, joint] += rng.normal(0.0, 0.07, 3)
    for _ in range(rng.poisson(1.0)):
        joint, start, stop = _stretch(rng, n_frames, 4, 16)
        seen[start:stop, joint] = seen[start, joint]
    for _ in range(rng.poisson(0.8)):
        _, start, stop = _stretch(rng, n_frames, 6, 24)
        lost = list(_HANDS[rng.integers(2)])
        seen[start:stop, lost] = seen[start, lost]
    start, stop = 0, n_frames
    if may_be_cut and rng.random() < 0.25:
        start = int(rng.integers(0, n_frames // 5))
        stop = n_frames - int(rng.integers(0, n_frames // 5))
    return BodyTrack(start, seen[start:stop].astype(np.float32))


def _stretch(rng: np.random.Generator, n_frames: int, shortest: int, longest: int) -> tuple[int, int, int]:
    """A joint and a range of frames."""
    start = int(rng.integers(0, n_frames - longest))
    return int(rng.integers(25)), start, start + int(rng.integers(shortest, longest + 1))
