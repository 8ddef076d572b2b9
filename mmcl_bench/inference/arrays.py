"""Skeletons in arrays of one's own, made into what methods score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.layouts import Layout, get_layout


def clips(positions: Any, layout: str | Layout) -> ClipView:
    """Clips of skeletons as methods score them, from joint positions in metres, y up.

    ``positions`` is an array (T, V, 3) of one clip with T frames and V joints, (N, T, V, 3) of N clips, or
    (N, M, T, V, 3) of clips with up to M bodies each; or, for clips of different lengths, a list of arrays (T, V, 3) or
    (M, T, V, 3). Joints are in the order of ``layout``, which ``mmcl-bench list layouts NAME`` shows. A joint that was
    not seen is NaN or zeros, and so is an absent body. Raises :class:`UserError` for other shapes, for infinite
    numbers, and for a clip that shows nobody.

    >>> import numpy as np
    >>> len(clips(np.random.default_rng(0).normal(size=(2, 30, 25, 3)), "kinect-v2"))
    2
    """
    n_joints = len(get_layout(layout))
    each: Iterable[Any] = positions
    if hasattr(positions, "ndim"):
        whole = np.asarray(positions)
        if whole.ndim not in (3, 4, 5):
            raise UserError(f"clips: an array of shape {whole.shape}; {_wanted(n_joints)}")
        each = whole[None] if whole.ndim == 3 else whole
    bodies = [_bodies(number, clip, n_joints) for number, clip in enumerate(each)]
    if not bodies:
        raise UserError(f"clips: there is no clip; {_wanted(n_joints)}")
    return ClipView(bodies, [len(tracks[0].positions) for tracks in bodies], layout)


def _bodies(number: int, clip: Any, n_joints: int) -> list[BodyTrack]:
    """The bodies of one clip, (T, V, 3) or (M, T, V, 3)."""
    try:
        tracks = np.asarray(clip, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"clips: clip {number} is no array of numbers; {_wanted(n_joints)}") from error
    tracks = tracks[None] if tracks.ndim == 3 else tracks
    if tracks.ndim != 4 or tracks.shape[2:] != (n_joints, 3) or not tracks.shape[1]:
        raise UserError(f"clips: clip {number} has shape {np.shape(clip)}; {_wanted(n_joints)}")
    if np.isinf(tracks).any():
        raise UserError(f"clips: clip {number} has infinite numbers; a joint that was not seen is NaN or zeros")
    if not np.nan_to_num(tracks).any():
        raise UserError(f"clips: clip {number} shows nobody, its positions are all zero or NaN; leave it out")
    return [BodyTrack(0, track) for track in tracks]


def _wanted(n_joints: int) -> str:
    return f"give (frames, {n_joints}, 3) or (bodies, frames, {n_joints}, 3) for each clip of this layout"
