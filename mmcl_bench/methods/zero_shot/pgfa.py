"""PGFA's aligner: features and class texts by contrast within a batch (Zhou et al., IEEE TIP 2025).

A linear map takes features to the space of the texts. The loss is the KL divergence between the softmax of the scaled
cosines of a batch's clips and texts, and targets that clips of one class share, in both directions.

Differences from the paper and its release: features are those of a frozen extractor, where theirs are trained with
the map, as in :mod:`.pgfa_end_to_end`; the step is chosen on pseudo-unseen classes, not on the test clips. The scale of
the cosines is learned; the release makes a parameter of it and never registers that, so that it stays at 1 / 0.07
(``as_released`` keeps it there). The prototypes that the paper builds from the test clips are method ``prototypes``.
Momentum is Nesterov's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.methods.shared.pair_scorer import same_class_divergence
from mmcl_bench.nn.losses import text_similarity
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.training.loop import Losses


class PGFASettings(HeadSettings):
    """The defaults are the paper's 50 epochs of NTU-60 55/5, 5 of them warm-up, in steps."""

    steps: int = Field(default=14_350, ge=1)
    batch_size: int = Field(default=128, ge=2)
    optimizer: Literal["adam", "adamw", "sgd"] = "sgd"
    rate: float = Field(default=0.05, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_steps: int = Field(default=1_435, ge=0)
    as_released: bool = False
    """Whether the scale of the cosines is fixed."""


def contrast(projected: Tensor, texts: Tensor, labels: Tensor, log_scale: Tensor) -> dict[str, Tensor]:
    """Losses of clips (B, T) in the space of texts, their classes' texts (B, T) and labels (B,)."""
    return same_class_divergence(log_scale.exp() * text_similarity(projected, texts), labels)


class PGFAHead(Head):
    """A linear map and the scale of cosines."""

    def __init__(self, settings: PGFASettings, n_features: int, n_text: int) -> None:
        super().__init__()
        self.adapter = nn.Linear(n_features, n_text)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)), requires_grad=not settings.as_released)

    def losses(self, batch: HeadBatch) -> Losses:
        return self.losses_of(batch.features, batch.texts[MAIN_TEXT][batch.labels], batch.labels)

    def losses_of(self, features: Tensor, texts: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of features (B, D), their classes' texts (B, T) and labels (B,)."""
        return contrast(self.adapter(features), texts, labels, self.log_scale)

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        return text_similarity(self.adapter(features), texts[MAIN_TEXT])


class PGFA(HeadMethod):
    """The aligner on the main text."""

    name: ClassVar[str] = "pgfa"
    summary: ClassVar[str] = "linear map of features to texts by contrast within a batch; PGFA without prototypes"
    kind: ClassVar[str] = "embedding"
    published: ClassVar[str] = "IEEE TIP 2025"
    cost: ClassVar[str] = "seconds"
    Settings: ClassVar[type[PGFASettings]] = PGFASettings
    settings: PGFASettings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 300, "warmup_steps": 30}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> PGFAHead:
        return PGFAHead(self.settings, n_features, texts[MAIN_TEXT].shape[1])

    def embed(self, clips: ClipView) -> np.ndarray:
        pooled = torch.from_numpy(self.features(clips).pooled).to(self._device)
        with torch.inference_mode():
            embedded: np.ndarray = self._head.get_submodule("adapter")(pooled).float().cpu().numpy()
        return embedded
