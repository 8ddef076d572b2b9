"""CTR-GCN as the paper writes it: every term by itself, every body always. What the fast form is held against.

It works in place where the authors' code does, and is as fast as that.

Chen et al., ICCV 2021, arXiv 2107.12213. Parameters carry the names of :class:`mmcl_bench.nn.ctr_gcn.CTRGCN`, so that
one state dict fits both.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Refinement(nn.Module):
    """One subset: a topology refined for each clip and channel, from features of every frame."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        relation = 8 if in_channels in (3, 9) else in_channels // 8
        self.conv1 = nn.Conv2d(in_channels, relation, 1)
        self.conv2 = nn.Conv2d(in_channels, relation, 1)
        self.conv3 = nn.Conv2d(in_channels, out_channels, 1)
        self.conv4 = nn.Conv2d(relation, out_channels, 1)

    def forward(self, x: Tensor, shared: Tensor, alpha: Tensor) -> Tensor:
        left, right, values = self.conv1(x).mean(-2), self.conv2(x).mean(-2), self.conv3(x)
        relation = torch.tanh(left.unsqueeze(-1) - right.unsqueeze(-2))
        topology = self.conv4(relation) * alpha + shared
        return torch.einsum("ncuv,nctv->nctu", topology, values)


class Graph(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, graph: Tensor) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Refinement(in_channels, out_channels) for _ in graph)
        self.PA = nn.Parameter(graph.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.bn = nn.BatchNorm2d(out_channels)
        self.down: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.down = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn(sum(conv(x, shared, self.alpha) for conv, shared in zip(self.convs, self.PA, strict=True)))
        out += self.down(x)
        return out.relu_()


class Temporal(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        pad = (kernel - 1) * dilation // 2
        self.conv = nn.Conv2d(in_channels, out_channels, (kernel, 1), (stride, 1), (pad, 0), (dilation, 1))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Branches(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        w = channels // 4
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, w, 1), nn.BatchNorm2d(w), nn.ReLU(True), Temporal(w, w, 5, stride, dilation)
            )
            for dilation in (1, 2)
        )
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        self.branches.append(
            nn.Sequential(nn.Conv2d(channels, w, 1), nn.BatchNorm2d(w), nn.ReLU(True), pool, nn.BatchNorm2d(w))
        )
        self.branches.append(nn.Sequential(nn.Conv2d(channels, w, 1, (stride, 1)), nn.BatchNorm2d(w)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Unit(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, graph: Tensor, stride: int, residual: bool) -> None:
        super().__init__()
        self.gcn1 = Graph(in_channels, out_channels, graph)
        self.tcn1 = Branches(out_channels, stride)
        self.residual: nn.Module | None = None
        if residual:
            same = in_channels == out_channels and stride == 1
            self.residual = nn.Identity() if same else Temporal(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.tcn1(self.gcn1(x))
        return (out if self.residual is None else out + self.residual(x)).relu_()


class PlainCTRGCN(nn.Module):
    """(N, C, T, V, M) -> (N, K) logits."""

    def __init__(self, graph: np.ndarray, n_classes: int, n_bodies: int = 2, in_channels: int = 3) -> None:
        super().__init__()
        adjacency = torch.from_numpy(graph)
        self.data_bn = nn.BatchNorm1d(n_bodies * in_channels * graph.shape[1])
        channels = in_channels
        for at, (wide, stride) in enumerate(
            [(64, 1)] * 4 + [(128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1)]
        ):
            self.add_module(f"l{at + 1}", Unit(channels, wide, adjacency, stride, residual=at > 0))
            channels = wide
        self.fc = nn.Linear(256, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, v, m = x.shape
        x = self.data_bn(x.permute(0, 4, 3, 1, 2).contiguous().view(n, m * v * c, t))
        x = x.view(n, m, v, c, t).permute(0, 1, 3, 4, 2).contiguous().view(n * m, c, t, v)
        for at in range(1, 11):
            x = self.get_submodule(f"l{at}")(x)
        return self.fc(x.view(n, m, x.shape[1], -1).mean(3).mean(1))
