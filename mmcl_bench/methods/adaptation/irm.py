"""IRM: one classifier is the best for every subject or data set (Arjovsky et al., 2019), as in DomainBed.

The weight of the penalty is 1 in the first tenth of the training, and then DomainBed's; above 1 the whole loss is
divided by it, as in the code of IRM's authors, so that the rate can stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.generalisation import invariance_penalty


class IRMSettings(AdaptationSettings):
    """The penalty."""

    penalty_weight: float = Field(default=100.0, ge=0)
    """Of the gradient penalty, after the warm-up."""
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of the training before the penalty has its weight."""


class IRM(AdaptationMethod):
    """The penalty on the gradient of each group by a scale of the logits."""

    name: ClassVar[str] = "irm"
    summary: ClassVar[str] = "generalisation: a classifier that is the best for every subject, or data set"
    kind: ClassVar[str] = "generalisation"
    published: ClassVar[str] = "arXiv 2019"
    groups_per_batch: ClassVar[int | None] = 4
    Settings: ClassVar[type[IRMSettings]] = IRMSettings
    settings: IRMSettings

    def classification_loss(self, batch: AdaptationBatch) -> Tensor:
        return batch.group_losses().mean() / max(1.0, self._weight(batch))

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        groups = batch.source_groups()[1]
        penalties = [invariance_penalty(batch.source.logits[at], batch.labels[at]) for at in groups]
        return {"invariance": (min(1.0, self._weight(batch)), torch.stack(penalties).mean())}

    def _weight(self, batch: AdaptationBatch) -> float:
        return 1.0 if batch.progress < self.settings.warmup else self.settings.penalty_weight
