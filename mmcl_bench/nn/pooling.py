"""From features of body tracks to features of clips."""

from __future__ import annotations

from torch import Tensor


def mean_by_clip(tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
    """(R, ...) features of body tracks and their clips (R,) int64, in any order -> (n_clips, ...) means.

    A mean over the bodies that are there, where F_g with a fixed number of bodies counts the absent ones as well.
    A clip without a track gets zeros.
    """
    sums = tracks.new_zeros(n_clips, *tracks.shape[1:]).index_add(0, clip, tracks)
    counts = clip.bincount(minlength=n_clips).clamp(min=1)
    return sums / counts.view(-1, *[1] * (tracks.ndim - 1))
