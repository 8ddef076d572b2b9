"""Shift-GCN: graph convolution by shifting channels between joints and between frames.

Cheng, Zhang, He, Chen, Cheng, Lu, "Skeleton-Based Action Recognition with Shift Graph Convolutional Network",
CVPR 2020. Its 256 features a clip are those that SynSE (arXiv 2101.11530) and SMIE (arXiv 2308.03950) read. Parameters
carry the names of the authors' released checkpoints; their CUDA extension is not needed.

Shapes: C channels, T frames, V joints, R body tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.backbone import Backbone, TrackNorm
from mmcl_bench.skeleton.layouts import Layout


@dataclass(frozen=True)
class Block:
    """One spatial-temporal block: its output channels and its temporal stride."""

    channels: int
    stride: int = 1


PAPER_BLOCKS = (*[Block(64)] * 4, Block(128, 2), *[Block(128)] * 2, Block(256, 2), *[Block(256)] * 2)
"""The ten blocks of the paper."""


def joint_shift(n_joints: int, channels: int, direction: int) -> Tensor:
    """int64 (V * C,): where the features of a body, joint by joint, are read from.

    Channel c of joint v comes from joint v + c * direction, counted in a circle (the paper's non-local shift).
    """
    joint, channel = torch.arange(n_joints).unsqueeze(1), torch.arange(channels)
    return ((joint + direction * channel) % n_joints * channels + channel).flatten()


class ShiftSpatialConv(nn.Module):
    """A map of each joint's channels between two shifts along the joints, with normalisation and a shortcut."""

    shift_in: Tensor
    shift_out: Tensor

    def __init__(self, in_channels: int, out_channels: int, n_joints: int) -> None:
        super().__init__()
        self.Linear_weight = nn.Parameter(torch.zeros(in_channels, out_channels))
        self.Linear_bias = nn.Parameter(torch.zeros(1, 1, out_channels))
        self.Feature_Mask = nn.Parameter(torch.zeros(1, n_joints, in_channels))
        self.register_buffer("shift_in", joint_shift(n_joints, in_channels, 1))
        self.register_buffer("shift_out", joint_shift(n_joints, out_channels, -1))
        self.bn = TrackNorm(n_joints * out_channels)
        self.down: nn.Sequential | None = None
        if in_channels != out_channels:
            self.down = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), TrackNorm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T, V)."""
        _, c, _, v = x.shape
        shifted = x.permute(0, 3, 1, 2).flatten(1, 2).index_select(1, self.shift_in).unflatten(1, (v, c))
        masked = shifted * (torch.tanh(self.Feature_Mask.squeeze(0)) + 1).unsqueeze(2)
        mapped = torch.matmul(self.Linear_weight.T, masked) + self.Linear_bias.view(-1, 1)
        out = self.bn(mapped.flatten(1, 2).index_select(1, self.shift_out)).unflatten(1, (v, -1))
        return F.relu(out.permute(0, 2, 3, 1) + (x if self.down is None else self.down(x)))


class _EvenSteps(torch.autograd.Function):
    """Keeps what it is given; of its gradient only the sign counts, so that every shift moves at the same pace."""

    @staticmethod
    def forward(_: Any, shift: Tensor) -> Tensor:
        return shift.view_as(shift)

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return torch.where(grad == 0, 1e-4, grad.sign() * 1e-2)


class TemporalShift(nn.Module):
    """Moves each channel along time by a number of frames that is learned, with linear interpolation.

    What comes from before the first or after the last frame is zero. With a stride of two the authors read half a
    frame later. They have a shift between joints as well, ``xpos``, that never gets a gradient and stays within 1e-8
    of zero; it is kept for its name alone.
    """

    xpos: Tensor

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.ypos = nn.Parameter(torch.zeros(channels))
        self.register_buffer("xpos", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C, ceil(T / stride), V)."""
        _, c, t, _ = x.shape
        shift = cast(Tensor, _EvenSteps.apply(self.ypos))
        if self.stride > 1:
            shift = shift + 0.5
        start = shift.detach().floor()
        late = (shift - start).unsqueeze(1)
        before = start.long().unsqueeze(1) + torch.arange(0, t, self.stride, device=x.device)
        rows = torch.arange(c, device=x.device).unsqueeze(1) * t
        frames = x.flatten(1, 2)

        def read(frame: Tensor, share: Tensor) -> Tensor:
            share = share * ((frame >= 0) & (frame < t))
            return frames.index_select(1, (rows + frame.clamp(0, t - 1)).flatten()) * share.view(-1, 1)

        return (read(before, 1 - late) + read(before + 1, late)).unflatten(1, (c, -1))  # type: ignore[no-any-return]


