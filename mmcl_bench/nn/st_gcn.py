"""ST-GCN: spatial temporal graph convolution.

Yan, Xiong, Lin, "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition", AAAI 2018,
arXiv 1801.07455. Parameters and the graph ``A`` carry the names of the authors' released checkpoints.

Shapes: C channels, T frames, V joints, K subsets of the graph, R body tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.backbone import Backbone, TrackNorm
from mmcl_bench.nn.blocks import PAPER_BLOCKS, Block
from mmcl_bench.skeleton.layouts import Layout

TEMPORAL_KERNEL = 9


def spatial_partition(layout: Layout) -> np.ndarray:
    """float32 (3, V, V): the spatial configuration of the paper's section 3.3, as the authors compute it.

    Entry [k, v, u] is what joint u takes from joint v. A joint and its neighbours count equally, in three subsets:
    itself; neighbours as far from the centre as it is, or further; neighbours nearer. The authors tell distances of no
    and of one bone from longer ones, and take these to be equal: ``A`` of their checkpoints is in these terms.
    """
    links = np.eye(len(layout), dtype=np.float32)
    for joint, neighbour in layout.bone_pairs:
        links[joint, neighbour] = links[neighbour, joint] = 1
    centre = layout.index(layout.centre)
    distance = np.where(links[centre] > 0, 1, 2)
    distance[centre] = 0
    itself, nearer = np.eye(len(layout), dtype=bool), distance[:, None] < distance[None, :]
    links /= links.sum(0)
    return np.stack([links * itself, links * ~(itself | nearer), links * nearer])


class GraphConv(nn.Module):
    """A map for each subset of the graph, summed over neighbours."""

    def __init__(self, in_channels: int, out_channels: int, n_subsets: int) -> None:
        super().__init__()
        self.n_subsets = n_subsets
        self.conv = nn.Conv2d(in_channels, n_subsets * out_channels, 1)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """(R, C, T, V) and (K, V, V) -> (R, C', T, V)."""
        return torch.einsum("rkctv,kvu->rctu", self.conv(x).unflatten(1, (self.n_subsets, -1)), graph)


class SpatialTemporalBlock(nn.Module):
    """Graph convolution, convolution along time, and a residual around both; the first block has no residual."""

    def __init__(self, in_channels: int, block: Block, n_subsets: int, dropout: float, first: bool) -> None:
        super().__init__()
        channels, stride = block.channels, (block.stride, 1)
        self.gcn = GraphConv(in_channels, channels, n_subsets)
        self.tcn = nn.Sequential(
            TrackNorm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, (TEMPORAL_KERNEL, 1), stride, ((TEMPORAL_KERNEL - 1) // 2, 0)),
            TrackNorm(channels),
            nn.Dropout(0.0 if first else dropout),
        )
        self.residual: nn.Module | None = None
        if not first:
            same = (in_channels, 1) == (channels, block.stride)
            shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride), TrackNorm(channels))
            self.residual = nn.Identity() if same else shortcut

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """(R, C, T, V) and (K, V, V) -> (R, C', ceil(T / stride), V)."""
        out = self.tcn(self.gcn(x, graph))
        return F.relu(out if self.residual is None else out + self.residual(x))


class STGCN(Backbone):
    """ST-GCN for any joint layout, number of bodies and number of frames.

    ``dropout`` acts inside the blocks, as the authors have it (0.5 on NTU RGB+D); the copies of an absent body in a
    training batch then share its mask."""

    name = "st-gcn"
    summary = "ST-GCN: the joints' own graph in three subsets, and how much each of its edges counts"
    citation = (
        "Yan, Xiong, Lin, Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition,"
        " AAAI 2018, arXiv 1801.07455"
    )
    blocks: ClassVar[Sequence[Block]] = PAPER_BLOCKS

    A: Tensor

    def __init__(
        self,
        layout: Layout,
        n_classes: int,
        n_bodies: int = 2,
        in_channels: int = 3,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(layout, n_classes, n_bodies, in_channels, 0.0, generator)
        # The bodies share one normalisation, and the classifier is a convolution under a name of its own.
        self.data_bn = nn.BatchNorm1d(in_channels * len(layout))
        del self.fc
        self.fcn = nn.Conv2d(self.feature_channels, n_classes, 1)
        self.register_buffer("A", torch.from_numpy(spatial_partition(layout)))
        self.edge_importance = nn.ParameterList(torch.ones_like(self.A) for _ in self.blocks)
        self.st_gcn_networks = nn.ModuleList()
        for block in self.blocks:
            first = not self.st_gcn_networks
            self.st_gcn_networks.append(SpatialTemporalBlock(in_channels, block, len(self.A), dropout, first))
            in_channels = block.channels
        _initialise(self, generator)

    @property
    def feature_channels(self) -> int:
        return self.blocks[-1].channels

    def encode(self, tracks: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T', V)."""
        for block, importance in zip(self.st_gcn_networks, self.edge_importance, strict=True):
            tracks = block(tracks, self.A * importance)
        return tracks

    @property
    def last_block(self) -> nn.Module:
        return self.st_gcn_networks[-1]

    def after_last_block(self, taken: Tensor) -> Tensor:
        features: Tensor = self.last_block(taken, self.A * self.edge_importance[-1])
        return features.mean((2, 3))

    @property
    def classifier(self) -> nn.Module:
        return self.fcn

    def classify(self, feature: Tensor) -> Tensor:
        """F_g (N, D) -> (N, K) logits."""
        return self.fcn(feature[..., None, None]).flatten(1)  # type: ignore[no-any-return]

    def _normalised(self, x: Tensor) -> Tensor:
        n, c, t, v, m = x.shape
        x = self.data_bn(x.permute(0, 4, 3, 1, 2).reshape(n * m, v * c, t))
        return x.view(n * m, v, c, t).permute(0, 2, 3, 1)


def _initialise(network: STGCN, generator: torch.Generator | None) -> None:
    """The authors' initial weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, 0.02, generator=generator)
            nn.init.zeros_(cast(Tensor, module.bias))
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.02, generator=generator)
