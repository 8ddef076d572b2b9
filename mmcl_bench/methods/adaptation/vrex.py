"""VREx: subjects or data sets of equal loss (Krueger et al., ICML 2021), as in DomainBed.

The weight of the penalty is 1 in the first tenth of the training, and then DomainBed's; above 1 the whole loss is
divided by it, as in the code of IRM's authors, so that the rate can stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.generalisation import risk_variance


class VRExSettings(AdaptationSettings):
    """The penalty."""

    penalty_weight: float = Field(default=10.0, ge=0)
    """Of the variance of the groups' losses, after the warm-up."""
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of the training before the penalty has its weight."""


class VREx(AdaptationMethod):
    """The variance of the losses of the groups."""

    name: ClassVar[str] = "vrex"
    summary: ClassVar[str] = "generalisation: equal losses of all subjects, or data sets"
    kind: ClassVar[str] = "generalisation"
    published: ClassVar[str] = "ICML 2021"
    groups_per_batch: ClassVar[int | None] = 4
    Settings: ClassVar[type[VRExSettings]] = VRExSettings
    settings: VRExSettings

    def classification_loss(self, batch: AdaptationBatch) -> Tensor:
        return batch.group_losses().mean() / max(1.0, self._weight(batch))

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        return {"variance": (min(1.0, self._weight(batch)), risk_variance(batch.group_losses()))}

    def _weight(self, batch: AdaptationBatch) -> float:
        return 1.0 if batch.progress < self.settings.warmup else self.settings.penalty_weight
