"""What graph networks after ST-GCN share: ten blocks l1 to l10, each convolving over joints, then along time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import ClassVar

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
"""The blocks of ST-GCN's code, which the networks after it kept; its paper counts nine and leaves out the first."""


class Shortcut(nn.Module):
    """A pointwise convolution around a block that changes channels or frames."""

    def __init__(self, in_channels: int, block: Block) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, block.channels, 1, (block.stride, 1))
        self.bn = TrackNorm(block.channels)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', ceil(T / stride), V)."""
        return self.bn(self.conv(x))  # type: ignore[no-any-return]


def residual(
    in_channels: int, block: Block, first: bool, shortcut: Callable[[int, Block], nn.Module] = Shortcut
) -> nn.Module | None:
    """What a block adds to its output: its input, through ``shortcut`` where the shape changes; the first adds none."""
    if first:
        return None
    return nn.Identity() if (in_channels, 1) == (block.channels, block.stride) else shortcut(in_channels, block)


class SpatialTemporalBlock(nn.Module):
    """Spatial convolution, temporal convolution and a residual around both."""

    def __init__(self, spatial: nn.Module, temporal: nn.Module, residual: nn.Module | None) -> None:
        super().__init__()
        self.gcn1 = spatial
        self.tcn1 = temporal
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, ...) -> (R, C', ...), in whatever order frames and joints are."""
        out = self.tcn1(self.gcn1(x))
        return F.relu(out) if self.residual is None else F.relu(out + self.residual(x), inplace=True)


class BlockNetwork(Backbone):
    """A network of blocks under the released names ``l1``, ``l2``, ...; a subclass says how a block is made."""

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
        for number, block in enumerate(self.blocks, start=1):
            self.add_module(f"l{number}", self.make_block(layout, in_channels, block, first=number == 1))
            in_channels = block.channels
        self.draw_weights(generator)
        nn.init.normal_(self.fc.weight, 0, (2 / n_classes) ** 0.5, generator=generator)
        nn.init.zeros_(self.fc.bias)

    @abstractmethod
    def make_block(self, layout: Layout, in_channels: int, block: Block, first: bool) -> SpatialTemporalBlock:
        """One of :attr:`blocks`."""

    @abstractmethod
    def draw_weights(self, generator: torch.Generator | None) -> None:
        """Draws the authors' initial weights of the blocks."""

    @property
    def feature_channels(self) -> int:
        return self.blocks[-1].channels

    @property
    def channels_per_frame(self) -> float:
        strides: Iterable[int] = accumulate((block.stride for block in self.blocks), mul)
        return max(block.channels / stride for block, stride in zip(self.blocks, strides, strict=True))

    def stack(self) -> list[nn.Module]:
        """The blocks in their order."""
        return [self.get_submodule(f"l{number}") for number in range(1, len(self.blocks) + 1)]

    @property
    def last_block(self) -> nn.Module:
        return self.stack()[-1]

    def encode(self, tracks: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, C', T', V)."""
        for block in self.stack():
            tracks = block(tracks)
        return tracks


def draw_convolution(conv: nn.Conv2d, generator: torch.Generator | None) -> None:
    """He's initial weights, which keep the variance of gradients."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", generator=generator)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def draw_norms(branches: nn.Module, generator: torch.Generator | None) -> None:
    """Scales near one for every normalisation in ``branches``."""
    for norm in (module for module in branches.modules() if isinstance(module, TrackNorm)):
        nn.init.normal_(norm.weight, 1, 0.02, generator=generator)
