"""What every skeleton network is: normalised body tracks -> features -> one feature a clip -> class scores.

Shapes: N clips, M bodies, C channels, T frames, V joints; R body tracks.

A clip with fewer bodies than the network has places for is filled with zeros, and a published network runs on those
as on any body. Nothing tells one absent body from another, so that one of them a place is enough: it runs once a
batch, and counts in batch statistics as often as it stands for others (:class:`TrackNorm`). Logits, gradients and
running statistics are those of running them all, but for rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.skeleton.layouts import Layout

_CACHED = 400_000
"""Numbers in the features of the body tracks that a CPU evaluates together: those of more leave its cache."""


@dataclass(frozen=True)
class DistinctTracks:
    """The body tracks of a batch without the repetitions of absent bodies."""

    at: Tensor
    """(R,) int64: their places among all N * M tracks."""
    copies: Tensor
    """(R,) int64: how many tracks each stands for."""
    source: Tensor
    """(N * M,) int64: for every track, the place in ``at`` of the one that stands for it."""


def distinct_tracks(x: Tensor) -> DistinctTracks | None:
    """Finds absent bodies, all zeros, in (N, C, T, V, M); None where no place is empty in more than one clip."""
    n, m = x.shape[0], x.shape[4]
    absent = ~x.ne(0).permute(0, 4, 1, 2, 3).flatten(2).any(2)
    if not bool((absent.sum(0) > 1).any()):
        return None
    place = torch.arange(n * m, device=x.device).view(n, m)
    first = torch.where(absent, place, n * m).amin(0)
    stands_in = torch.where(absent, first, place).flatten()
    at, source, copies = stands_in.unique(return_inverse=True, return_counts=True)
    return DistinctTracks(at, copies, source)


class TrackNorm(nn.BatchNorm2d):
    """Batch normalisation over body tracks (R, C, ...), each counted as often as the network was told.

    Without counts it is :class:`torch.nn.BatchNorm2d`.
    """

    copies: Tensor | None = None

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """``offset`` (C,) is a constant that was left out of ``x``, the bias of a convolution: batch statistics take it
        away again, so that in training it moves the running mean alone."""
        return normalise_together([self], x, offset)

    def folded(self) -> tuple[Tensor, Tensor]:
        """(C,) scale and (C,) shift that it comes to in evaluation."""
        scale = self.weight * (cast(Tensor, self.running_var) + self.eps).rsqrt()
        return scale, self.bias - cast(Tensor, self.running_mean) * scale

    @torch.no_grad()
    def track(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics towards those of a batch."""
        momentum = cast(float, self.momentum)
        cast(Tensor, self.running_mean).lerp_(mean, momentum)
        cast(Tensor, self.running_var).lerp_(variance, momentum)
        cast(Tensor, self.num_batches_tracked).add_(1)


def normalise_together(norms: Sequence[TrackNorm], x: Tensor, offset: Tensor | None = None) -> Tensor:
    """What several norms do, each to its own of the channels (R, C, ...), which lie one after the other."""
    if not norms[0].training:
        scales, shifts = zip(*(norm.folded() for norm in norms), strict=True)
        scale, shift = torch.cat(scales), torch.cat(shifts)
        shift = shift if offset is None else shift + offset * scale
        each = (-1, *[1] * (x.ndim - 2))
        return torch.addcmul(shift.view(each), x, scale.view(each))
    weight, bias = torch.cat([norm.weight for norm in norms]), torch.cat([norm.bias for norm in norms])
    if offset is not None:
        # A zero, so that the gradient of the offset is one as well and not missing.
        bias = bias + 0 * offset
    copies, eps = norms[0].copies, norms[0].eps
    if copies is None:
        # With a momentum of one the running statistics become those of the batch.
        mean, variance = x.new_zeros(2, x.shape[1], dtype=weight.dtype)
        out = F.batch_norm(x, mean, variance, weight, bias, True, 1.0, eps)
    else:
        out, mean, variance = _CountedNorm.apply(x, copies, weight, bias, eps)
    if offset is not None:
        mean = mean + offset.detach()
    sizes = [norm.num_features for norm in norms]
    for norm, own_mean, own_variance in zip(norms, mean.split(sizes), variance.split(sizes), strict=True):
        norm.track(own_mean, own_variance)
    return out


