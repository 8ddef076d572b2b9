"""CTRS-GCN: CTR-GCN's blocks with topologies that are learned once, the same for every clip and channel.

The static baseline of Chen, Zhang, Yuan, Li, Deng, Hu, "Channel-wise Topology Refinement Graph Convolution for
Skeleton-Based Action Recognition", ICCV 2021, arXiv 2107.12213; MMCL (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706)
has its name. Parameters carry the names of the checkpoints of the MMCL authors, whose network has one convolution
along time in each block; ``multi_scale`` puts the temporal branches of CTR-GCN in its place, under CTR-GCN's names.

Shapes: C channels, T frames, V joints, K topologies, R body tracks. Inside, frames are the last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.backbone import Backbone, TrackNorm
from mmcl_bench.nn.ctr_gcn import PAPER_BLOCKS, Block, MultiScaleTemporalConv, NormedPointwise, TemporalUnit
from mmcl_bench.skeleton.layouts import Layout


def l2_normalised(topologies: Tensor) -> Tensor:
    """Divides each column of (K, V, V) by its length, to which the authors add 1e-4."""
    lengths: Tensor = torch.linalg.vector_norm(topologies, dim=1, keepdim=True)
    return topologies / (lengths + 1e-4)


class StaticSpatialConv(nn.Module):
    """Sum over learned topologies of graph convolutions, with normalisation and a shortcut.

    The topologies are free: they start as self links, whatever the bones are.
    """

    def __init__(self, in_channels: int, out_channels: int, n_topologies: int, n_joints: int) -> None:
        super().__init__()
        self.PA = nn.Parameter(torch.eye(n_joints).repeat(n_topologies, 1, 1))
        self.conv_d = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 1) for _ in range(n_topologies))
        self.bn = TrackNorm(out_channels)
        self.down: NormedPointwise | None = None
        if in_channels != out_channels:
            self.down = NormedPointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, V, T) -> (R, C', V, T)."""
        convs = [cast(nn.Conv2d, conv) for conv in self.conv_d]
        # Joint u of topology k takes PA[k, v, u] of joint v and lies in row k * V + u, so that one convolution over
        # rows V apart sums the topologies.
        topology = l2_normalised(self.PA).transpose(1, 2).flatten(0, 1)
        weight = torch.cat([conv.weight for conv in convs], dim=2)
        out = F.conv2d(torch.matmul(topology, x), weight, dilation=(x.shape[2], 1))
        bias = torch.stack([cast(Tensor, conv.bias) for conv in convs]).sum(0)
        return F.relu(self.bn(out, bias) + (x if self.down is None else self.down(x)))


class SpatialTemporalBlock(nn.Module):
    """Spatial convolution, temporal convolution and a residual around both; the first block has no residual."""

    def __init__(
        self, in_channels: int, block: Block, n_topologies: int, n_joints: int, multi_scale: bool, first: bool
    ) -> None:
        super().__init__()
        channels, stride = block.channels, block.stride
        self.gcn1 = StaticSpatialConv(in_channels, channels, n_topologies, n_joints)
        self.tcn1: nn.Module = (
            MultiScaleTemporalConv(channels, block)
            if multi_scale
            else TemporalUnit(channels, channels, block.kernel, stride)
        )
        self.residual: nn.Module | None = None
        if not first:
            same = (in_channels, 1) == (channels, stride)
            self.residual = nn.Identity() if same else TemporalUnit(in_channels, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, V, T) -> (R, C', V, T')."""
        out = self.tcn1(self.gcn1(x))
        return F.relu(out if self.residual is None else out + self.residual(x))


class CTRSGCN(Backbone):
    """CTRS-GCN for any joint layout, number of bodies and number of frames.

    >>> network = CTRSGCN(KINECT_V2, n_classes=60)
    >>> network(torch.zeros(8, 3, 64, 25, 2)).shape
    torch.Size([8, 60])
    """

    name = "ctrs-gcn"
    summary = "CTRS-GCN: learned static topologies, one convolution along time a block"
    citation = (
        "Chen, Zhang, Yuan, Li, Deng, Hu, Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action"
        " Recognition, ICCV 2021, arXiv 2107.12213; as in Liu, Chen, Liu, MMCL, ACM MM 2024, arXiv 2407.15706"
    )
    blocks: ClassVar[Sequence[Block]] = PAPER_BLOCKS
    multi_scale: ClassVar[bool] = False
    n_topologies: ClassVar[int] = 3

    def __init__(
        self,
        layout: Layout,
        n_classes: int,
        n_bodies: int = 2,
        in_channels: int = 3,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(layout, n_classes, n_bodies, in_channels, dropout, generator)
        self._block_names = [f"l{number}" for number in range(1, len(self.blocks) + 1)]
        for name, block in zip(self._block_names, self.blocks, strict=True):
            first = name == "l1"
            self.add_module(
                name,
                SpatialTemporalBlock(in_channels, block, self.n_topologies, len(layout), self.multi_scale, first),
            )
            in_channels = block.channels
        _initialise(self, generator)

    @property
    def feature_channels(self) -> int:
        return self.blocks[-1].channels

    def encode(self, tracks: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T', V)."""
        x = tracks.transpose(2, 3).contiguous()
        for name in self._block_names:
            x = self.get_submodule(name)(x)
        return x.transpose(2, 3)


def _initialise(network: CTRSGCN, generator: torch.Generator | None) -> None:
    """The authors' initial weights; a graph convolution starts as little more than its shortcut."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            nn.init.zeros_(cast(Tensor, module.bias))
        elif isinstance(module, MultiScaleTemporalConv):
            for norm in (each for each in module.modules() if isinstance(each, TrackNorm)):
                nn.init.normal_(norm.weight, 1, 0.02, generator=generator)
    for module in network.modules():
        if isinstance(module, StaticSpatialConv):
            nn.init.constant_(module.bn.weight, 1e-6)
            for conv in (cast(nn.Conv2d, each) for each in module.conv_d):
                deviation = (2 / (conv.out_channels * conv.in_channels * len(module.conv_d))) ** 0.5
                nn.init.normal_(conv.weight, 0, deviation, generator=generator)
    nn.init.normal_(network.fc.weight, 0, (2 / network.fc.out_features) ** 0.5, generator=generator)
    nn.init.zeros_(network.fc.bias)


class MultiScaleCTRSGCN(CTRSGCN):
    name = "ctrs-gcn-ms"
    summary = "CTRS-GCN with the multi-scale temporal branches of CTR-GCN"
    multi_scale = True
