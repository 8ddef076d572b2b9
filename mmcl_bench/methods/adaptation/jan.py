"""JAN: source and target features and predictions of equal joint distribution (Long et al., ICML 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.moments import joint_mmd_loss


class JANSettings(AdaptationSettings):
    """The weight of the added loss, and the library's rate."""

    rate: float = Field(default=0.003, gt=0)
    weight: float = Field(default=1.0, ge=0)
    """Of the joint discrepancy of both domains, beside classification."""


class JAN(AdaptationMethod):
    """The joint maximum mean discrepancy, its quadratic estimate."""

    name: ClassVar[str] = "jan"
    summary: ClassVar[str] = "the maximum mean discrepancy of features and predictions together"
    kind: ClassVar[str] = "alignment"
    published: ClassVar[str] = "ICML 2017"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[JANSettings]] = JANSettings
    settings: JANSettings

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        source, target = batch.source, batch.target_clips
        distance = joint_mmd_loss(
            (source.features, source.logits.softmax(1)), (target.features, target.logits.softmax(1)), linear=False
        )
        return {"discrepancy": (self.settings.weight, distance)}
