"""DAN: source and target features of equal distribution in five kernels (Long et al., ICML 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.moments import mmd_loss


class DANSettings(AdaptationSettings):
    """The weight of the added loss, and the library's rate."""

    rate: float = Field(default=0.003, gt=0)
    weight: float = Field(default=1.0, ge=0)
    """Of the discrepancy of both domains, beside classification."""


class DAN(AdaptationMethod):
    """The multi-kernel maximum mean discrepancy."""

    name: ClassVar[str] = "dan"
    summary: ClassVar[str] = "the maximum mean discrepancy of the features of source and target"
    kind: ClassVar[str] = "alignment"
    published: ClassVar[str] = "ICML 2015"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[DANSettings]] = DANSettings
    settings: DANSettings

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        distance = mmd_loss(batch.source.features, batch.target_clips.features)
        return {"discrepancy": (self.settings.weight, distance)}
