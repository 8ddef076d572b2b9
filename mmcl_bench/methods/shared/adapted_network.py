"""The network that adaptation trains: the extractor's last block, a bottleneck and a classifier.

What comes before the last block stays as the extractor is, so that its features are computed once. Every domain is
normalised by itself: in training by the statistics of its own batches, in scoring by those of its training clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from mmcl_bench.core.errors import UserError
from mmcl_bench.methods.shared.skeleton_network import SkeletonNetwork
from mmcl_bench.nn.adaptation.entropy import batch_norms
from mmcl_bench.nn.pooling import mean_by_clip
from mmcl_bench.skeleton.transforms import PreparedTracks

_AT_ONCE = 256
"""Clips that are scored together, and whose statistics are taken together."""


class AdaptedNetwork(nn.Module):
    """The last block, a bottleneck of a linear map, batch normalisation and ReLU, and a linear classifier."""

    def __init__(self, extractor: SkeletonNetwork, n_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        backbone = extractor.requires_grad_(False).backbone
        # Not a child module: its other blocks are neither trained nor part of this network's state.
        self._after_last_block = backbone.after_last_block
        self.block = backbone.last_block.requires_grad_(True)
        self.bottleneck = nn.Sequential(
            nn.Linear(backbone.feature_channels, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)
        )
        self.classifier = nn.Linear(width, n_classes)

    @property
    def device(self) -> torch.device:
        return self.classifier.weight.device

    def pooled(self, prepared: PreparedTracks, clips: Tensor) -> Tensor:
        """(N, D) of the chosen ``clips`` (N,) int64, which the bottleneck takes."""
        tracks, place = prepared.batch(clips)
        taken, clip = tracks.to(self.device), place.to(self.device)
        return mean_by_clip(self._after_last_block(taken), clip, len(clips))

    def features(self, prepared: PreparedTracks, clips: Tensor) -> Tensor:
        """Bottleneck features (N, W) of the chosen ``clips`` (N,) int64."""
        features: Tensor = self.bottleneck(self.pooled(prepared, clips))
        return features

    @torch.no_grad()
    def all_features(self, prepared: PreparedTracks) -> Tensor:
        """Bottleneck features (N, W) of all clips, each by itself."""
        self.eval()
        return torch.cat([self.features(prepared, some) for some in _parts(prepared.n_clips)])

    @torch.no_grad()
    def first_pooled(self, prepared: PreparedTracks, most: int) -> Tensor:
        """(N, D), as :meth:`pooled`, of the first clips, ``most`` of them or fewer, each by itself."""
        self.eval()
        return torch.cat([self.pooled(prepared, some) for some in _parts(min(most, prepared.n_clips))])


def without_dropout(module: nn.Module) -> None:
    """Puts a module into training mode, in which it normalises by batch statistics, but leaves its dropout out."""
    module.train()
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.eval()


@torch.no_grad()
def normalise_by(module: nn.Module, forward: Callable[[Tensor], object], n_clips: int) -> None:
    """Makes the running statistics of a module those of some clips: the means over batches of about 256 of them.

    ``forward`` runs the module on the clips of given places (N,). Dropout is off.
    """
    require_statistics(n_clips)
    without_dropout(module)
    norms = batch_norms(module)
    usual = [norm.momentum for norm in norms]
    for number, some in enumerate(_parts(n_clips), start=1):
        for norm in norms:
            norm.momentum = 1 / number
        forward(some)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    module.eval()


def require_statistics(n_clips: int) -> None:
    """Refuses a single clip."""
    if n_clips < 2:
        raise UserError("one clip alone has no statistics that a method could normalise by; raise --limit")


def parts_of(n_clips: int, most: int) -> int:
    """How many nearly equal parts of at most so many clips there are; fewer where one would be a single clip, which
    has no statistics of a batch."""
    return max(1, min(-(-n_clips // most), n_clips // 2))


def _parts(n_clips: int) -> Iterator[Tensor]:
    """Places of clips, a part after the other."""
    yield from torch.arange(n_clips).tensor_split(parts_of(n_clips, _AT_ONCE))
