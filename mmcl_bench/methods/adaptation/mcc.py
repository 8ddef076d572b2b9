"""MCC: target clips are predicted to be in one class, not between two (Jin et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.consistency import class_confusion


class MCCSettings(AdaptationSettings):
    """The weight of the added loss, and the library's rate."""

    rate: float = Field(default=0.005, gt=0)
    weight: float = Field(default=1.0, ge=0)
    """Of the confusion of target classes, beside classification."""
    temperature: float = Field(default=2.5, gt=0)
    """Of the softmax of target logits in the added loss."""


class MCC(AdaptationMethod):
    """The confusion of classes in a batch."""

    name: ClassVar[str] = "mcc"
    summary: ClassVar[str] = "least confusion between the classes that target clips are predicted to be in"
    kind: ClassVar[str] = "self-training"
    published: ClassVar[str] = "ECCV 2020"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[MCCSettings]] = MCCSettings
    settings: MCCSettings

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        confusion = class_confusion(batch.target_clips.logits, self.settings.temperature)
        return {"confusion": (self.settings.weight, confusion)}
