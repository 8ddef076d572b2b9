"""A backbone with its losses: the module that a network method trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.methods.shared.network_settings import NetworkSettings
from mmcl_bench.nn import BACKBONES
from mmcl_bench.nn.losses import text_alignment_loss, text_similarity
from mmcl_bench.nn.pooling import mean_by_clip
from mmcl_bench.protocols.problem import ClassTable
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout
from mmcl_bench.skeleton.transforms import bodies_last
from mmcl_bench.training.loop import Losses

TEXTS = "texts"
"""Name of the class texts' embeddings among the arrays of a saved model."""
Teachers = Mapping[Modality, Tensor]
"""Features (N, D) of the other modalities of some clips."""


class SkeletonNetwork(nn.Module):
    """A backbone with its losses: cross-entropy of the seen classes and, in zero-shot, alignment with their texts.

    A new method overrides :meth:`extra_losses`, and names the child modules used only in training in
    ``training_parts``.
    """

    training_parts: ClassVar[tuple[str, ...]] = ()
    """Names of the child modules that scoring does not need; they are not saved."""

    def __init__(
        self, settings: NetworkSettings, layout: Layout, classes: ClassTable, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.settings = settings
        self.n_seen = int(classes.seen.sum())
        self.backbone = BACKBONES.get(settings.backbone)(
            layout,
            n_classes=self.n_seen,
            n_bodies=settings.n_bodies,
            in_channels=3 * len(settings.streams),
            dropout=settings.dropout,
            generator=generator,
        )
        self.text_head: nn.Linear | None = None
        self.texts: Tensor
        self.seen: Tensor

    def align_with_texts(self, embeddings: np.ndarray, seen: np.ndarray) -> None:
        """Adds a linear map to the space of the class texts (K, D), which then give the scores."""
        self.text_head = nn.Linear(self.backbone.feature_channels, embeddings.shape[1])
        self.register_buffer("texts", torch.from_numpy(embeddings), persistent=False)
        self.register_buffer("seen", torch.from_numpy(seen), persistent=False)

    def extra_losses(
        self, features: Tensor, logits: Tensor, labels: Tensor, teachers: Teachers
    ) -> dict[str, tuple[float, Tensor]]:
        """Losses besides the shared ones, each with its weight, from F_g (N, D), logits (N, S) and labels (N,)."""
        return {}

    def extra_loss_names(self) -> list[str]:
        """Names of :meth:`extra_losses`, in their order."""
        return []

    def loss_names(self) -> list[str]:
        """Names of the losses that are used."""
        return ["classification", *self.extra_loss_names(), *(["alignment"] if self.text_head is not None else [])]

    def scoring_state(self) -> dict[str, Tensor]:
        """Weights and class texts that scoring needs."""
        state = {
            name: value
            for name, value in self.state_dict().items()
            if name.partition(".")[0] not in self.training_parts
        }
        return state if self.text_head is None else {**state, TEXTS: self.texts}

    def training_only(self) -> tuple[nn.Module, ...]:
        """The modules that scoring does not need."""
        teachers = [module for name, module in self.named_children() if name in self.training_parts]
        return (*teachers, self.backbone.classifier) if self.text_head is not None else tuple(teachers)

    def global_feature(self, tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
        """Body tracks (R, C, T, V) and their clips (R,) -> F_g (n_clips, D)."""
        if self.settings.n_bodies == 1:
            return mean_by_clip(self.backbone.global_feature(tracks.unsqueeze(-1)), clip, n_clips)
        return self.backbone.global_feature(bodies_last(tracks, clip, n_clips, self.settings.n_bodies))

    def feature_map(self, tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
        """Body tracks (R, C, T, V) and their clips (R,) -> (n_clips, D, T', V), the mean over bodies.

        Its mean over frames and joints is F_g, but for rounding.
        """
        if self.settings.n_bodies == 1:
            return mean_by_clip(self.backbone.feature_map(tracks.unsqueeze(-1)), clip, n_clips)
        return self.backbone.feature_map(bodies_last(tracks, clip, n_clips, self.settings.n_bodies))

    def score(self, features: Tensor) -> Tensor:
        """F_g (N, D) -> (N, K): similarities to all class texts, or logits where there are none."""
        if self.text_head is None:
            return self.backbone.classify(features)
        return text_similarity(self.text_head(features), self.texts) / self.settings.text_temperature

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, tracks: Tensor, clip: Tensor, labels: Tensor, teachers: Teachers) -> Losses:
        """:meth:`training_losses` of body tracks (R, C, T, V) and the clip of each (R,), ascending."""
        n_clips = max(map(len, (labels, *teachers.values())))
        return self.training_losses(self.global_feature(tracks, clip, n_clips), labels, teachers)

    def training_losses(self, features: Tensor, labels: Tensor, teachers: Teachers) -> Losses:
        """All losses that are used, and their weighted sum ``loss``. ``labels`` (L,) number the seen classes; features
        after the first L are of clips without a label, which :meth:`extra_losses` alone sees."""
        # A slice of all would add up gradients in another order, and so change the last digits of every result.
        labelled = features if len(features) == len(labels) else features[: len(labels)]
        logits = self.backbone.classify(labelled)
        weighted = self.extra_losses(features, logits, labels, teachers)
        if self.text_head is not None:
            aligned = text_alignment_loss(
                self.text_head(self.backbone.drop_out(labelled)),
                self.texts[self.seen],
                labels,
                self.settings.text_temperature,
            )
            weighted["alignment"] = self.settings.alignment_weight, aligned
        smoothing = self.settings.label_smoothing
        total = classification = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        for weight, loss in weighted.values():
            total = total + weight * loss
        losses = {"classification": classification, **{name: loss for name, (_, loss) in weighted.items()}}
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": total, **losses, "accuracy": accuracy}
