"""CTR-GCN: channel-wise topology refinement graph convolution.

Chen, Zhang, Yuan, Li, Deng, Hu, "Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action
Recognition", ICCV 2021, arXiv 2107.12213. Parameters carry the names of the authors' released checkpoints.

Shapes: N clips, M bodies, C channels, T frames, V joints; R = N * M body tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mmcl_bench.skeleton.layouts import Layout


@dataclass(frozen=True)
class Block:
    """One spatial-temporal block: its output channels, temporal stride, and dilations of its temporal branches."""

    channels: int
    stride: int = 1
    dilations: tuple[int, ...] = (1, 2)
    kernel: int = 5
    topologies: int | None = None
    """How many topologies are refined for a clip, each for an equal group of channels; None: one a channel, as in the
    paper. With few frames the topologies, V x V a channel, cost more than the features, T x V."""


PAPER_BLOCKS = (*[Block(64)] * 4, Block(128, stride=2), *[Block(128)] * 2, Block(256, stride=2), *[Block(256)] * 2)
"""The ten blocks of the paper."""

TINY_BLOCKS = (
    Block(32, stride=2, topologies=8),
    Block(64, stride=2, topologies=8),
    Block(64, topologies=8),
    Block(96, topologies=8),
)
"""For training on two CPU cores; the early strides leave a quarter of the frames to the wide blocks."""


def spatial_graph(layout: Layout) -> np.ndarray:
    """float32 (3, V, V): self links, inward bones and outward bones, each with columns that sum to one or zero."""
    inward = np.zeros((len(layout), len(layout)), dtype=np.float32)
    for joint, neighbour in layout.bone_pairs:
        inward[neighbour, joint] = 1
    outward = inward.T
    return np.stack([np.eye(len(layout), dtype=np.float32), *(a / np.maximum(a.sum(0), 1) for a in (inward, outward))])


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution as one matrix product per sample: on CPUs about twice as fast to train as the general one."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, (stride, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', ceil(T / stride), V)."""
        x = x[:, :, :: self.stride[0]]
        bias = cast(Tensor, self.bias).unsqueeze(1)
        out = torch.baddbmm(bias, self.weight.flatten(1).expand(len(x), -1, -1), x.flatten(2))
        return out.view(*out.shape[:2], *x.shape[2:])


class ChannelTopology(nn.Module):
    """A graph convolution whose topology is refined for each clip and each channel, or group of channels."""

    def __init__(self, in_channels: int, out_channels: int, topologies: int | None) -> None:
        super().__init__()
        # The authors take 8 for the raw coordinates and an eighth from 64 channels on; this agrees with both.
        relation_channels = max(8, in_channels // 8)
        self.conv1 = PointwiseConv(in_channels, relation_channels)
        self.conv2 = PointwiseConv(in_channels, relation_channels)
        self.conv3 = PointwiseConv(in_channels, out_channels)
        self.conv4 = PointwiseConv(relation_channels, topologies or out_channels)

    def forward(self, x: Tensor, pooled: Tensor, shared: Tensor, alpha: Tensor) -> Tensor:
        """(R, C, T, V), its mean over time (R, C, 1, V) and the shared topology (V, V) -> (R, C', T, V)."""
        # conv1 and conv2 are linear in each frame, so they may follow the mean over time instead of preceding it.
        relation = torch.tanh(self.conv1(pooled).transpose(2, 3) - self.conv2(pooled))
        topology = self._topology(relation, shared, alpha)
        values: Tensor = self.conv3(x)
        grouped = values.view(len(x), topology.shape[1], -1, values.shape[3])
        return torch.matmul(grouped, topology.transpose(2, 3)).view_as(values)

    def _topology(self, relation: Tensor, shared: Tensor, alpha: Tensor) -> Tensor:
        """shared + alpha * conv4(relation), (R, topologies, V, V); alpha scales the few weights, not the many edges."""
        weight, bias = alpha * self.conv4.weight.flatten(1), alpha * cast(Tensor, self.conv4.bias)
        start = shared.flatten() + bias.unsqueeze(1)
        edges = torch.baddbmm(start, weight.expand(len(relation), -1, -1), relation.flatten(2))
        return edges.view(*edges.shape[:2], *shared.shape)


class SpatialConv(nn.Module):
    """Sum of one :class:`ChannelTopology` for each subset of the graph, with normalisation and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, topologies: int | None, graph: Tensor) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ChannelTopology(in_channels, out_channels, topologies) for _ in graph)
        self.PA = nn.Parameter(graph.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.bn = nn.BatchNorm2d(out_channels)
        self.down: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.down = nn.Sequential(PointwiseConv(in_channels, out_channels), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(2, keepdim=True)
        terms = [conv(x, pooled, shared, self.alpha) for conv, shared in zip(self.convs, self.PA, strict=True)]
        out = terms[0]
        for term in terms[1:]:
            out = out + term
        return torch.relu(self.bn(out) + self.down(x))


class TemporalUnit(nn.Module):
    """A convolution along time with normalisation, padded to keep T at stride 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv: nn.Conv2d = PointwiseConv(in_channels, out_channels, stride)
        if kernel > 1:
            padding = (kernel - 1) * dilation // 2, 0
            self.conv = nn.Conv2d(in_channels, out_channels, (kernel, 1), (stride, 1), padding, (dilation, 1))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))  # type: ignore[no-any-return]