class _CountedNorm(torch.autograd.Function):
    """Batch normalisation in which track r counts ``copies[r]`` times; gradients of the copies arrive summed."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, copies: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        flat = x.flatten(2)
        n = copies.sum() * flat.shape[2]
        share = copies.to(torch.float64) / n
        # Moments of each track in float32, of the batch in float64: their difference would lose the variance else.
        mean = share @ flat.sum(2, dtype=weight.dtype).double()
        lengths = torch.linalg.vector_norm(flat, dim=2, dtype=weight.dtype)
        var = (share @ lengths.double().square() - mean.square()).clamp(min=0)
        invstd = (var + eps).rsqrt().to(weight.dtype)
        mean, var = mean.to(weight.dtype), var.to(weight.dtype)
        scale = weight * invstd
        out = torch.addcmul((bias - mean * scale).view(1, -1, 1), flat, scale.view(1, -1, 1)).to(x.dtype).view_as(x)
        ctx.save_for_backward(x, share.to(weight.dtype), weight, mean, invstd)
        unbiased = var * (n / (n - 1).clamp(min=1))
        ctx.mark_non_differentiable(mean, unbiased)
        return out, mean, unbiased

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, share, weight, mean, invstd = ctx.saved_tensors
        flat, grad = x.flatten(2), grad.flatten(2)
        sums = grad.sum(2, dtype=weight.dtype)
        bias_grad = sums.sum(0)
        products = torch.linalg.vecdot(flat, grad, dim=2).sum(0, dtype=weight.dtype)
        weight_grad = (products - mean * bias_grad) * invstd
        scale = weight * invstd
        # dx = scale * (g - share * (bias_grad + x_hat * weight_grad)), with x_hat = (x - mean) * invstd
        slope = -share.view(-1, 1) * (scale * invstd * weight_grad)
        start = -share.view(-1, 1) * (scale * bias_grad) - slope * mean
        x_grad = torch.addcmul(start.unsqueeze(2), flat, slope.unsqueeze(2)).addcmul_(grad, scale.view(1, -1, 1))
        return x_grad.to(x.dtype).view_as(x), None, weight_grad, bias_grad, None


class Backbone(nn.Module, ABC):
    """A skeleton network for any joint layout, number of bodies and number of frames.

    Subclasses encode body tracks, each by itself. With ``n_bodies=1`` every body track is a sample of its own;
    :func:`mmcl_bench.nn.pooling.mean_by_clip` then joins the tracks of a clip. Subclasses draw
    their initial weights from ``generator`` where one is given.

    >>> network = BACKBONES.get("ctr-gcn")(KINECT_V2, n_classes=60)
    >>> network(torch.zeros(8, 3, 64, 25, 2)).shape
    torch.Size([8, 60])
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised where the same settings and seed train to other features: cached extractors of former ones are left."""
    summary: ClassVar[str]
    """One line: what sets it apart."""
    citation: ClassVar[str]
    """Authors, title, where it was published, and its arXiv number."""

    def __init__(
        self,
        layout: Layout,
        n_classes: int,
        n_bodies: int = 2,
        in_channels: int = 3,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_bodies = n_bodies
        self.data_bn = nn.BatchNorm1d(n_bodies * in_channels * len(layout))
        self.drop_out = nn.Dropout(dropout)
        self.fc = nn.Linear(self.feature_channels, n_classes)

    @property
    @abstractmethod
    def feature_channels(self) -> int:
        """D, the width of F_g."""

    @property
    def channels_per_frame(self) -> float:
        """The widest features, in channels for a frame of the input."""
        return 64

    @abstractmethod
    def encode(self, tracks: Tensor) -> Tensor:
        """Normalised body tracks (R, C, T, V) -> features (R, D) or (R, D, ...), to be averaged over what follows D.

        No track may depend on another but through :class:`TrackNorm`.
        """

    def global_feature(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> F_g (N, D), the mean over frames, joints and bodies. An absent body is all zeros."""
        distinct = distinct_tracks(x) if self.n_bodies > 1 else None
        tracks = self._normalised(x)
        if distinct is None:
            return self._by_clip(self._pooled(tracks))
        with self._counting(distinct.copies):
            pooled = self._pooled(tracks.index_select(0, distinct.at))
        return self._by_clip(pooled.index_select(0, distinct.source))

    def dense_feature(self, x: Tensor) -> Tensor:
        """:meth:`global_feature` that runs on every body, so that what is computed depends on the shape alone."""
        return self._by_clip(_mean(self.encode(self._normalised(x))))

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N, D, T', V): features by frame and joint, the mean over bodies.

        Raises :class:`ValueError` for a backbone that keeps no joints.
        """
        encoded = self.encode(self._normalised(x))
        if encoded.ndim != 4:
            raise ValueError(f"backbone {self.name} gives one feature a track, not one for each frame and joint")
        return encoded.view(-1, self.n_bodies, *encoded.shape[1:]).mean(1)

    @property
    def last_block(self) -> nn.Module:
        """The last module with weights that :meth:`encode` runs, which adaptation to another data set trains again.

        Raises :class:`ValueError` for a backbone that names none.
        """
        raise ValueError(f"backbone {self.name} names no last block; give it the property last_block")

    def to_last_block(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N * M, ...), what :attr:`last_block` takes, the bodies of a clip beside each other."""
        taken: list[Tensor] = []
        # With gradients enabled no block is run in another way than by a call.
        with (
            self.last_block.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0])),
            torch.enable_grad(),
        ):
            self.dense_feature(x)
        return taken[0]

    def after_last_block(self, taken: Tensor) -> Tensor:
        """What :attr:`last_block` takes, (R, ...), -> features of body tracks (R, D)."""
        return _mean(self.last_block(taken))

    @property
    def classifier(self) -> nn.Module:
        """What takes F_g to logits."""
        return self.fc

    def classify(self, feature: Tensor) -> Tensor:
        """F_g (N, D) -> (N, K) logits."""
        return self.fc(self.drop_out(feature))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N, K) logits. An absent body is all zeros."""
        return self.classify(self.global_feature(x))

    def _normalised(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N * M, C, T, V), the bodies of a clip beside each other."""
        n, c, t, v, m = x.shape
        x = self.data_bn(x.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t))
        return x.view(n * m, v, c, t).permute(0, 2, 3, 1)

    def _pooled(self, tracks: Tensor) -> Tensor:
        """(R, C, T, V) -> (R, D)."""
        if self.training or tracks.is_cuda:
            return _mean(self.encode(tracks))
        at_once = max(1, round(_CACHED / (self.channels_per_frame * tracks.shape[2] * tracks.shape[3])))
        return torch.cat([_mean(self.encode(some)) for some in tracks.split(at_once)])

    def _by_clip(self, pooled: Tensor) -> Tensor:
        return pooled.view(-1, self.n_bodies, pooled.shape[1]).mean(1)

    @contextmanager
    def _counting(self, copies: Tensor) -> Iterator[None]:
        norms = [module for module in self.modules() if isinstance(module, TrackNorm)]
        for norm in norms:
            norm.copies = copies
        try:
            yield
        finally:
            for norm in norms:
                norm.copies = None


def _mean(features: Tensor) -> Tensor:
    """(R, D, ...) -> (R, D)."""
    return features.mean(tuple(range(2, features.ndim))) if features.ndim > 2 else features
