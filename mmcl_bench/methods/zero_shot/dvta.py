"""DVTA: features aligned with texts by cosine and by a learned metric (Kuang et al., Pattern Recognition 2026).

A projector takes a feature to the space of the texts. A class has two texts, which the attention of a clip's
projected feature mixes. The direct branch is the cosine of both, the augmented one a network on the pair, whose
inputs carry no gradient; each is divided by a learned temperature. Their sum is held to the classes of a batch by a
KL divergence in both directions, and scores clips.

Differences from the release, which ``as_released`` takes back: in training each pair's text is mixed by the clip of
the pair, as it is in scoring, where the release mixes each clip's own text once and shows it to all clips; and the
learned metric ends in sigmoid(x) plus a small slope below zero, where the release jumps from 0.01 to 0.5 at zero. The
release's second text of a class is a description in context; here the two are the slots label and global. The step is
chosen on pseudo-unseen classes, not on the test clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.methods.shared.pair_scorer import PairScorer, by_class, same_class_divergence
from mmcl_bench.training.loop import Losses

_LEAK = 0.01


class DVTASettings(HeadSettings):
    """The defaults are the paper's 100 epochs of NTU-60 55/5, 15 of them warm-up, in steps."""

    steps: int = Field(default=28_700, ge=1)
    batch_size: int = Field(default=128, ge=2)
    rate: float = Field(default=1e-6, gt=0)
    warmup_steps: int = Field(default=4_300, ge=0)
    decay: Literal["none", "cosine"] = "cosine"
    metric_hidden: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1536, 768)
    """Widths of the learned metric's hidden layers."""
    temperature: float = Field(default=0.1, gt=0)
    """Of both branches at the start."""
    as_released: bool = False
    """Whether a clip's own text is mixed for all clips in training, and the learned metric jumps at zero."""


class Projector(nn.Module):
    """Four linear layers, the first with a residual connection."""

    def __init__(self, n_features: int, n_text: int) -> None:
        super().__init__()
        self.l0 = nn.Linear(n_features, n_features)
        self.l1 = nn.Linear(n_features, 384)
        self.l2 = nn.Linear(384, 512)
        self.l3 = nn.Linear(512, n_text)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, T)."""
        hidden = (self.l0(features) + features).relu()
        return self.l3(self.l2(self.l1(hidden).relu()).relu())  # type: ignore[no-any-return]


class DVTAHead(Head):
    """Both branches."""

    def __init__(self, settings: DVTASettings, slots: tuple[str, ...], n_features: int, n_text: int) -> None:
        super().__init__()
        self.slots, self.as_released = slots, settings.as_released
        self.projector = Projector(n_features, n_text)
        self.text_projector = nn.Linear(n_text, n_text)
        self.metric = PairScorer(2 * n_text, *settings.metric_hidden)
        self.temperatures = nn.Parameter(torch.full((2,), settings.temperature))

    def losses(self, batch: HeadBatch) -> Losses:
        return self.losses_of(batch.features, self.stacked(batch.texts), batch.labels)

    def losses_of(self, features: Tensor, texts: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of features (B, D), the texts of the seen classes (S, P, T) and labels (B,)."""
        projected = self.projector(F.normalize(features, dim=1))
        if self.as_released:
            own = self.mixed(projected, texts)[torch.arange(len(labels)), labels]
            direct, augmented = self.branches(projected, own.expand(len(labels), -1, -1))
        else:
            # Classes of the batch alone, each scored once.
            present, places = labels.unique(return_inverse=True)
            by_class = self.branches(projected, self.mixed(projected, texts[present]))
            direct, augmented = (similarity[:, places] for similarity in by_class)
        return same_class_divergence(direct + augmented, labels)

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        projected = self.projector(F.normalize(features, dim=1))
        direct, augmented = self.branches(projected, self.mixed(projected, self.stacked(texts)))
        return direct + augmented

    def mixed(self, projected: Tensor, texts: Tensor) -> Tensor:
        """(B, K, T), what a clip's projected feature (B, T) makes of the P texts of each class (K, P, T), projected."""
        texts = F.normalize(texts, dim=2)
        attention = torch.einsum("bt,kpt->bkp", projected, texts).softmax(2)
        projected_text: Tensor = self.text_projector(torch.einsum("bkp,kpt->bkt", attention, texts))
        return projected_text

    def branches(self, projected: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) direct and augmented similarities of projected features (B, T) and a clip's mixed texts (B, K, T)."""
        direct = torch.einsum("bt,bkt->bk", F.normalize(projected, dim=1), F.normalize(texts, dim=2))
        metric = by_class(self.metric, projected.detach(), texts.detach())
        return direct / self.temperatures[0], self.activated(metric) / self.temperatures[1]

    def activated(self, metric: Tensor) -> Tensor:
        """A sigmoid that is not flat below zero."""
        if self.as_released:
            return torch.where(metric > 0, metric.sigmoid(), _LEAK * (_LEAK * metric).exp())
        return metric.sigmoid() + _LEAK * metric.clamp(max=0)


class DVTA(HeadMethod):
    """Direct and augmented alignment on two texts."""

    name: ClassVar[str] = "dvta"
    summary: ClassVar[str] = "alignment by cosine and by a learned metric, two texts mixed by attention"
    kind: ClassVar[str] = "pair-scorer"
    published: ClassVar[str] = "Pattern Recognition 2026"
    cost: ClassVar[str] = "a minute"
    text_slots: ClassVar[tuple[str, ...]] = ("label", "global")
    Settings: ClassVar[type[DVTASettings]] = DVTASettings
    settings: DVTASettings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 300, "batch_size": 32, "rate": 1e-4, "warmup_steps": 30}
        quick |= {"metric_hidden": (128, 64)}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> DVTAHead:
        return DVTAHead(self.settings, self.text_slots, n_features, texts[self.text_slots[0]].shape[1])
