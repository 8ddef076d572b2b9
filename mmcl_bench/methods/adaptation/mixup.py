"""Mixup: lines between clips, mostly of different subjects or data sets, are learned as lines between their labels.

Yan et al., "Improve Unsupervised Domain Adaptation with Mixup Training", 2020, arXiv 2001.00677, as in DomainBed.
Differences: features of the bottleneck are mixed, not the clips themselves, which differ in their number of bodies; and
the partner of a clip is any clip of the batch, which in a quarter of pairs is of its own subject or data set.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings


class MixupSettings(AdaptationSettings):
    """How far clips are mixed."""

    alpha: float = Field(default=0.2, gt=0)
    """Both parameters of the beta distribution that the share of a clip is drawn from."""


class Mixup(AdaptationMethod):
    """A mix of two clips in place of each."""

    name: ClassVar[str] = "mixup"
    summary: ClassVar[str] = "generalisation: mixes of two source clips, labelled as such"
    kind: ClassVar[str] = "generalisation"
    published: ClassVar[str] = "arXiv 2020"
    groups_per_batch: ClassVar[int | None] = 4
    Settings: ClassVar[type[MixupSettings]] = MixupSettings
    settings: MixupSettings

    def classification_loss(self, batch: AdaptationBatch) -> Tensor:
        alpha = torch.tensor(self.settings.alpha)
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        features, labels = batch.source.features, batch.labels
        other = torch.randperm(len(labels)).to(labels.device)
        logits = self.logits_of(share * features + (1 - share) * features[other])
        return share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[other])
