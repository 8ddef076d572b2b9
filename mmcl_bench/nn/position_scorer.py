"""From joint positions to class scores in one module, for runtimes other than this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from torch import Tensor, nn

from mmcl_bench.nn.backbone import Backbone
from mmcl_bench.skeleton.layouts import Layout
from mmcl_bench.skeleton.streams import stack


class ClipNetwork(Protocol):
    """A module that goes from streams to scores in two steps."""

    backbone: Backbone

    def score(self, features: Tensor) -> Tensor:
        """F_g (N, D) -> scores (N, K)."""
        ...


class PositionScorer(nn.Module):
    """Streams, network and class scores as one module whose computations depend on the shape of its input alone.

    ``network`` is a :class:`ClipNetwork`. A backbone of one body takes any number of them here: the clip's feature is
    the mean over the bodies that are there, which are those that are not all zeros.
    """

    def __init__(self, network: nn.Module, streams: Sequence[str], layout: Layout) -> None:
        super().__init__()
        self.network = network
        self._streams = tuple(streams)
        self._layout = layout

    def forward(self, positions: Tensor) -> Tensor:
        """(N, 3, T, V, M) -> (N, K)."""
        network = cast(ClipNetwork, self.network)
        streams = stack(positions, self._streams, self._layout)
        if network.backbone.n_bodies > 1:
            return network.score(network.backbone.dense_feature(streams))
        n, c, t, v, m = streams.shape
        tracks = streams.permute(0, 4, 1, 2, 3).reshape(n * m, c, t, v, 1)
        features = network.backbone.dense_feature(tracks).view(n, m, -1)
        present = positions.abs().amax((1, 2, 3)).gt(0).to(features.dtype).unsqueeze(2)
        return network.score((features * present).sum(1) / present.sum(1).clamp(min=1))
