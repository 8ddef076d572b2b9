"""Shift-GCN: graph convolution by shifting channels between joints and between frames.

Cheng, Zhang, He, Chen, Cheng, Lu, "Skeleton-Based Action Recognition with Shift Graph Convolutional Network",
CVPR 2020. Its 256 features a clip are those that SynSE (arXiv 2101.11530) and SMIE (arXiv 2308.03950) read. Parameters
carry the names of the authors' released checkpoints; their CUDA extension is not needed.

Shapes: C channels, T frames, V joints, R body tracks.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.nn.backbone import TrackNorm
from mmcl_bench.nn.blocks import Block, BlockNetwork, SpatialTemporalBlock, draw_convolution, residual
from mmcl_bench.skeleton.layouts import Layout


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


class ShiftGCN(BlockNetwork):
    """Shift-GCN for any joint layout, number of bodies and number of frames."""

    name = "shift-gcn"
    summary = "Shift-GCN: channels shifted between joints and frames; the features of the zero-shot literature"
    citation = (
        "Cheng, Zhang, He, Chen, Cheng, Lu, Skeleton-Based Action Recognition with Shift Graph Convolutional Network,"
        " CVPR 2020"
    )

    def make_block(self, layout: Layout, in_channels: int, block: Block, first: bool) -> SpatialTemporalBlock:
        return SpatialTemporalBlock(
            ShiftSpatialConv(in_channels, block.channels, len(layout)),
            ShiftTemporalConv(block.channels, block.stride),
            residual(in_channels, block, first),
        )

    def draw_weights(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                draw_convolution(module, generator)
            elif isinstance(module, TemporalShift):
                nn.init.uniform_(module.ypos, -1, 1, generator=generator)
            elif isinstance(module, ShiftSpatialConv):
                deviation = module.Linear_weight.shape[1] ** -0.5
                nn.init.normal_(module.Linear_weight, 0, deviation, generator=generator)
