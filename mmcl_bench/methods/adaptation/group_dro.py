"""GroupDRO: subjects or data sets that are hard weigh more (Sagawa et al., ICLR 2020), as in DomainBed.

Difference: a batch has four groups, not all of them, and their weights are made to sum to one within it.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.generalisation import WorstDomain


class GroupDROSettings(AdaptationSettings):
    """How fast weights change."""

    eta: float = Field(default=0.01, gt=0)
    """How fast a group's weight follows its loss."""


class GroupDRO(AdaptationMethod):
    """The losses of the groups, weighed by how hard each has been."""

    name: ClassVar[str] = "group-dro"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "generalisation: hard subjects, or data sets, weigh more"
    kind: ClassVar[str] = "generalisation"
    published: ClassVar[str] = "ICLR 2020"
    groups_per_batch: ClassVar[int | None] = 4
    Settings: ClassVar[type[GroupDROSettings]] = GroupDROSettings
    settings: GroupDROSettings

    def build_parts(self, width: int, n_classes: int, n_groups: int) -> nn.Module:
        return WorstDomain(n_groups, self.settings.eta)

    def classification_loss(self, batch: AdaptationBatch) -> Tensor:
        loss: Tensor = self.parts(batch.group_losses(), batch.source_groups()[0])
        return loss
