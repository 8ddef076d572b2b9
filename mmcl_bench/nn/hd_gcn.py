"""HD-GCN: hierarchically decomposed graph convolution.

Lee, Lee, Lee, Lee, "Hierarchically Decomposed Graph Convolutional Networks for Skeleton-Based Action Recognition",
ICCV 2023, arXiv 2208.10741. Parameters carry the names of the authors' released checkpoints.

Shapes: C channels, T frames, V joints, R body tracks; L hierarchies of the graph, S subsets of each, c channels of one
branch of one hierarchy, which is C / (S + 1). Modules hold the parameters by their released names; the convolutions
and normalisations of all hierarchies run as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.backbone import TrackNorm, normalise_together
from mmcl_bench.nn.blocks import Block, BlockNetwork, SpatialTemporalBlock, draw_convolution, draw_norms, residual
from mmcl_bench.skeleton.layouts import Layout

CentreOfMass = Literal[1, 2, 21]
"""The joint that the hierarchy grows from, in the authors' numbers of Kinect-v2 joints: hip, belly or chest."""

MOST_LEVELS = 7
"""Joints further from the centre than the seventh level belong to it: the authors' graphs have six hierarchies."""

_HUNG_ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    # The layout hangs a tip on the thumb, the authors' hierarchies have both one step from the hand.
    "kinect-v2": {f"{side}_hand_tip": f"{side}_hand" for side in ("left", "right")}
}


def centre_joints(layout: Layout, centre_of_mass: CentreOfMass) -> frozenset[str]:
    """The joints of ``layout`` that stand for the hip (1), belly (2) or chest (21) of a Kinect-v2 skeleton.

    The chest is the layout's centre. The belly lies half-way from the hips to it, and is the hips where no joint does.
    """
    if centre_of_mass not in (1, 2, 21):
        raise ValueError(f"centre of mass {centre_of_mass}: it is 1 (hip), 2 (belly) or 21 (chest)")
    if centre_of_mass == 21:
        return frozenset({layout.centre})
    return frozenset(hip if centre_of_mass == 1 else _half_way(layout, hip) for hip in layout.hips)


