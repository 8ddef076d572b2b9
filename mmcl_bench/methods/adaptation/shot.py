"""SHOT: features move until the source's classifier is sure of target clips and uses all classes.

Liang, Hu, Feng, ICML 2020. Mean entropy minus entropy of the mean, and cross-entropy with the nearest class centroid,
which is found anew before each round. Difference from the paper: the classifier has no weight normalisation.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcl_bench.methods.shared.adaptation_method import DomainBatch
from mmcl_bench.methods.shared.source_free_method import SourceFreeMethod, SourceFreeSettings
from mmcl_bench.nn.adaptation.entropy import centroid_labels, information_maximisation


class SHOTSettings(SourceFreeSettings):
    """The weight of pseudo-labels."""

    pseudo_weight: float = Field(default=0.3, ge=0)
    """Of the cross-entropy with pseudo-labels."""


class SHOT(SourceFreeMethod):
    """Information maximisation and pseudo-labels."""

    name: ClassVar[str] = "shot"
    summary: ClassVar[str] = "source-free: sure and balanced predictions, and the nearest class centroid as label"
    kind: ClassVar[str] = "source-free"
    published: ClassVar[str] = "ICML 2020"
    Settings: ClassVar[type[SHOTSettings]] = SHOTSettings
    settings: SHOTSettings

    def begin_round(self, features: Tensor, logits: Tensor) -> None:
        self._labels = centroid_labels(features, logits)

    def target_loss(self, batch: DomainBatch) -> Tensor:
        labels = self._labels[batch.clips.to(self._labels.device)]
        pseudo = F.cross_entropy(batch.logits, labels)
        return information_maximisation(batch.logits) + self.settings.pseudo_weight * pseudo
