"""Input streams made from joint positions: joint, bone, and the motion of either.

As in CTR-GCN (Chen et al., ICCV 2021); tensors are (N, C, T, V) or (N, C, T, V, M).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown
from mmcl_bench.skeleton.layouts import Layout


def bone(tracks: Tensor, layout: Layout) -> Tensor:
    """Each joint minus its neighbour nearer the centre; zero at the centre."""
    return tracks - tracks.index_select(3, torch.from_numpy(layout.parents).to(tracks.device))


def motion(stream: Tensor) -> Tensor:
    """Each frame's change to the next; zero in the last frame."""
    change = torch.zeros_like(stream)
    change[:, :, :-1] = stream[:, :, 1:] - stream[:, :, :-1]
    return change


STREAMS: Mapping[str, Callable[[Tensor, Layout], Tensor]] = {
    "joint": lambda positions, layout: positions,
    "bone": bone,
    "joint-motion": lambda positions, layout: motion(positions),
    "bone-motion": lambda positions, layout: motion(bone(positions, layout)),
}


def stack(tracks: Tensor, names: Sequence[str], layout: Layout) -> Tensor:
    """The named streams of joint positions (N, 3, T, V[, M]), one after the other as channels.

    Raises :class:`UserError` for a stream that does not exist.
    """
    for name in names:
        if name not in STREAMS:
            raise UserError(unknown("stream", name, sorted(STREAMS)))
    return torch.cat([STREAMS[name](tracks, layout) for name in names], dim=1)
