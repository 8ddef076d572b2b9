"""CORAL over subjects or data sets: features of all groups have one mean and covariance, as in DomainBed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.moments import coral_loss


class CoralOverGroupsSettings(AdaptationSettings):
    """The weight of the added loss."""

    weight: float = Field(default=1.0, ge=0)
    """Of the distance of the groups' means and covariances, beside classification."""


class CoralOverGroups(AdaptationMethod):
    """The mean distance of two groups of a batch."""

    name: ClassVar[str] = "coral-over-groups"
    summary: ClassVar[str] = "generalisation: features of one mean and covariance for all subjects, or data sets"
    kind: ClassVar[str] = "generalisation"
    published: ClassVar[str] = "ICLR 2021"
    groups_per_batch: ClassVar[int | None] = 4
    Settings: ClassVar[type[CoralOverGroupsSettings]] = CoralOverGroupsSettings
    settings: CoralOverGroupsSettings

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        of_groups = [batch.source.features[at] for at in batch.source_groups()[1]]
        distances = [coral_loss(one, other) for one, other in combinations(of_groups, 2)]
        return {"covariance": (self.settings.weight, torch.stack(distances).mean())} if distances else {}