def _half_way(layout: Layout, hip: str) -> str:
    nearer = dict(layout.bones)
    path = [hip]
    while path[-1] in nearer:
        path.append(nearer[path[-1]])
    return path[(len(path) - 1) // 2]


def joint_levels(layout: Layout, centre_of_mass: CentreOfMass = 21) -> tuple[frozenset[int], ...]:
    """Joints by their distance from the centre in bones, breadth first; :data:`MOST_LEVELS` at most.

    For Kinect-v2 these are the authors' levels.
    """
    hung_elsewhere = _HUNG_ELSEWHERE.get(layout.name, {})
    bones = [(joint, hung_elsewhere.get(joint, nearer)) for joint, nearer in layout.bones]
    levels = [centre_joints(layout, centre_of_mass)]
    seen = levels[0]
    while len(seen) < len(layout):
        touched = {end for bone in bones if seen.intersection(bone) for end in bone}
        if touched <= seen:
            raise ValueError(f"layout {layout.name}: its bones leave {set(layout.joints) - seen} apart from the centre")
        levels.append(frozenset(touched - seen))
        seen = seen | touched
    within, beyond = levels[: MOST_LEVELS - 1], levels[MOST_LEVELS - 1 :]
    if beyond:
        within.append(frozenset[str]().union(*beyond))
    return tuple(frozenset(layout.index(joint) for joint in level) for level in within)


def hierarchical_graph(levels: Sequence[frozenset[int]], n_joints: int) -> np.ndarray:
    """float32 (L, 3, V, V) from L + 1 levels; entry [v, u] is what joint v takes from joint u.

    A hierarchy joins two neighbouring levels: self links, links outward from every joint of the inner level to every
    one of the outer, and links inward. Columns of links sum to one or zero.
    """
    graph = np.zeros((len(levels) - 1, 3, n_joints, n_joints), dtype=np.float32)
    for (own, outward, inward), inner, outer in zip(graph, levels[:-1], levels[1:], strict=True):
        both, near, far = sorted(inner | outer), sorted(inner), sorted(outer)
        own[both, both] = 1
        outward[np.ix_(far, near)] = 1 / len(far)
        inward[np.ix_(near, far)] = 1 / len(near)
    return graph


def _normalised(norms: Sequence[TrackNorm], x: Tensor, offset: Tensor | None = None) -> Tensor:
    """What several norms give, each for its own of the channels (R, C, ...), which lie one after the other.

    ``offset`` (C,) is a constant that was left out of ``x``.
    """
    if norms[0].training:
        return normalise_together(norms, x, offset)
    weight, bias = torch.cat([norm.weight for norm in norms]), torch.cat([norm.bias for norm in norms])
    mean = torch.cat([cast(Tensor, norm.running_mean) for norm in norms])
    variance = torch.cat([cast(Tensor, norm.running_var) for norm in norms])
    if offset is not None:
        bias = bias + offset * weight * (variance + norms[0].eps).rsqrt()
    return F.batch_norm(x, mean, variance, weight, bias, eps=norms[0].eps)


def _first_two(entries: Sequence[nn.Module]) -> tuple[list[nn.Conv2d], list[TrackNorm]]:
    """The convolutions and the normalisations that sequences begin with."""
    pairs = [cast(nn.Sequential, entry) for entry in entries]
    return [cast(nn.Conv2d, pair[0]) for pair in pairs], [cast(TrackNorm, pair[1]) for pair in pairs]


def _biases(convs: Sequence[nn.Conv2d]) -> Tensor:
    return torch.cat([cast(Tensor, conv.bias) for conv in convs])


class EdgeConv(nn.Module):
    """Maximum, over the k points nearest in feature space, of a map of a point and its difference to the neighbour."""

    def __init__(self, channels: int, n_neighbours: int) -> None:
        super().__init__()
        self.n_neighbours = n_neighbours
        self.conv = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1, bias=False), TrackNorm(channels), nn.LeakyReLU(0.2)
        )


def edge_convolutions(convs: Sequence[EdgeConv], x: Tensor) -> Tensor:
    """Each of L edge convolutions on its own points (R, L, c, V) -> (R, L, c, V)."""
    k = min(convs[0].n_neighbours, x.shape[3])
    entries, norms = _first_two([conv.conv for conv in convs])
    of_difference, of_point = torch.stack([entry.weight.flatten(1) for entry in entries]).chunk(2, dim=2)
    nearest = _nearest(x, k)
    neighbours = torch.matmul(of_difference, x).unsqueeze(4).expand(-1, -1, -1, -1, k)
    neighbours = neighbours.gather(3, nearest.unsqueeze(2).expand_as(neighbours))
    edges = neighbours + torch.matmul(of_point - of_difference, x).unsqueeze(4)
    edges = F.leaky_relu(_normalised(norms, edges.flatten(1, 2)), 0.2)
    return edges.amax(3).view_as(x)


def _nearest(x: Tensor, k: int) -> Tensor:
    """(R, L, c, V) -> (R, L, V, k) int64: the points nearest to each, itself among them."""
    # Squares lose the digits of distances between points far from the origin, and roundings then choose neighbours.
    x = (x - x.mean(3, keepdim=True)).detach()
    products = torch.matmul(x.transpose(2, 3), x)
    squares = x.square().sum(2)
    return (2 * products - squares.unsqueeze(2) - squares.unsqueeze(3)).topk(k, dim=3).indices