class ShiftTemporalConv(nn.Module):
    """A map of each frame's channels between two shifts along time."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.bn = TrackNorm(channels)
        self.bn2 = TrackNorm(channels)
        self.shift_in = TemporalShift(channels)
        self.shift_out = TemporalShift(channels, stride)
        self.temporal_linear = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C, ceil(T / stride), V)."""
        x = F.relu(self.temporal_linear(self.shift_in(self.bn(x))))
        return self.bn2(self.shift_out(x))  # type: ignore[no-any-return]


class ResidualUnit(nn.Module):
    """The shortcut around a block that changes channels or frames."""

    def __init__(self, in_channels: int, block: Block) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, block.channels, 1, (block.stride, 1))
        self.bn = TrackNorm(block.channels)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', ceil(T / stride), V)."""
        return self.bn(self.conv(x))  # type: ignore[no-any-return]


class SpatialTemporalBlock(nn.Module):
    """Spatial convolution, temporal convolution and a residual around both; the first block has no residual."""

    def __init__(self, in_channels: int, block: Block, n_joints: int, first: bool) -> None:
        super().__init__()
        self.gcn1 = ShiftSpatialConv(in_channels, block.channels, n_joints)
        self.tcn1 = ShiftTemporalConv(block.channels, block.stride)
        self.residual: nn.Module | None = None
        if not first:
            same = (in_channels, 1) == (block.channels, block.stride)
            self.residual = nn.Identity() if same else ResidualUnit(in_channels, block)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T', V)."""
        out = self.tcn1(self.gcn1(x))
        return F.relu(out if self.residual is None else out + self.residual(x))


class ShiftGCN(Backbone):
    """Shift-GCN for any joint layout, number of bodies and number of frames.

    >>> network = ShiftGCN(KINECT_V2, n_classes=60)
    >>> network(torch.zeros(8, 3, 64, 25, 2)).shape
    torch.Size([8, 60])
    """

    name = "shift-gcn"
    summary = "Shift-GCN: channels shifted between joints and frames; the features of the zero-shot literature"
    citation = (
        "Cheng, Zhang, He, Chen, Cheng, Lu, Skeleton-Based Action Recognition with Shift Graph Convolutional Network,"
        " CVPR 2020"
    )
    blocks: ClassVar[Sequence[Block]] = PAPER_BLOCKS

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
            self.add_module(name, SpatialTemporalBlock(in_channels, block, len(layout), first=name == "l1"))
            in_channels = block.channels
        _initialise(self, generator)

    @property
    def feature_channels(self) -> int:
        return self.blocks[-1].channels

    def encode(self, tracks: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T', V)."""
        for name in self._block_names:
            tracks = self.get_submodule(name)(tracks)
        return tracks


def _initialise(network: ShiftGCN, generator: torch.Generator | None) -> None:
    """The authors' initial weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            nn.init.zeros_(cast(Tensor, module.bias))
        elif isinstance(module, TemporalShift):
            nn.init.uniform_(module.ypos, -1, 1, generator=generator)
        elif isinstance(module, ShiftSpatialConv):
            deviation = module.Linear_weight.shape[1] ** -0.5
            nn.init.normal_(module.Linear_weight, 0, deviation, generator=generator)
    nn.init.normal_(network.fc.weight, 0, (2 / network.fc.out_features) ** 0.5, generator=generator)
    nn.init.zeros_(network.fc.bias)
