"""NRC: a target clip is predicted as its neighbours and theirs are (Yang et al., NeurIPS 2021).

The published code gives every neighbour the weight of one that is not mutual, as it overwrites its weights;
``as_released`` brings that back.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcl_bench.methods.shared.adaptation_method import DomainBatch
from mmcl_bench.methods.shared.source_free_method import SourceFreeMethod, SourceFreeSettings
from mmcl_bench.nn.adaptation.entropy import neighbour_loss


class NRCSettings(SourceFreeSettings):
    """How many neighbours count."""

    rate: float = Field(default=1e-3, gt=0)
    neighbours: int = Field(default=5, ge=1)
    """Nearest target clips of a clip that count."""
    expanded: int = Field(default=5, ge=1)
    """Neighbours of a neighbour."""
    as_released: bool = False
    """Whether every neighbour weighs 0.1, mutual or not."""


class NRC(SourceFreeMethod):
    """Neighbourhoods in the bottleneck's features."""

    name: ClassVar[str] = "nrc"
    summary: ClassVar[str] = "source-free: predictions agree with those of the nearest target clips"
    kind: ClassVar[str] = "source-free"
    published: ClassVar[str] = "NeurIPS 2021"
    Settings: ClassVar[type[NRCSettings]] = NRCSettings
    settings: NRCSettings

    def begin_round(self, features: Tensor, logits: Tensor) -> None:
        self._features, self._predictions = F.normalize(features, dim=1), logits.softmax(1)

    def target_loss(self, batch: DomainBatch) -> Tensor:
        settings, most = self.settings, len(self._features) - 1
        return neighbour_loss(
            batch.logits,
            batch.features,
            batch.clips.to(self._features.device),
            self._features,
            self._predictions,
            min(settings.neighbours, most),
            min(settings.expanded, most),
            settings.as_released,
        )