class HierarchyAttention(nn.Module):
    """Attention-guided hierarchy aggregation: how much each hierarchy counts, for each channel."""

    pooling: Tensor

    def __init__(self, channels: int, levels: Sequence[frozenset[int]], n_joints: int) -> None:
        super().__init__()
        inner = channels // 4
        self.conv_down = nn.Sequential(nn.Conv2d(channels, inner, 1), TrackNorm(inner), nn.ReLU())
        self.edge_conv = EdgeConv(inner, n_neighbours=3)
        self.aggregate = nn.Conv1d(inner, channels, 1)
        pooling = torch.zeros(len(levels) - 1, n_joints)
        for row, near, far in zip(pooling, levels[:-1], levels[1:], strict=True):
            joints = sorted(near | far)
            row[joints] = 1 / len(joints)
        self.register_buffer("pooling", pooling, persistent=False)

    def forward(self, peaks: Tensor) -> Tensor:
        """Largest values along time (R, L, C, V) -> weights (R, L, C)."""
        points = self.conv_down(peaks.transpose(1, 2))
        points = torch.einsum("rclv,lv->rcl", points, self.pooling)
        attended = edge_convolutions([self.edge_conv], points.unsqueeze(1)).squeeze(1)
        return torch.sigmoid(self.aggregate(attended)).transpose(1, 2)


class HierarchicalConv(nn.Module):
    """Graph and edge convolutions over every hierarchy, joined by attention where there is some, and a shortcut."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        levels: Sequence[frozenset[int]],
        graph: Tensor,
        attention: bool,
    ) -> None:
        super().__init__()
        n_hierarchies, n_subsets, n_joints = graph.shape[:3]
        if out_channels % (n_subsets + 1):
            raise ValueError(f"{out_channels} channels cannot be shared by {n_subsets + 1} branches")
        width = out_channels // (n_subsets + 1)
        self.PA = nn.Parameter(graph.clone())
        self.conv_down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, width, 1), TrackNorm(width), nn.ReLU()) for _ in range(n_hierarchies)
        )
        self.conv = nn.ModuleList(
            nn.ModuleList(
                [
                    *(nn.Sequential(nn.Conv2d(width, width, 1), TrackNorm(width)) for _ in range(n_subsets)),
                    EdgeConv(width, n_neighbours=5),
                ]
            )
            for _ in range(n_hierarchies)
        )
        # Released checkpoints name the last hierarchy's branches a second time.
        self.conv_d = self.conv[-1]
        self.aha = HierarchyAttention(out_channels, levels, n_joints) if attention else None
        self.down: nn.Sequential | None = None
        if in_channels != out_channels:
            self.down = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), TrackNorm(out_channels))
        self.bn = TrackNorm(out_channels)
        self.register_state_dict_post_hook(_part_last_hierarchy)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T, V)."""
        narrow = self._narrowed(x)
        edges = edge_convolutions([cast(EdgeConv, branches[-1]) for branches in self._branches()], narrow.mean(3))
        moved = self._graph_convolutions(narrow).flatten(2, 3)
        # Edge convolutions give the same at every frame, so they are summed before they are spread over time.
        if self.aha is not None:
            weights = self.aha(torch.cat([moved.amax(3), edges], dim=2)).unsqueeze(3)
            moved = moved * weights[:, :, : moved.shape[2], :, None]
            edges = edges * weights[:, :, moved.shape[2] :]
        spread = edges.sum(1).unsqueeze(2).expand(-1, -1, x.shape[2], -1)
        out = torch.cat([moved.sum(1), spread], dim=1)
        return F.relu(self.bn(out) + (x if self.down is None else self.down(x)))

    def _branches(self) -> list[nn.ModuleList]:
        return [cast(nn.ModuleList, branches) for branches in self.conv]

    def _narrowed(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, L, c, T, V)."""
        convs, norms = _first_two(list(self.conv_down))
        out = F.conv2d(x, torch.cat([conv.weight for conv in convs]))
        out = F.relu(_normalised(norms, out, _biases(convs)))
        return out.unflatten(1, (len(convs), -1))  # type: ignore[no-any-return]

    def _graph_convolutions(self, x: Tensor) -> Tensor:
        """(R, L, c, T, V) -> (R, L, S, c, T, V)."""
        convs, norms = _first_two([each for branches in self._branches() for each in branches[:-1]])
        weight = torch.cat([conv.weight.flatten(1) for conv in convs]).unflatten(0, (len(self.PA), -1))
        # Channels before joints: both products then write in the order that the next one reads.
        mapped = torch.matmul(weight, x.flatten(3)).unflatten(2, (self.PA.shape[1], -1))
        mixed = torch.matmul(mapped.unflatten(4, x.shape[3:]).flatten(3, 4), self.PA.transpose(2, 3))
        mixed = mixed.unflatten(3, (-1, x.shape[3]))
        return _normalised(norms, mixed.flatten(1, 3), _biases(convs)).view_as(mixed)


def _part_last_hierarchy(module: nn.Module, state: dict[str, Any], prefix: str, _: dict[str, Any]) -> None:
    """Copies what a state dict would hold twice, since safetensors refuses tensors that share memory."""
    for name in [name for name in state if name.startswith(f"{prefix}conv_d.")]:
        state[name] = state[name].clone()


class TemporalUnit(nn.Module):
    """A convolution along time with normalisation, padded to keep T at stride 1."""

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        padding = (kernel - 1) * dilation // 2, 0
        self.conv = nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), padding, (dilation, 1), bias=False)
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.bn = TrackNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C, ceil(T / stride), V)."""
        return self.bn(self.conv(x), self.bias.flatten())  # type: ignore[no-any-return]


