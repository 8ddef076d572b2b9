"""Bodies as dense arrays, with zeros where a body was not seen, as most re-published data sets have them."""

from __future__ import annotations

import numpy as np

from mmcl_bench.skeleton.clips import BodyTrack


def tracks_of(bodies: np.ndarray) -> tuple[BodyTrack, ...]:
    """The tracks of ``bodies`` (M, T, V, 3) of any real dtype, all zeros where one was not seen.

    A track goes from the first to the last frame in which its body was seen; a body that never was has none.
    """
    # What overflows here becomes infinite, and clip_fault finds it.
    with np.errstate(over="ignore", invalid="ignore"):
        bodies = bodies.astype(np.float32)
    tracks = []
    for positions in bodies:
        seen = np.flatnonzero(positions.any(axis=(1, 2)))
        if len(seen):
            first, last = int(seen[0]), int(seen[-1])
            tracks.append(BodyTrack(first, positions[first : last + 1]))
    return tuple(tracks)
