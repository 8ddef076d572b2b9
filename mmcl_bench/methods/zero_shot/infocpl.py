"""InfoCPL: several views of a clip, each with its own mixture of descriptions (Xu et al., IEEE TMM 2025).

Every head projects the feature and scores it with a text of the class: that of the whole motion plus the descriptions
that are most similar to the projected feature, the top k of them, weighted by attention. The loss is InfoNCE:
which of several clips a text belongs to, one of its class and the others not; in the first steps attention is
reversed, so that the least similar descriptions are learned from as well. A clip's score is the sum over heads.

Differences from the release: the texts that a class has here, eight descriptions in the place of 100, and half as many
heads; a clip scores with the logits softplus(D) that the loss compares, where the release scores with
-softplus(-D), which orders sums over heads otherwise (``as_released``). The step is chosen on pseudo-unseen classes,
not on the test clips. As in the release, the negatives of all clips of a batch are of the same drawn ranks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.methods.shared.pair_scorer import PairScorer, by_class
from mmcl_bench.training.loop import Losses

_DESCRIPTIONS = ("label", "head", "hands", "torso", "legs", "start", "middle", "end")
_Width = Annotated[int, Field(ge=1)]


class InfoCPLSettings(HeadSettings):
    """The defaults are the paper's 100 epochs of NTU-60 55/5, 15 of them warm-up, in steps."""

    steps: int = Field(default=28_700, ge=1)
    batch_size: int = Field(default=128, ge=2)
    rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=4_300, ge=0)
    decay: Literal["none", "cosine"] = "cosine"
    top_k: Annotated[tuple[Annotated[int, Field(ge=1, le=len(_DESCRIPTIONS))], ...], Field(min_length=1)] = (1, 2, 3, 4)
    """How many descriptions each head mixes."""
    hidden: tuple[_Width, _Width] = (1024, 512)
    """Widths of the hidden layers of each head's discriminator."""
    negatives: int = Field(default=8, ge=1)
    """Other clips that a clip is compared with."""
    reversed_share: float = Field(default=0.15, ge=0, le=1)
    """Of the steps, from the first on: those with reversed attention."""
    as_released: bool = False
    """Whether clips are scored otherwise than they are compared in training."""


class InfoCPLHead(Head):
    """Projections and discriminators; the text of the whole motion is the last slot."""

    def __init__(self, settings: InfoCPLSettings, slots: tuple[str, ...], n_features: int, n_text: int) -> None:
        super().__init__()
        self.settings, self.slots = settings, slots
        self.projections = nn.ModuleList(nn.Linear(n_features, n_text) for _ in settings.top_k)
        self.discriminators = nn.ModuleList(PairScorer(2 * n_text, *settings.hidden) for _ in settings.top_k)

    def losses(self, batch: HeadBatch) -> Losses:
        n = self.settings.negatives
        negatives = [drawn_negatives(batch.labels, n, batch.generator) for _ in self.projections]
        sign = -1.0 if batch.step <= self.settings.reversed_share * self.settings.steps else 1.0
        return self.losses_of(batch.features, self.stacked(batch.texts), batch.labels, negatives, sign)

    def losses_of(
        self, features: Tensor, texts: Tensor, labels: Tensor, negatives: Sequence[Tensor], sign: float
    ) -> dict[str, Tensor]:
        """Losses of features (B, D), the texts of the seen classes (S, P + 1, T) and labels (B,), for each head's
        negative clips (B, R) and the sign of attention."""
        itself = torch.arange(len(labels), device=labels.device)[:, None]
        by_head = []
        for head, others in enumerate(negatives):
            projected, mixed = self.projected(head, features), self.mixed(head, features, texts, sign)
            clips = torch.cat([itself, others], dim=1)
            own = mixed[clips, labels[:, None]]
            found = self.discriminators[head](projected[clips].flatten(0, 1), own.flatten(0, 1))
            by_head.append(F.cross_entropy(F.softplus(found).view_as(clips), torch.zeros_like(labels)))
        return {"loss": torch.stack(by_head).mean(), **{f"head {at + 1}": loss for at, loss in enumerate(by_head)}}

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        stacked = self.stacked(texts)
        heads = torch.stack([self.logits(head, features, stacked) for head in range(len(self.projections))])
        return (F.logsigmoid(heads) if self.settings.as_released else F.softplus(heads)).sum(0)

    def projected(self, head: int, features: Tensor) -> Tensor:
        """(B, D) -> (B, T), normalised."""
        projected: Tensor = self.projections[head](features)
        return F.layer_norm(projected, projected.shape[1:])

    def mixed(self, head: int, features: Tensor, texts: Tensor, sign: float = 1.0) -> Tensor:
        """(B, K, T), for each clip the text of each class (K, P + 1, T): its top k descriptions and the motion."""
        descriptions, motion = texts[:, :-1], texts[:, -1]
        similarity = torch.einsum("bt,kpt->bkp", self.projected(head, features), descriptions)
        logits = sign * similarity / math.sqrt(texts.shape[2])
        least = logits.topk(self.settings.top_k[head], dim=2).values[..., -1:]
        attention = logits.masked_fill(logits < least, -torch.inf).softmax(2)
        return torch.einsum("bkp,kpt->bkt", attention, descriptions) + motion

    def logits(self, head: int, features: Tensor, texts: Tensor) -> Tensor:
        """(B, K), what a head's discriminator says of clips and classes."""
        return by_class(self.discriminators[head], self.projected(head, features), self.mixed(head, features, texts))


class InfoCPL(HeadMethod):
    """Heads that mix the descriptions of a class."""

    name: ClassVar[str] = "infocpl"
    summary: ClassVar[str] = "several projections, each scored with its own mixture of a class's descriptions"
    kind: ClassVar[str] = "pair-scorer"
    published: ClassVar[str] = "IEEE TMM 2025"
    cost: ClassVar[str] = "a minute"
    text_slots: ClassVar[tuple[str, ...]] = (*_DESCRIPTIONS, "global")
    Settings: ClassVar[type[InfoCPLSettings]] = InfoCPLSettings
    settings: InfoCPLSettings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 400, "batch_size": 32, "rate": 3e-4, "warmup_steps": 40}
        quick |= {"hidden": (128, 64)}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> InfoCPLHead:
        return InfoCPLHead(self.settings, self.text_slots, n_features, texts[self.text_slots[0]].shape[1])


def drawn_negatives(labels: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """(B, R), for each clip R other ones of other classes: n, or as many as every clip of the batch has."""
    fewest = int((labels[:, None] != labels).sum(1).min())
    return of_ranks(labels, torch.randperm(fewest, generator=generator)[:n].to(labels.device))


def of_ranks(labels: Tensor, ranks: Tensor) -> Tensor:
    """(B, R), for each clip those of these ranks (R,), from 0, among the clips of other classes."""
    other = labels[:, None] != labels
    rank = torch.where(other, other.cumsum(1) - 1, -1)
    return (rank[:, None] == ranks[:, None]).int().argmax(2)
