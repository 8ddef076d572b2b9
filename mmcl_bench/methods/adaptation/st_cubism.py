"""Temporal-spatial cubism: the network also tells how clips were rearranged (ACM TOMM 2022, arXiv 2207.08095).

Segments of a clip, or limbs of its bodies, change places, and one classifier for each of the two tells into which
order, on clips of both domains. That is the idea of the paper, ST-Cubism; the rest is chosen here: three segments; arms
and legs as limbs, which exchange as many joints as the shorter of them has, counted from the trunk; a linear classifier
each, and its weight. The paper's network is HCN; here the last block of any backbone learns, on ``copies`` rearranged
copies of every clip for each of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from math import factorial
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.methods.shared.adaptation_method import (
    AdaptationBatch,
    AdaptationMethod,
    AdaptationSettings,
    DomainBatch,
)
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.skeleton.augmentation import Compose
from mmcl_bench.skeleton.layouts import Layout, get_layout
from mmcl_bench.skeleton.transforms import PreparedTracks

_LIMBS = tuple((part, side) for part in ("hands", "legs") for side in ("left", "right"))
"""Body parts of a layout by side; its "hands" are whole arms."""
_FRAMES, _JOINTS = 2, 3
"""Axes of body tracks (R, C, T, V)."""


class CubismSettings(AdaptationSettings):
    """Of the rearranged copies."""

    temporal_weight: float = Field(default=0.1, ge=0)
    """Of telling the order of segments."""
    spatial_weight: float = Field(default=0.1, ge=0)
    """Of telling the order of limbs."""
    segments: int = Field(default=3, ge=2, le=4)
    """Parts of a clip in time, of nearly equal length, all of whose orders occur."""


@dataclass(frozen=True)
class Rearrange:
    """Puts the frames or the joints of each clip into one of some orders."""

    orders: Tensor
    """(P, T) or (P, V) int64: where each frame or joint is taken from; the first changes nothing."""
    axis: int
    labels: Tensor
    """(N,) int64, which order each clip gets."""

    def __call__(self, tracks: Tensor, clip: Tensor, generator: torch.Generator) -> Tensor:
        shape = [len(tracks), 1, 1, 1]
        shape[self.axis] = -1
        return tracks.take_along_dim(self.orders[self.labels[clip]].view(shape), dim=self.axis)


@dataclass(frozen=True)
class RearrangedCopy:
    """What the last block takes of rearranged clips, and in which order each is."""

    prepared: PreparedTracks
    labels: Tensor
    """(N,) int64."""


class STCubism(AdaptationMethod):
    """Classifiers of the orders of segments and of limbs."""

    name: ClassVar[str] = "st-cubism"
    summary: ClassVar[str] = "self-supervised: which order the segments and the limbs of a clip were put into"
    kind: ClassVar[str] = "self-supervised"
    published: ClassVar[str] = "ACM TOMM 2022"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[CubismSettings]] = CubismSettings
    settings: CubismSettings

    def build_parts(self, width: int, n_classes: int, n_groups: int) -> nn.Module:
        temporal = nn.Linear(width, factorial(self.settings.segments))
        return nn.ModuleDict({"temporal": temporal, "spatial": nn.Linear(width, factorial(len(_LIMBS)))})

    def fit(self, problem: Problem, context: Context) -> FitReport:
        # Before anything is trained, as a layout may have no limbs to exchange.
        self._orders = {
            "temporal": (segment_orders(self.settings.network().n_frames, self.settings.segments), _FRAMES),
            "spatial": (limb_orders(get_layout(problem.train.clips.layout)), _JOINTS),
        }
        self._rearranged: dict[str, dict[str, list[RearrangedCopy]]] = {}
        report = super().fit(problem, context)
        self._rearranged.clear()  # they are large
        return report

    def varied(self, clips: ClipView, side: str) -> list[PreparedTracks]:
        sides = super().varied(clips, side)
        self._rearranged[side] = {
            kind: [self._rearrange(clips, f"{kind} {side} {copy}", *order) for copy in range(self.settings.copies)]
            for kind, order in self._orders.items()
        }
        return sides

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        weights = {"temporal": self.settings.temporal_weight, "spatial": self.settings.spatial_weight}
        domains = {"source": batch.source, "target": batch.target_clips}
        losses = {}
        for kind in weights:
            of_domains = [self._order_loss(kind, side, domain) for side, domain in domains.items()]
            losses[kind] = weights[kind], torch.stack(of_domains).mean()
        return losses

    def _rearrange(self, clips: ClipView, purpose: str, orders: Tensor, axis: int) -> RearrangedCopy:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "orders", purpose))
        labels = torch.randint(len(orders), (len(clips),), generator=generator)
        usual = self.extractor.settings.augmentation(self.extractor.layout)
        augment = Compose((usual, Rearrange(orders, axis, labels)))
        return RearrangedCopy(self.extractor.to_last_block(clips, generator, augment), labels)

    def _order_loss(self, kind: str, side: str, domain: DomainBatch) -> Tensor:
        """Cross-entropy of the orders of a batch's clips, each in one rearranged copy."""
        copies = self._rearranged[side][kind]
        copy = copies[int(torch.randint(len(copies), ()))]
        classifier = cast(nn.ModuleDict, self.parts)[kind]
        logits = classifier(self.network.features(copy.prepared, domain.clips))
        return F.cross_entropy(logits, copy.labels[domain.clips].to(logits.device))


def segment_orders(n_frames: int, n_segments: int) -> Tensor:
    """(S!, T) int64: where each frame is taken from, for every order of the segments; the first changes nothing."""
    segments = torch.arange(n_frames).tensor_split(n_segments)
    return torch.stack([torch.cat(order) for order in permutations(segments)])


def limb_orders(layout: Layout) -> Tensor:
    """(24, V) int64: where each joint is taken from, for every order of the limbs; the first changes nothing.

    Raises :class:`UserError` for a layout that names no left and right joints of arms or of legs.
    """
    from_trunk = layout.bones_apart[layout.index(layout.centre)]
    limbs = []
    for part, side in _LIMBS:
        of_side = [layout.index(pair[side == "right"]) for pair in layout.mirrored if pair[0] in layout.parts[part]]
        if not of_side:
            raise UserError(
                f"layout {layout.name}: method st-cubism exchanges arms and legs, and parts.{part} has no joint with a "
                "left and a right; name such joints, or choose another method"
            )
        limbs.append(sorted(of_side, key=lambda joint: float(from_trunk[joint])))
    n_joints = min(map(len, limbs))
    places = torch.tensor([limb[:n_joints] for limb in limbs])
    orders = torch.arange(len(layout)).repeat(factorial(len(_LIMBS)), 1)
    for row, order in zip(orders, permutations(places), strict=True):
        row[places.flatten()] = torch.cat(order)
    return orders
