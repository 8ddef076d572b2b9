"""Random variation of a batch of clips, in small pieces that compose.

A piece takes body tracks (R, C, T, V) in the host's memory and the clip of each, (R,) int64, and varies the bodies of
one clip alike. Everything random comes from the generator that is passed in, so that a seed repeats a batch exactly.

>>> vary = Compose((CropResize(64), RandomRotation(0.3)))
>>> vary(torch.zeros(2, 3, 100, 25), torch.tensor([0, 0]), torch.Generator().manual_seed(0)).shape
torch.Size([2, 3, 64, 25])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mmcl_bench.skeleton.layouts import Layout


class Transform(Protocol):
    """A piece of variation."""

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        """Varied tracks; those that were given stay as they are."""


@dataclass(frozen=True)
class Compose:
    """One piece after the other, all fed by one generator."""

    pieces: tuple[Transform, ...]

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        for piece in self.pieces:
            tracks = piece(tracks, clip, generator)
        return tracks


@dataclass(frozen=True)
class CropResize:
    """A random stretch of each clip, between ``shortest`` and ``longest`` shares of it, resized to ``n_frames``.

    CTR-GCN's training crop takes 0.5 to 1 and 64 frames.
    """

    n_frames: int
    shortest: float = 0.5
    longest: float = 1.0

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        of_clip, n_clips = _numbered(clip)
        share = _uniform(self.shortest, self.longest, (n_clips,), generator)
        start = _uniform(0, 1, (n_clips,), generator) * (1 - share)
        return crop_resize(tracks, start[of_clip], (start + share)[of_clip], self.n_frames)


@dataclass(frozen=True)
class RandomRotation:
    """Rotation about each of x, y and z by up to ``tilt`` radians (CTR-GCN: 0.3), and about the vertical by ``yaw``."""

    tilt: float = 0.3
    yaw: float = 0.0

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        of_clip, n_clips = _numbered(clip)
        angles = _uniform(-self.tilt, self.tilt, (n_clips, 3), generator)
        angles[:, 1] += _uniform(-self.yaw, self.yaw, (n_clips,), generator)
        return (rotation_matrices(angles)[of_clip] @ tracks.flatten(2)).view_as(tracks)


@dataclass(frozen=True)
class RandomScale:
    """All positions times a factor between ``smallest`` and ``largest``."""

    smallest: float
    largest: float

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        of_clip, n_clips = _numbered(clip)
        return tracks * _uniform(self.smallest, self.largest, (n_clips, 1, 1, 1), generator)[of_clip]


@dataclass(frozen=True)
class RandomFlip:
    """With ``probability``, the clip seen in a mirror: left and right joints change places."""

    probability: float
    layout: Layout

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        of_clip, n_clips = _numbered(clip)
        flipped = (_uniform(0, 1, (n_clips,), generator) < self.probability)[of_clip]
        return torch.where(flipped.view(-1, 1, 1, 1), flip(tracks, self.layout), tracks)


@dataclass(frozen=True)
class Jitter:
    """Gaussian noise on every coordinate, of its own for every body; ``deviation`` in the unit of the tracks."""

    deviation: float

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        return tracks + self.deviation * torch.randn(tracks.shape, generator=generator)


def crop_resize(tracks: Tensor, start: Tensor, stop: Tensor, n_frames: int) -> Tensor:
    """(R, C, T0, V) -> (R, C, n_frames, V), linearly interpolated between ``start`` and ``stop`` of each track.

    Both are (R,) shares of the track, 0 its first frame and 1 its last.
    """
    last = tracks.shape[2] - 1
    at = last * torch.lerp(start.unsqueeze(1), stop.unsqueeze(1), torch.linspace(0, 1, n_frames))
    # A row of hat functions picks the two frames beside it, so that interpolation is one matrix product.
    hats = torch.relu(1 - (at.unsqueeze(2) - torch.arange(last + 1)).abs())
    return hats.unsqueeze(1) @ tracks


def centre_crop(tracks: Tensor, n_frames: int, share: float = 1.0) -> Tensor:
    """The middle ``share`` of every track, in ``n_frames``: what to score (CTR-GCN: 0.95)."""
    margin = torch.full((len(tracks),), (1 - share) / 2)
    return crop_resize(tracks, margin, 1 - margin, n_frames)


def rotation_matrices(angles: Tensor) -> Tensor:
    """(N, 3) radians about x, y and z -> (N, 3, 3), turning about x first and z last."""
    cos, sin = angles.cos().unbind(1), angles.sin().unbind(1)
    one, zero = torch.ones_like(cos[0]), torch.zeros_like(cos[0])
    about_x = torch.stack([one, zero, zero, zero, cos[0], -sin[0], zero, sin[0], cos[0]], dim=1)
    about_y = torch.stack([cos[1], zero, sin[1], zero, one, zero, -sin[1], zero, cos[1]], dim=1)
    about_z = torch.stack([cos[2], -sin[2], zero, sin[2], cos[2], zero, zero, zero, one], dim=1)
    return about_z.view(-1, 3, 3) @ about_y.view(-1, 3, 3) @ about_x.view(-1, 3, 3)


def flip(tracks: Tensor, layout: Layout) -> Tensor:
    """(R, 3, T, V) seen in a mirror: x negated, left and right joints exchanged."""
    mirrored = tracks[..., torch.from_numpy(layout.swap)]
    return mirrored * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)


def _numbered(clip: Tensor) -> tuple[Tensor, int]:
    """For each track, the place of its clip among those that are there, and how many those are."""
    numbers, of_clip = torch.unique(clip, return_inverse=True)
    return of_clip, len(numbers)


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
