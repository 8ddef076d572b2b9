"""PGFA's aligner with its skeleton network, trained together from scratch (Zhou et al., IEEE TIP 2025).

The loss and its scale are those of :mod:`.pgfa`; there is no other loss, so nothing learns to classify the seen classes
but by their texts. Differences from the paper and its release: clips are prepared and augmented as for the other
networks here, and the ST-GCN of preset ``paper`` has four times the channels of theirs; the epoch is chosen on
pseudo-unseen classes, not on the test clips; the scale of the cosines is learned, which ``as_released`` takes back. The
prototypes that the paper builds from the test clips are no part of this method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.shared.network_method import NetworkMethod
from mmcl_bench.methods.shared.network_settings import NetworkSettings
from mmcl_bench.methods.shared.skeleton_network import SkeletonNetwork, Teachers
from mmcl_bench.methods.zero_shot.pgfa import contrast
from mmcl_bench.nn.losses import text_similarity
from mmcl_bench.protocols.problem import ClassTable
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout
from mmcl_bench.training.loop import Losses


class PGFAEndToEndSettings(NetworkSettings):
    """The defaults are the paper's for NTU-60: a rate that is constant after the warm-up."""

    backbone: str = "st-gcn"
    text_temperature: float = Field(default=0.07, gt=0)
    """One over the scale of the cosines at the start, and of scores."""
    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=128, ge=2)
    base_rate: float = Field(default=0.05, gt=0)
    warmup_epochs: int = Field(default=5, ge=0)
    decay: Literal["cosine", "steps"] = "steps"
    steps: tuple[int, ...] = ()
    weight_decay: float = Field(default=5e-4, ge=0)
    as_released: bool = False
    """Whether the scale of the cosines is fixed."""


class ContrastedNetwork(SkeletonNetwork):
    """A skeleton network and a linear map, held to the texts by contrast within a batch."""

    settings: PGFAEndToEndSettings

    def align_with_texts(self, embeddings: np.ndarray, seen: np.ndarray) -> None:
        super().align_with_texts(embeddings, seen)
        scale = torch.tensor(-math.log(self.settings.text_temperature))
        self.log_scale = nn.Parameter(scale, requires_grad=not self.settings.as_released)
        self.backbone.classifier.requires_grad_(False)

    def loss_names(self) -> list[str]:
        return ["skeleton_to_text", "text_to_skeleton"]

    def training_losses(self, features: Tensor, labels: Tensor, teachers: Teachers) -> Losses:
        if self.text_head is None:  # where its cost is measured, without texts
            return super().training_losses(features, labels, teachers)
        projected, texts = self.text_head(self.backbone.drop_out(features)), self.texts[self.seen]
        losses = contrast(projected, texts[labels], labels, self.log_scale)
        accuracy = (text_similarity(projected.detach(), texts).argmax(1) == labels).float().mean()
        return {**losses, "loss": self.settings.alignment_weight * losses["loss"], "accuracy": accuracy}


class PGFAEndToEnd(NetworkMethod):
    """The network and the map on the main text."""

    name: ClassVar[str] = "pgfa-end-to-end"
    summary: ClassVar[str] = "skeleton network trained with texts by contrast within a batch; PGFA without prototypes"
    kind: ClassVar[str] = "embedding"
    published: ClassVar[str] = "IEEE TIP 2025"
    cost: ClassVar[str] = "minutes"
    version: ClassVar[int] = 2
    families: ClassVar[frozenset[str]] = frozenset({"zero-shot"})
    Settings: ClassVar[type[PGFAEndToEndSettings]] = PGFAEndToEndSettings
    settings: PGFAEndToEndSettings

    def build(
        self, layout: Layout, classes: ClassTable, feature_dims: Mapping[Modality, int], generator: torch.Generator
    ) -> ContrastedNetwork:
        return ContrastedNetwork(self.settings, layout, classes, generator)