class MultiScaleTemporalConv(nn.Module):
    """Parallel branches along time: one per dilation, one max-pooled, one pointwise; concatenated as channels."""

    def __init__(self, channels: int, block: Block) -> None:
        super().__init__()
        n_branches = len(block.dilations) + 2
        if channels % n_branches:
            raise ValueError(f"{channels} channels cannot be shared by {n_branches} temporal branches")
        width = channels // n_branches

        def pointwise(stride: int = 1) -> list[nn.Module]:
            return [PointwiseConv(channels, width, stride), nn.BatchNorm2d(width)]

        self.branches = nn.ModuleList(
            nn.Sequential(*pointwise(), nn.ReLU(), TemporalUnit(width, width, block.kernel, block.stride, dilation))
            for dilation in block.dilations
        )
        pool = nn.MaxPool2d((3, 1), (block.stride, 1), padding=(1, 0))
        self.branches.append(nn.Sequential(*pointwise(), nn.ReLU(), pool, nn.BatchNorm2d(width)))
        self.branches.append(nn.Sequential(*pointwise(block.stride)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class SpatialTemporalBlock(nn.Module):
    """Spatial convolution, temporal convolution and a residual around both."""

    def __init__(self, in_channels: int, block: Block, graph: Tensor, residual: bool) -> None:
        super().__init__()
        self.gcn1 = SpatialConv(in_channels, block.channels, block.topologies, graph)
        self.tcn1 = MultiScaleTemporalConv(block.channels, block)
        self.residual: nn.Module | None = None
        if residual and (in_channels, 1) == (block.channels, block.stride):
            self.residual = nn.Identity()
        elif residual:
            self.residual = TemporalUnit(in_channels, block.channels, 1, block.stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.tcn1(self.gcn1(x))
        if self.residual is not None:
            out = out + self.residual(x)
        return torch.relu(out)


class CTRGCN(nn.Module):
    """CTR-GCN for any joint layout, number of bodies and number of frames.

    Weights are drawn from ``generator`` where one is given. With ``n_bodies=1`` every body track is a sample of its
    own; :func:`mmcl_bench.nn.pooling.mean_by_clip` then joins the tracks of a clip.

    >>> network = CTRGCN(KINECT_V2, n_classes=60)
    >>> network(torch.zeros(8, 3, 64, 25, 2)).shape
    torch.Size([8, 60])
    """

    def __init__(
        self,
        layout: Layout,
        n_classes: int,
        n_bodies: int = 2,
        in_channels: int = 3,
        blocks: Sequence[Block] = PAPER_BLOCKS,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_bodies = n_bodies
        self.feature_channels = blocks[-1].channels
        graph = torch.from_numpy(spatial_graph(layout))
        self.data_bn = nn.BatchNorm1d(n_bodies * in_channels * len(layout))
        self._block_names = [f"l{number}" for number in range(1, len(blocks) + 1)]
        for name, block in zip(self._block_names, blocks, strict=True):
            self.add_module(name, SpatialTemporalBlock(in_channels, block, graph, residual=name != "l1"))
            in_channels = block.channels
        self.drop_out = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, n_classes)
        _initialise(self, generator)

    def features(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N * M, C', T', V), the bodies of a clip beside each other."""
        n, c, t, v, m = x.shape
        x = self.data_bn(x.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t))
        x = x.view(n * m, v, c, t).permute(0, 2, 3, 1).contiguous()
        for name in self._block_names:
            x = self.get_submodule(name)(x)
        return x

    def pool(self, features: Tensor) -> Tensor:
        """(N * M, C', T', V) -> (N, C'): the global feature F_g, the mean over frames, joints and bodies."""
        return features.mean((2, 3)).view(-1, self.n_bodies, features.shape[1]).mean(1)

    def classify(self, pooled: Tensor) -> Tensor:
        """(N, C') -> (N, K) logits."""
        return self.fc(self.drop_out(pooled))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N, K) logits. An absent body is all zeros."""
        return self.classify(self.pool(self.features(x)))


def _initialise(network: CTRGCN, generator: torch.Generator | None) -> None:
    """The authors' initial weights; a graph convolution starts as little more than its shortcut."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, MultiScaleTemporalConv):
            for norm in (each for each in module.modules() if isinstance(each, nn.BatchNorm2d)):
                nn.init.normal_(norm.weight, 1, 0.02, generator=generator)
        elif isinstance(module, SpatialConv):
            nn.init.constant_(module.bn.weight, 1e-6)
    nn.init.normal_(network.fc.weight, 0, (2 / network.fc.out_features) ** 0.5, generator=generator)
    nn.init.zeros_(network.fc.bias)
