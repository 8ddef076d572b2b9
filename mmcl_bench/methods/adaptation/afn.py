"""AFN: features of larger norm carry over better, so norms grow in both domains (Xu et al., ICCV 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.moments import norm_growth_loss


class AFNSettings(AdaptationSettings):
    """The weight of the added loss, and the library's rate."""

    rate: float = Field(default=0.001, gt=0)
    weight: float = Field(default=0.05, ge=0)
    """Of the loss of norms, beside classification."""
    growth: float = Field(default=1.0, gt=0)
    """By how much a norm is to grow."""


class AFN(AdaptationMethod):
    """The stepwise growth of norms."""

    name: ClassVar[str] = "afn"
    summary: ClassVar[str] = "features whose norm grows step by step, in source and target"
    kind: ClassVar[str] = "alignment"
    published: ClassVar[str] = "ICCV 2019"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[AFNSettings]] = AFNSettings
    settings: AFNSettings

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        grown = [norm_growth_loss(side.features, self.settings.growth) for side in (batch.source, batch.target_clips)]
        return {"norm": (self.settings.weight, grown[0] + grown[1])}
