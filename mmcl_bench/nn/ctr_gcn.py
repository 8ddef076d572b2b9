"""CTR-GCN: channel-wise topology refinement graph convolution.

Chen, Zhang, Yuan, Li, Deng, Hu, "Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action
Recognition", ICCV 2021, arXiv 2107.12213. Parameters carry the names of the authors' released checkpoints.

Shapes: C channels, T frames, V joints, K subsets of the graph, R body tracks. Inside, frames are the last axis: the
topologies of all subsets then act in one matrix product, and what slides along time reads memory in order. Modules
hold the parameters by their released names; the blocks compute with several of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.backbone import TrackNorm, normalise_together
from mmcl_bench.nn.blocks import Block, BlockNetwork, SpatialTemporalBlock, draw_convolution, draw_norms, residual
from mmcl_bench.skeleton.layouts import Layout

TEMPORAL_KERNEL = 5
DILATIONS = (1, 2)
"""Of the convolutions along time."""


def spatial_graph(layout: Layout) -> np.ndarray:
    """float32 (3, V, V): self links, inward bones and outward bones, each with columns that sum to one or zero."""
    inward = np.zeros((len(layout), len(layout)), dtype=np.float32)
    for joint, neighbour in layout.bone_pairs:
        inward[neighbour, joint] = 1
    outward = inward.T
    return np.stack([np.eye(len(layout), dtype=np.float32), *(a / np.maximum(a.sum(0), 1) for a in (inward, outward))])


def _weights(convs: Sequence[nn.Module]) -> Tensor:
    """(K, C', C) of 1x1 convolutions."""
    return torch.stack([cast(nn.Conv2d, conv).weight.flatten(1) for conv in convs])


def _biases(convs: Sequence[nn.Module]) -> Tensor:
    """(K, C') of convolutions."""
    return torch.stack([cast(Tensor, cast(nn.Conv2d, conv).bias) for conv in convs])


def _mapped(weight: Tensor, x: Tensor) -> Tensor:
    """A matrix (C', C) on the channels of (R, C, ...): a product a track, as one product of all would copy x first."""
    out: Tensor = torch.bmm(weight.expand(x.shape[0], -1, -1), x.flatten(2)).unflatten(2, x.shape[2:])
    return out


class Pointwise(nn.Conv2d):
    """A 1x1 convolution as a matrix product for each track: on CPUs about twice as fast to train as the general one."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, (stride, 1))

    def without_bias(self, x: Tensor) -> Tensor:
        """(R, C, V, T) -> (R, C', V, ceil(T / stride))."""
        x = x[..., :: self.stride[0]]
        return _mapped(self.weight.flatten(1), x)


def _folded(entry: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (C', C) and bias (C') of what a 1x1 convolution and the normalisation after it are in evaluation.

    They are the first two modules of ``entry``.
    """
    conv, norm, *_ = cast(nn.Sequential, entry)
    scale, shift = cast(TrackNorm, norm).folded()
    return cast(Pointwise, conv).weight.flatten(1) * scale.unsqueeze(1), cast(Tensor, conv.bias) * scale + shift


class NormedPointwise(nn.Sequential):
    """A 1x1 convolution and its normalisation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(Pointwise(in_channels, out_channels, stride), TrackNorm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = cast(Pointwise, self[0]), cast(TrackNorm, self[1])
        return norm(conv.without_bias(x), conv.bias)  # type: ignore[no-any-return]


class ChannelTopology(nn.Module):
    """What refines the topology of one subset, and what the features of its neighbours are mapped with."""

    def __init__(self, in_channels: int, out_channels: int, topologies: int | None) -> None:
        super().__init__()
        # The authors take 8 for the raw coordinates and an eighth from 64 channels on; this agrees with both.
        relation_channels = max(8, in_channels // 8)
        self.conv1 = Pointwise(in_channels, relation_channels)
        self.conv2 = Pointwise(in_channels, relation_channels)
        self.conv3 = Pointwise(in_channels, out_channels)
        self.conv4 = Pointwise(relation_channels, topologies or out_channels)


class SpatialConv(nn.Module):
    """Sum over the subsets of the graph of refined graph convolutions, with normalisation and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, topologies: int | None, graph: Tensor) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ChannelTopology(in_channels, out_channels, topologies) for _ in graph)
        self.PA = nn.Parameter(graph.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.bn = TrackNorm(out_channels)
        self.down: NormedPointwise | None = None
        if in_channels != out_channels:
            self.down = NormedPointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, V, T) -> (R, C', V, T)."""
        topology = self._topology(x.mean(3))
        shortcut = x if self.down is None else self.down(x)
        return F.relu(self.bn(self._aggregate(x, topology, None)) + shortcut, inplace=True)

    def evaluate(self, x: Tensor) -> Tensor:
        """What :meth:`forward` gives in evaluation, with the normalisations folded into the convolutions."""
        scale, shift = self.bn.folded()
        topology = self._topology(x.mean(3))
        out = self._aggregate(x, topology, scale)
        if self.down is None:
            return out.add_(shift.view(-1, 1, 1)).add_(x).relu_()
        weight, bias = _folded(self.down)
        # In place, which autocast leaves alone.
        out.flatten(2).baddbmm_(weight.to(out.dtype).expand(x.shape[0], -1, -1), x.to(out.dtype).flatten(2))
        return out.add_((shift + bias).view(-1, 1, 1)).relu_()

    def _topology(self, pooled: Tensor) -> Tensor:
        """Features averaged over time (R, C, V) -> (R, G, V, K * V): row u holds the weights of all neighbours.

        The relations are linear in each frame but for the last step, so the average may come first.
        """
        own, other, _, refine = zip(*(conv.children() for conv in self.convs), strict=True)
        sides = _mapped(_weights([*own, *other]).flatten(0, 1), pooled)
        sides = (sides + _biases([*own, *other]).view(-1, 1)).unflatten(1, (2, len(own), -1))
        relation = torch.tanh(sides[:, 0].unsqueeze(4) - sides[:, 1].unsqueeze(3))
        refined: Tensor = torch.matmul(self.alpha * _weights(refine), relation.flatten(3)).unflatten(
            3, relation.shape[3:]
        )
        shared = self.alpha * _biases(refine).T[:, None, :, None] + self.PA.transpose(0, 1)
        refined = refined.permute(0, 2, 3, 1, 4)  # (R, K, G, U, V) -> (R, G, U, K, V)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            refined = refined.contiguous() + shared
        else:
            refined = torch.add(refined, shared, out=refined.new_empty(refined.shape))
        return refined.flatten(3)

    def _aggregate(self, x: Tensor, topology: Tensor, scale: Tensor | None) -> Tensor:
        """Neighbours' features (R, C, V, T), mapped and summed by the topology (R, G, V, K * V) -> (R, C', V, T)."""
        r, _, v, t = x.shape
        convs = [conv.get_submodule("conv3") for conv in self.convs]
        weight, bias = _weights(convs).transpose(0, 1), _biases(convs).T
        if scale is not None:
            weight, bias = weight * scale.view(-1, 1, 1), bias * scale.unsqueeze(1)
        k, groups = len(convs), topology.shape[1]
        values = _mapped(weight.flatten(0, 1), x).view(r, groups, -1, k * v, t)
        size = values.shape[2]
        # Channels of a group share a topology, so they stand side by side as its columns.
        columns = values.transpose(2, 3).reshape(r * groups, k * v, size * t)
        out = torch.bmm(topology.flatten(0, 1), columns).view(r, groups, v, size, t)
        out = out.transpose(2, 3).reshape(r, -1, v, t)
        # A bias reaches a joint as often as the topology's row says.
        reach = topology.unflatten(3, (k, v)).sum(4)
        moved = torch.einsum("rguk,gck->rgcu", reach, bias.unflatten(0, (groups, size))).reshape(r, -1, v, 1)
        out += moved
        return out


class TemporalUnit(nn.Module):
    """A convolution along time with normalisation, padded to keep T at stride 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv: nn.Conv2d = Pointwise(in_channels, out_channels, stride)
        if kernel > 1:
            padding = (kernel - 1) * dilation // 2, 0
            self.conv = nn.Conv2d(in_channels, out_channels, (kernel, 1), (stride, 1), padding, (dilation, 1))
        self.bn = TrackNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, V, T) -> (R, C', V, T')."""
        if isinstance(self.conv, Pointwise):
            return self.bn(self.conv.without_bias(x), self.conv.bias)  # type: ignore[no-any-return]
        return self.bn(self._convolve(x, self.conv.weight, None), self.conv.bias)  # type: ignore[no-any-return]

    def evaluate(self, x: Tensor) -> Tensor:
        """What :meth:`forward` gives in evaluation, with the normalisation folded into the convolution."""
        scale, shift = self.bn.folded()
        weight, bias = self.conv.weight * scale.view(-1, 1, 1, 1), cast(Tensor, self.conv.bias) * scale + shift
        return self._convolve(x, weight, bias)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        (stride, _), (padding, _), (dilation, _) = (
            self.conv.stride,
            cast(tuple[int, int], self.conv.padding),
            self.conv.dilation,
        )
        out: Tensor = F.conv2d(x, weight.transpose(2, 3), bias, (1, stride), (0, padding), (1, dilation))
        return out


def _highest_of_three(x: Tensor, stride: int) -> Tensor:
    """The maximum of a frame and its two neighbours, (..., T) -> (..., ceil(T / stride)).

    What max_pool2d gives, sooner; its gradient is slow.
    """
    padded = F.pad(x, (1, 1), value=-torch.inf)
    end = x.shape[-1]
    first, middle, last = (padded[..., at : at + end : stride] for at in range(3))
    return torch.maximum(torch.maximum(first, middle), last)


class MultiScaleTemporalConv(nn.Module):
    """Parallel branches along time: one per dilation, one max-pooled, one pointwise; concatenated as channels."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        n_branches = len(DILATIONS) + 2
        if channels % n_branches:
            raise ValueError(f"{channels} channels cannot be shared by {n_branches} temporal branches")
        self.width = channels // n_branches
        self.stride = stride

        def pointwise() -> list[nn.Module]:
            return list(NormedPointwise(channels, self.width))

        self.branches = nn.ModuleList(
            nn.Sequential(
                *pointwise(), nn.ReLU(), TemporalUnit(self.width, self.width, TEMPORAL_KERNEL, stride, dilation)
            )
            for dilation in DILATIONS
        )
        # Modules without parameters stand here for the released names, which count them.
        pool = nn.MaxPool2d((3, 1), (stride, 1), padding=(1, 0))
        self.branches.append(nn.Sequential(*pointwise(), nn.ReLU(), pool, TrackNorm(self.width)))
        self.branches.append(NormedPointwise(channels, self.width, stride))

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, V, T) -> (R, C, V, ceil(T / stride))."""
        entries = self._entries()
        parts = list(self._entered(x, entries).split(self.width, 1))
        if len(parts) < len(self.branches):
            parts.append(self.branches[-1](x))
        *slid, pooled, direct = parts
        outs = [unit(F.relu(part)) for unit, part in zip(self._dilated(), slid, strict=True)]
        highest = F.max_pool2d(F.relu(pooled), (1, 3), (1, self.stride), (0, 1))
        return torch.cat([*outs, self._pool_norm(highest), direct], dim=1)

    def evaluate(self, x: Tensor) -> Tensor:
        """What :meth:`forward` gives in evaluation, with the normalisations folded into the convolutions."""
        folded = [_folded(entry) for entry in self._entries()]
        weight, bias = torch.cat([w for w, _ in folded]), torch.cat([b for _, b in folded])
        entered = F.conv2d(x, weight.view(*weight.shape, 1, 1), bias)
        last = len(self._dilated()) + 1
        entered[:, : last * self.width].relu_()
        parts = list(entered.split(self.width, 1))
        if len(parts) < len(self.branches):
            weight, bias = _folded(self.branches[-1])
            parts.append(F.conv2d(x[..., :: self.stride], weight.view(*weight.shape, 1, 1), bias))
        *slid, pooled, direct = parts
        outs = [unit.evaluate(part) for unit, part in zip(self._dilated(), slid, strict=True)]
        scale, shift = self._pool_norm.folded()
        highest = torch.addcmul(shift.view(-1, 1, 1), _highest_of_three(pooled, self.stride), scale.view(-1, 1, 1))
        return torch.cat([*outs, highest, direct], dim=1)

    def _dilated(self) -> list[TemporalUnit]:
        return [cast(TemporalUnit, cast(nn.Sequential, branch)[3]) for branch in self.branches[:-2]]

    @property
    def _pool_norm(self) -> TrackNorm:
        return cast(TrackNorm, cast(nn.Sequential, self.branches[-2])[4])

    def _entries(self) -> list[nn.Sequential]:
        """The branches whose first convolution sees every frame."""
        n_full = len(self.branches) - (self.stride > 1)
        return [cast(nn.Sequential, branch) for branch in self.branches[:n_full]]

    def _entered(self, x: Tensor, entries: Sequence[nn.Sequential]) -> Tensor:
        """The first convolutions and normalisations of branches, as one."""
        convs, norms = [entry[0] for entry in entries], [cast(TrackNorm, entry[1]) for entry in entries]
        mapped = _mapped(_weights(convs).flatten(0, 1), x)
        return normalise_together(norms, mapped, _biases(convs).flatten())


def pointwise_shortcut(in_channels: int, block: Block) -> TemporalUnit:
    """The shortcut around a block that changes channels or frames."""
    return TemporalUnit(in_channels, block.channels, 1, block.stride)


class FoldingBlock(SpatialTemporalBlock):
    """A block that evaluates with its normalisations folded into its convolutions."""

    gcn1: SpatialConv
    tcn1: MultiScaleTemporalConv

    def evaluate(self, x: Tensor) -> Tensor:
        """What :meth:`forward` gives in evaluation, (R, C, V, T) -> (R, C', V, T')."""
        out = self.tcn1.evaluate(self.gcn1.evaluate(x))
        if self.residual is not None:
            out.add_(self.residual.evaluate(x) if isinstance(self.residual, TemporalUnit) else x)
        return out.relu_()


class CTRGCN(BlockNetwork):
    """CTR-GCN for any joint layout, number of bodies and number of frames."""

    name = "ctr-gcn"
    summary = "topologies refined for each clip and channel, ten blocks, as in the paper"
    citation = (
        "Chen et al., Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action Recognition, "
        "ICCV 2021, arXiv 2107.12213"
    )
    topologies: ClassVar[int | None] = None
    """How many topologies are refined for a clip, each for an equal group of channels; None: one a channel, as in the
    paper. With few frames the topologies, V x V a channel, cost more than the features, T x V."""

    def make_block(self, layout: Layout, in_channels: int, block: Block, first: bool) -> SpatialTemporalBlock:
        graph = torch.from_numpy(spatial_graph(layout))
        return FoldingBlock(
            SpatialConv(in_channels, block.channels, self.topologies, graph),
            MultiScaleTemporalConv(block.channels, block.stride),
            residual(in_channels, block, first, pointwise_shortcut),
        )

    def draw_weights(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                draw_convolution(module, generator)
            elif isinstance(module, MultiScaleTemporalConv):
                draw_norms(module, generator)
            elif isinstance(module, SpatialConv):
                # A graph convolution starts as little more than its shortcut.
                nn.init.constant_(module.bn.weight, 1e-6)

    def encode(self, tracks: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T', V)."""
        x = tracks.transpose(2, 3).contiguous()
        # Folding overwrites what gradients would need.
        folds = not self.training and not torch.is_grad_enabled()
        for block in self.stack():
            x = cast(FoldingBlock, block).evaluate(x) if folds else block(x)
        return x.transpose(2, 3)


class TinyCTRGCN(CTRGCN):
    """Trains on two CPU cores; the early strides leave a quarter of the frames to the wide blocks."""

    name = "ctr-gcn-tiny"
    summary = "CTR-GCN with four narrow blocks and early strides, for two CPU cores"
    blocks = (Block(32, stride=2), Block(64, stride=2), Block(64), Block(96))
    topologies = 8


class SmallCTRGCN(CTRGCN):
    """Between the tiny and the paper's: a clip costs five times that of the one to train, a third of the other."""

    name = "ctr-gcn-small"
    summary = "CTR-GCN with six blocks of middle width, for longer trainings on CPU cores"
    blocks = (Block(48), Block(48, stride=2), Block(96), Block(96, stride=2), Block(160), Block(160))
    topologies = 8