class MultiScaleTemporalConv(nn.Module):
    """Parallel branches along time: two dilated, one max-pooled, one pointwise; concatenated as channels."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        width = channels // 4

        def entry(stride: int = 1) -> list[nn.Module]:
            return [nn.Conv2d(channels, width, 1, (stride, 1)), TrackNorm(width)]

        pool = nn.MaxPool2d((3, 1), (stride, 1), padding=(1, 0))
        self.branches = nn.ModuleList(
            [
                *(nn.Sequential(*entry(), nn.ReLU(), TemporalUnit(width, 5, stride, d)) for d in (1, 2)),
                nn.Sequential(*entry(), nn.ReLU(), pool, TrackNorm(width)),
                nn.Sequential(*entry(stride)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C, ceil(T / stride), V)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class HDGCN(BlockNetwork):
    """HD-GCN for any joint layout, number of bodies and number of frames."""

    name = "hd-gcn"
    summary = "HD-GCN: a hierarchy of joints grown from the chest (centre of mass 21)"
    citation = (
        "Lee, Lee, Lee, Lee, Hierarchically Decomposed Graph Convolutional Networks for Skeleton-Based Action"
        " Recognition, ICCV 2023, arXiv 2208.10741"
    )
    centre_of_mass: ClassVar[CentreOfMass] = 21

    def make_block(self, layout: Layout, in_channels: int, block: Block, first: bool) -> SpatialTemporalBlock:
        levels = joint_levels(layout, self.centre_of_mass)
        graph = torch.from_numpy(hierarchical_graph(levels, len(layout)))
        return SpatialTemporalBlock(
            HierarchicalConv(in_channels, block.channels, levels, graph, attention=not first),
            MultiScaleTemporalConv(block.channels, block.stride),
            residual(in_channels, block, first),
        )

    def draw_weights(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                draw_convolution(module, generator)
            elif isinstance(module, nn.Conv1d):
                bound = module.in_channels**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.uniform_(cast(Tensor, module.bias), -bound, bound, generator=generator)
            elif isinstance(module, MultiScaleTemporalConv):
                draw_norms(module, generator)
            elif isinstance(module, HierarchicalConv):
                # A graph convolution starts as little more than its shortcut.
                nn.init.constant_(module.bn.weight, 1e-6)


class HDGCNFromBelly(HDGCN):
    name = "hd-gcn-com2"
    summary = "HD-GCN: a hierarchy of joints grown from the belly (centre of mass 2)"
    centre_of_mass = 2


class HDGCNFromHip(HDGCN):
    name = "hd-gcn-com1"
    summary = "HD-GCN: a hierarchy of joints grown from the hip (centre of mass 1)"
    centre_of_mass = 1
