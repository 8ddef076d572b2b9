"""Recover and resample: cut actions are completed, and stretches of the whole are learned (Liu et al., NeurIPS 2024).

Data sets cut actions at other moments. Each augmented copy of a source clip may be completed to the action that it is
a part of: linear transforms in time add what came before and after, and draw the two ends towards poses that clips
begin or end with. The extractor's random crop then takes a stretch of the whole. Twenty transforms and ten poses are
the paper's; the rest is chosen here: the poses are k-means centres; each transform belongs to a random cut and is the
ridge regression of whole source clips on what the cut leaves of them; half of the copies are completed. As the blocks
before the last one stay, only the last one learns from completed clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.methods.shared.adaptation_method import AdaptationMethod, AdaptationSettings
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.augmentation import Compose, Transform, crop_resize
from mmcl_bench.skeleton.transforms import PreparedTracks

_RIDGE = 1e-3
"""Of the transforms' regression, in mean variances of a frame."""


class RecoverSettings(AdaptationSettings):
    """Of the completion of clips."""

    probability: float = Field(default=0.5, ge=0, le=1)
    """That a clip is completed in an augmented copy."""
    transforms: int = Field(default=20, ge=1)
    """Linear transforms in time."""
    poses: int = Field(default=10, ge=1)
    """Poses that actions begin or end with."""
    shortest: float = Field(default=0.5, gt=0, le=1)
    """Smallest share of an action that a clip is taken to be."""


@dataclass(frozen=True)
class Recover:
    """Completes clips that are taken to be the stretch of an action between two moments, which chance chooses."""

    start: Tensor
    """(W,) shares of the action at which the stretch begins."""
    stop: Tensor
    """(W,) shares at which it ends."""
    transforms: Tensor
    """(W, T, T): the whole from the stretch, both without the mean of the stretch."""
    poses: Tensor
    """(P, 3, V), each centred on the mean of its joints."""
    probability: float

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        numbers, of_clip = clip.unique(return_inverse=True)
        cut = torch.randint(len(self.transforms), (len(numbers),), generator=generator)[of_clip]
        chosen = (torch.rand(len(numbers), generator=generator) < self.probability)[of_clip]
        return torch.where(chosen.view(-1, 1, 1, 1), self.completed(tracks, cut), tracks)

    def completed(self, tracks: Tensor, cut: Tensor) -> Tensor:
        """The whole actions (R, 3, T, V) of body tracks of that shape, which are the stretches ``cut`` (R,) of them."""
        mean = tracks.mean(2, keepdim=True)
        whole = mean + torch.einsum("rft,rctv->rcfv", self.transforms[cut], tracks - mean)
        at = torch.linspace(0, 1, tracks.shape[2])
        start, stop = self.start[cut].unsqueeze(1), self.stop[cut].unsqueeze(1)
        # From 0 where the stretch begins or ends to 1 at the end of the action.
        before = ((start - at) / start.clamp(min=1e-6)).clamp(min=0)
        after = ((at - stop) / (1 - stop).clamp(min=1e-6)).clamp(min=0)
        for frame, share in ((0, before), (-1, after)):
            whole = whole + share.view(len(tracks), 1, -1, 1) * self._to_nearest_pose(whole[:, :, frame]).unsqueeze(2)
        return whole

    def _to_nearest_pose(self, frames: Tensor) -> Tensor:
        """(R, 3, V): what turns each frame of that shape into the nearest of the poses, in its place."""
        centred = frames - frames.mean(2, keepdim=True)
        nearest = torch.cdist(centred.flatten(1), self.poses.flatten(1)).argmin(1)
        return self.poses[nearest] - centred


class RecoverAndResample(AdaptationMethod):
    """Augmentation by completed actions."""

    name: ClassVar[str] = "recover-and-resample"
    summary: ClassVar[str] = "generalisation: augmentation that completes cut actions and takes stretches of the whole"
    kind: ClassVar[str] = "generalisation"
    published: ClassVar[str] = "NeurIPS 2024"
    Settings: ClassVar[type[RecoverSettings]] = RecoverSettings
    settings: RecoverSettings

    def augmented(self, clips: ClipView, side: str, augment: Transform | None = None) -> list[PreparedTracks]:
        of_extractor = self.extractor.settings
        recover = learn_recovery(of_extractor.prepare(clips).tracks, self.settings, derive_seed(self._seed, "recovery"))
        usual = augment or of_extractor.augmentation(self.extractor.layout)
        return super().augmented(clips, side, Compose((recover, usual)))


def learn_recovery(tracks: Tensor, settings: RecoverSettings, seed: int) -> Recover:
    """Learns from body tracks (R, 3, T, V), which are taken to show whole actions."""
    generator = torch.Generator().manual_seed(seed)
    share = settings.shortest + (1 - settings.shortest) * torch.rand(settings.transforms, generator=generator)
    start = (1 - share) * torch.rand(settings.transforms, generator=generator)
    ends = tracks[:, :, [0, -1]].transpose(1, 2).flatten(0, 1)
    poses = ends - ends.mean(2, keepdim=True)
    # Several threads would add up in the order in which they end, which differs from run to run.
    with threadpool_limits(1, user_api="openmp"):
        clusters = KMeans(min(settings.poses, len(poses)), random_state=seed % 2**32).fit(poses.flatten(1).numpy())
    centres = torch.from_numpy(clusters.cluster_centers_).to(tracks.dtype).view(-1, *poses.shape[1:])
    return Recover(start, start + share, time_transforms(tracks, start, start + share), centres, settings.probability)


def time_transforms(tracks: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """(W, T, T): ridge regressions of whole tracks (R, 3, T, V) on their stretches from ``start`` to ``stop``, (W,)
    shares, in T frames; of both the mean of the stretch is taken away."""
    n_frames = tracks.shape[2]
    moving = (tracks - tracks.mean(2, keepdim=True)).transpose(0, 2).flatten(1).double()
    between_frames = moving @ moving.T / moving.shape[1]
    identity = torch.eye(n_frames)
    crops = crop_resize(identity.expand(len(start), 1, -1, -1), start, stop, n_frames).squeeze(1).double()
    mean = crops.mean(1, keepdim=True)
    stretch, whole = crops - mean, identity - mean
    covariance = stretch @ between_frames @ stretch.mT
    ridge = _RIDGE * covariance.diagonal(dim1=1, dim2=2).mean(1).view(-1, 1, 1) * identity
    across = stretch @ between_frames @ whole.mT
    # The pseudo-inverse, as clips in which nothing moves have no covariance.
    transforms: Tensor = (torch.linalg.pinv(covariance + ridge, hermitian=True) @ across).mT.to(tracks.dtype)
    return transforms
