"""PURLS: descriptions of body parts and phases look for what they describe in a clip (Zhu et al., CVPR 2024).

Tokens are the extractor's features of length one by frame and joint. The eight texts of a class (four body parts,
three phases, the whole) are queries: each gets a mean of the tokens, weighted by attention, and one network takes all
eight to the space of the texts. The loss is the contrast of a batch's clips with their own texts, a slot at a time,
each with a learned factor; products are not cosines, as the network ends in a tanh and is not normalised. The slot of
the whole scores.

The release queries a test clip with the texts of its true class and holds no other evaluation. That cannot be had
here, where no method is given test labels: a clip is queried with the texts of each candidate class and scored with
that class's text of the whole. In training, as in the release, a clip is queried with the texts of its own class
alone, and clips of one class are contrasted with each other. The rate is constant, where the release lowers it when
the loss on seen classes stands still for 25 epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.training.loop import Losses


class PURLSSettings(HeadSettings):
    """The defaults are the release's 100 epochs of NTU-60 55/5, in steps."""

    steps: int = Field(default=14_400, ge=1)
    batch_size: int = Field(default=256, ge=2)
    rate: float = Field(default=1e-4, gt=0)
    heads: int = Field(default=2, ge=1)
    """Heads of attention, which are averaged."""
    key_width: int = Field(default=150, ge=1)
    """Of queries and keys in each head of the attention."""
    hidden: int = Field(default=1024, ge=1)
    """Width of the network's hidden layer."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """On the input of the network, in training."""


class PURLSHead(Head):
    """The attention and the network after it; the slot of the whole is the last."""

    def __init__(self, settings: PURLSSettings, slots: tuple[str, ...], n_features: int, n_text: int) -> None:
        super().__init__()
        self.slots = slots
        self.query = nn.Linear(n_text, settings.heads * settings.key_width, bias=False)
        self.key = nn.Linear(n_features, settings.heads * settings.key_width, bias=False)
        # Heads are averaged before the softmax, so that they are one product.
        self.shrink = 1 / (settings.heads * math.sqrt(settings.key_width))
        self.encoder = nn.Sequential(
            nn.BatchNorm1d(len(slots) * n_features),
            nn.Dropout(settings.dropout),
            nn.Linear(len(slots) * n_features, settings.hidden),
            nn.SiLU(),
            nn.BatchNorm1d(settings.hidden),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, len(slots) * n_text),
            nn.Tanh(),
        )
        self.factors = nn.Parameter(torch.full((len(slots),), math.log(1 / 0.07)))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight)

    def losses(self, batch: HeadBatch) -> Losses:
        return self.losses_of(tokens_of(batch.maps), self.stacked(batch.texts)[batch.labels])

    def losses_of(self, tokens: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """Losses of tokens (B, P, D) and their classes' texts (B, 8, T)."""
        products = torch.einsum("ist,jst->sij", self.embedded(tokens, texts), texts) * self.factors[:, None, None]
        both_ways = products.log_softmax(2) + products.log_softmax(1)
        by_slot = -both_ways.diagonal(dim1=1, dim2=2).mean(1)
        return {"loss": by_slot.sum(), **dict(zip(self.slots, by_slot, strict=True))}

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        tokens = tokens_of(maps)
        return torch.stack([self.embedded(tokens, own[None])[:, -1] @ own[-1] for own in self.stacked(texts)], dim=1)

    def attended(self, tokens: Tensor, texts: Tensor) -> Tensor:
        """(B, 8, D), the tokens (B, P, D) as texts (B, 8, T), or (1, 8, T) for all clips, look at them."""
        logits = self.query(texts) @ self.key(tokens).transpose(1, 2) * self.shrink
        attended: Tensor = logits.softmax(2) @ tokens
        return attended

    def embedded(self, tokens: Tensor, texts: Tensor) -> Tensor:
        """(B, 8, T), the tokens (B, P, D) in the space of the texts that look at them."""
        embedded = self.encoder(self.attended(tokens, texts).flatten(1))
        return embedded.view(-1, *texts.shape[1:])  # type: ignore[no-any-return]


class PURLS(HeadMethod):
    """Part, phase and whole descriptions as queries of a clip's feature map."""

    name: ClassVar[str] = "purls"
    summary: ClassVar[str] = "descriptions of parts and phases attend to the feature map; queried with every class"
    kind: ClassVar[str] = "embedding"
    published: ClassVar[str] = "CVPR 2024"
    cost: ClassVar[str] = "a minute"
    text_slots: ClassVar[tuple[str, ...]] = ("head", "hands", "torso", "legs", "start", "middle", "end", "global")
    needs_maps: ClassVar[bool] = True
    Settings: ClassVar[type[PURLSSettings]] = PURLSSettings
    settings: PURLSSettings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 400, "batch_size": 64, "rate": 1e-3, "key_width": 32, "hidden": 128}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> PURLSHead:
        return PURLSHead(self.settings, self.text_slots, n_features, texts[self.text_slots[0]].shape[1])


def tokens_of(maps: Tensor | None) -> Tensor:
    """Feature maps (N, D, T', V) -> (N, T'V, D), features of length one by frame and joint."""
    if maps is None:
        raise ValueError("there are no feature maps")
    return F.normalize(maps.flatten(2).transpose(1, 2), dim=2)
