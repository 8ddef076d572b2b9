"""Skeletons as plain feature vectors, for methods without a network."""

from __future__ import annotations

import numpy as np

from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.transforms import Normalisation, bodies_last, prepare_clips

N_FRAMES = 16


def most_bodies(clips: ClipView) -> int:
    """Bodies of the clip that has most of them."""
    return max(len(clips.bodies(clip)) for clip in range(len(clips)))


def joint_features(clips: ClipView, n_bodies: int, normalise: Normalisation = "root+facing+scale") -> np.ndarray:
    """float32 (N, D): joint positions of the first ``n_bodies`` over 16 frames, in the first body's own frame.

    By default centred on the hip, yaw-aligned and scaled by the torso; an absent body is zeros.
    """
    prepared = prepare_clips(clips, N_FRAMES, normalise)
    return bodies_last(prepared.tracks, prepared.clip, prepared.n_clips, n_bodies).flatten(1).numpy()
