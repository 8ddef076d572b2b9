"""CTRS-GCN: CTR-GCN's blocks with topologies that are learned once, the same for every clip and channel.

The static baseline of Chen, Zhang, Yuan, Li, Deng, Hu, "Channel-wise Topology Refinement Graph Convolution for
Skeleton-Based Action Recognition", ICCV 2021, arXiv 2107.12213; MMCL (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706)
has its name. Parameters carry the names of the checkpoints of the MMCL authors, whose network has one convolution
along time in each block; ``multi_scale`` puts the temporal branches of CTR-GCN in its place, under CTR-GCN's names.

Shapes: C channels, T frames, V joints, K topologies, R body tracks. Inside, frames are the last axis.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.backbone import TrackNorm
from mmcl_bench.nn.blocks import Block, BlockNetwork, SpatialTemporalBlock, draw_convolution, draw_norms, residual
from mmcl_bench.nn.ctr_gcn import (
    TEMPORAL_KERNEL,
    MultiScaleTemporalConv,
    NormedPointwise,
    TemporalUnit,
    pointwise_shortcut,
)
from mmcl_bench.skeleton.layouts import Layout

N_TOPOLOGIES = 3


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


class CTRSGCN(BlockNetwork):
    """CTRS-GCN for any joint layout, number of bodies and number of frames."""

    name = "ctrs-gcn"
    summary = "CTRS-GCN: learned static topologies, one convolution along time a block"
    citation = (
        "Chen, Zhang, Yuan, Li, Deng, Hu, Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action"
        " Recognition, ICCV 2021, arXiv 2107.12213; as in Liu, Chen, Liu, MMCL, ACM MM 2024, arXiv 2407.15706"
    )
    multi_scale: ClassVar[bool] = False

    def make_block(self, layout: Layout, in_channels: int, block: Block, first: bool) -> SpatialTemporalBlock:
        channels, stride = block.channels, block.stride
        return SpatialTemporalBlock(
            StaticSpatialConv(in_channels, channels, N_TOPOLOGIES, len(layout)),
            MultiScaleTemporalConv(channels, stride)
            if self.multi_scale
            else TemporalUnit(channels, channels, TEMPORAL_KERNEL, stride),
            residual(in_channels, block, first, pointwise_shortcut),
        )

    def draw_weights(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                draw_convolution(module, generator)
            elif isinstance(module, MultiScaleTemporalConv):
                draw_norms(module, generator)
        for module in self.modules():
            if isinstance(module, StaticSpatialConv):
                # A graph convolution starts as little more than its shortcut.
                nn.init.constant_(module.bn.weight, 1e-6)
                for conv in (cast(nn.Conv2d, each) for each in module.conv_d):
                    deviation = (2 / (conv.out_channels * conv.in_channels * N_TOPOLOGIES)) ** 0.5
                    nn.init.normal_(conv.weight, 0, deviation, generator=generator)

    def encode(self, tracks: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T', V)."""
        return super().encode(tracks.transpose(2, 3).contiguous()).transpose(2, 3)


class MultiScaleCTRSGCN(CTRSGCN):
    name = "ctrs-gcn-ms"
    summary = "CTRS-GCN with the multi-scale temporal branches of CTR-GCN"
    multi_scale = True
