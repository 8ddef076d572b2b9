"""MCD: two classifiers disagree where target clips are unlike the source's (Saito et al., CVPR 2018).

The classifiers maximise their disagreement on target clips and the features minimise it, in one step by a reversed
gradient, which the authors' code has as ``one_step``; its default takes turns instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.adversarial import reversal_factor, reverse_gradient
from mmcl_bench.nn.adaptation.consistency import balance_loss, classifier_discrepancy


class MCDSettings(AdaptationSettings):
    """Of the two classifiers."""

    weight: float = Field(default=1.0, ge=0)
    """Of the disagreement."""
    balance: float = Field(default=0.01, ge=0)
    """Weight of the loss against classes that no target clip is predicted to be in."""
    width: int = Field(default=1024, ge=1)
    """Of the classifiers' hidden layer."""


class MCD(AdaptationMethod):
    """Two classifiers with a hidden layer each; scores are the mean of their predictions."""

    name: ClassVar[str] = "mcd"
    summary: ClassVar[str] = "two classifiers, and features on which they agree for target clips"
    kind: ClassVar[str] = "adversarial"
    published: ClassVar[str] = "CVPR 2018"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    scores_with_parts: ClassVar[bool] = True
    Settings: ClassVar[type[MCDSettings]] = MCDSettings
    settings: MCDSettings

    def build_parts(self, width: int, n_classes: int, n_groups: int) -> nn.Module:
        hidden, dropout = self.settings.width, self.settings.dropout
        return nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, hidden),
                nn.BatchNorm1d(hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, n_classes),
            )
            for _ in range(2)
        )

    def logits_of(self, features: Tensor) -> Tensor:
        one, other = self._both(features)
        return torch.logaddexp(one.log_softmax(1), other.log_softmax(1))

    def classification_loss(self, batch: AdaptationBatch) -> Tensor:
        one, other = self._both(batch.source.features)
        return F.cross_entropy(one, batch.labels) + F.cross_entropy(other, batch.labels)

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        features = batch.target_clips.features
        against = self._both(reverse_gradient(features, reversal_factor(batch.progress)))
        balance = sum(balance_loss(logits) for logits in self._both(features))
        return {
            "disagreement": (-self.settings.weight, classifier_discrepancy(*against)),
            "balance": (self.settings.balance, torch.as_tensor(balance)),
        }

    def _both(self, features: Tensor) -> tuple[Tensor, Tensor]:
        one, other = cast(nn.ModuleList, self.parts)
        return one(features), other(features)
