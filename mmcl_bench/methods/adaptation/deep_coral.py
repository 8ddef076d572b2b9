"""Deep CORAL: source and target features of equal mean and covariance (Sun and Saenko, ECCV workshops 2016).

With the mean, and a weight of 1, as in DomainBed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.moments import coral_loss


class DeepCORALSettings(AdaptationSettings):
    """The weight of the added loss, and the library's rate."""

    weight: float = Field(default=1.0, ge=0)
    """Of the distance of means and covariances, beside classification."""


class DeepCORAL(AdaptationMethod):
    """The distance of means and covariances."""

    name: ClassVar[str] = "deep-coral"
    summary: ClassVar[str] = "means and covariances of the features of source and target"
    kind: ClassVar[str] = "alignment"
    published: ClassVar[str] = "ECCV workshops 2016"
    cost: ClassVar[str] = "a minute"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[DeepCORALSettings]] = DeepCORALSettings
    settings: DeepCORALSettings

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        distance = coral_loss(batch.source.features, batch.target_clips.features)
        return {"covariance": (self.settings.weight, distance)}
