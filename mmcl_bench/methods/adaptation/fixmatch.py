"""Self-training in the manner of FixMatch (Sohn et al., NeurIPS 2020).

The weakly augmented clip is the clip as it is scored, the strongly augmented one a copy with the crops, rotations and
scales of the extractor's training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.consistency import confident_label_loss


class FixMatchSettings(AdaptationSettings):
    """The weight of the added loss, and the library's rate."""

    rate: float = Field(default=0.003, gt=0)
    weight: float = Field(default=1.0, ge=0)
    """Of the loss of target clips, beside classification of source clips."""
    threshold: float = Field(default=0.9, ge=0, le=1)
    """The probability from which a prediction counts."""


class FixMatch(AdaptationMethod):
    """Confident predictions as labels of augmented copies."""

    name: ClassVar[str] = "fixmatch"
    summary: ClassVar[str] = "self-training: confident predictions of target clips hold for their augmented copies"
    kind: ClassVar[str] = "self-training"
    published: ClassVar[str] = "NeurIPS 2020"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[FixMatchSettings]] = FixMatchSettings
    settings: FixMatchSettings

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        loss = confident_label_loss(batch.without_augmentation(), batch.target_clips.logits, self.settings.threshold)
        return {"self_training": (self.settings.weight, loss)}
