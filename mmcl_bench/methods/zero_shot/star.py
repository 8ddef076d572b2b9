"""STAR: learned prompts attend to each body part, and parts are held to their own texts as well as to the label.

Chen et al., "Fine-Grained Side Information Guided Dual-Prompts for Zero-Shot Skeleton Action Recognition", ACM MM
2024. Of each part, as many numbers as there are prompts come from attention of these to its joints in all frames.
Their sum over parts is compared with the mapped label by cosine, each part alone with its mapped text; labels and
texts of the same class are drawn together. The losses are cross-entropies with weights 0.1, 1 and 0.1, without a
temperature.

What differs from paper and release: parts are those of the joint layout and of the class texts (head, hands, torso,
legs) instead of six of Kinect's. The release adds a learned vector for each class to part texts, unseen ones included,
and draws labels and texts of unseen classes together in training; here the loss is over the seen classes and there is
no such table, as one that all classes share would be a bias of the map after it. ``as_released`` brings both back:
then texts of unseen classes are read in training. The release merges bodies by misreading memory, turns test clips at
random and reports the best epoch on the unseen test clips; here bodies are averaged, nothing is random and steps are
chosen on pseudo-unseen classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.nn.losses import text_similarity
from mmcl_bench.skeleton.layouts import PARTS, get_layout
from mmcl_bench.training.loop import Losses

_ATTENTION_HEADS = 4
_LABEL_WEIGHT = _TEXTS_WEIGHT = 0.1


class StarSettings(HeadSettings):
    """Settings of STAR; the defaults are those of the paper, whose 40 epochs on NTU-60 are 23,000 steps."""

    width: int = Field(default=768, ge=_ATTENTION_HEADS, multiple_of=_ATTENTION_HEADS)
    """Of the prompts."""
    hidden: int = Field(default=256, ge=1)
    """Of the maps of texts."""
    prompts: int = Field(default=100, ge=1)
    """Prompts of a part, and dimensions of the shared space."""
    steps: int = Field(default=23_000, ge=1)
    rate: float = Field(default=0.01, gt=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "sgd"
    weight_decay: float = Field(default=5e-4, ge=0)
    decay: Literal["none", "cosine", "steps"] = "steps"
    milestones: tuple[float, ...] = (10 / 40, 20 / 40)
    as_released: bool = False
    """Whether every class, unseen ones included, has a learned vector, and all texts are drawn to their labels."""


class Part(nn.Module):
    """One body part: prompts that attend to its joints in all frames."""

    def __init__(self, settings: StarSettings, n_features: int) -> None:
        super().__init__()
        width = settings.width
        self.prompts = nn.Parameter(torch.randn(settings.prompts, width))
        self.mixing = nn.Parameter(torch.randn(width, width))
        self.attention = nn.MultiheadAttention(
            width, _ATTENTION_HEADS, kdim=n_features, vdim=n_features, batch_first=True
        )
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def found(self, maps: Tensor) -> Tensor:
        """Maps (N, D, T, J) of the part's joints -> what its prompts found (N, P, W)."""
        places = maps.flatten(2).transpose(1, 2)
        attended, _ = self.attention(self.prompts.expand(len(maps), -1, -1), places, places, need_weights=False)
        layers: Tensor = self.layers(attended)
        return layers

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, D, T, J) -> (N, P)."""
        return (self.found(maps) * (self.prompts @ self.mixing)).sum(2)


def text_map(settings: StarSettings, text_width: int) -> nn.Sequential:
    """(..., E) -> (..., P)."""
    return nn.Sequential(
        nn.Linear(text_width, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, settings.prompts)
    )


class PartPrompts(Head):
    """Body parts and labels in one space."""

    def __init__(
        self,
        settings: StarSettings,
        n_features: int,
        joints: Sequence[Sequence[int]],
        text_width: int,
        n_table: int = 0,
    ) -> None:
        """``joints`` are those of each part; ``n_table`` classes have a learned vector for each part."""
        super().__init__()
        self.settings = settings
        self.joints = [list(part) for part in joints]
        self.parts = nn.ModuleList(Part(settings, n_features) for _ in joints)
        self.text_maps = nn.ModuleList(text_map(settings, text_width) for _ in joints)
        self.label = text_map(settings, text_width)
        self.table = nn.Parameter(torch.randn(len(joints), n_table, text_width)) if n_table else None
        self.all_texts: tuple[Tensor, Tensor, Tensor] | None = None
        """As released, what is learned from in the place of the seen classes' texts: label texts (K, E), part texts
        (K, parts, E) and the columns (S,) of seen classes."""

    def visual(self, maps: Tensor) -> Tensor:
        """Maps (N, D, T, V) -> (N, parts, P)."""
        return torch.stack([part(maps[..., at]) for part, at in zip(self.parts, self.joints, strict=True)], dim=1)

    def described(self, part_texts: Tensor) -> Tensor:
        """Part texts (K, parts, E) -> (parts, K, P)."""
        texts = part_texts.transpose(0, 1)
        texts = texts if self.table is None else texts + self.table
        return torch.stack([mapped(one) for mapped, one in zip(self.text_maps, texts, strict=True)])

    def losses(self, batch: HeadBatch) -> Losses:
        if batch.maps is None:
            raise ValueError("features by frame and joint are needed")
        if self.all_texts is not None:
            labels, parts, seen = (each.to(batch.labels.device) for each in self.all_texts)
        else:
            labels, parts = label_and_parts(batch.texts)
            seen = torch.arange(len(labels), device=labels.device)
        return self.losses_of(batch.maps, batch.labels, labels, parts, seen)

    def losses_of(
        self, maps: Tensor, labels: Tensor, label_texts: Tensor, part_texts: Tensor, seen: Tensor
    ) -> dict[str, Tensor]:
        """Losses of maps (B, D, T, V) and their classes (B,), which number ``seen``: columns (S,) of the classes of
        label texts (C, E) and part texts (C, parts, E)."""
        visual, label, parts = self.visual(maps), self.label(label_texts), self.described(part_texts)
        whole = F.cross_entropy(text_similarity(visual.sum(1), label[seen]), labels)
        by_part = [F.cross_entropy(text_similarity(visual[:, at], part[seen]), labels) for at, part in enumerate(parts)]
        same = torch.arange(len(label), device=label.device)
        to_label = [F.cross_entropy(part @ label.T, same) for part in parts]
        losses = {"label": whole, "parts": torch.stack(by_part).mean(), "texts": torch.stack(to_label).mean()}
        return {"loss": _LABEL_WEIGHT * whole + losses["parts"] + _TEXTS_WEIGHT * losses["texts"], **losses}

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        if maps is None:
            raise ValueError("features by frame and joint are needed")
        return text_similarity(self.visual(maps).sum(1), self.label(label_and_parts(texts)[0]))


def label_and_parts(texts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Label texts (K, E) and part texts (K, parts, E) of the classes, of unit variance."""
    scale = math.sqrt(texts["label"].shape[1])
    return scale * texts["label"], scale * torch.stack([texts[part] for part in PARTS], dim=1)


class STAR(HeadMethod):
    """Prompts of body parts, compared with labels and texts of parts."""

    name: ClassVar[str] = "star"
    summary: ClassVar[str] = "prompts that attend to body parts, compared with labels and texts of parts"
    kind: ClassVar[str] = "embedding"
    published: ClassVar[str] = "ACM MM 2024"
    cost: ClassVar[str] = "a minute"
    needs_maps: ClassVar[bool] = True
    text_slots: ClassVar[tuple[str, ...]] = ("label", *PARTS)
    Settings: ClassVar[type[StarSettings]] = StarSettings
    settings: StarSettings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        net = {"width": 64, "hidden": 64, "prompts": 32}
        training = {"steps": 500, "optimizer": "adam", "rate": 1e-3, "decay": "none", "milestones": ()}
        quick = {**QUICK_FEATURES, **net, **training}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    @property
    def uses_unseen_texts(self) -> bool:
        return self.settings.as_released

    def build(self, n_features: int, texts: Texts) -> PartPrompts:
        layout = get_layout(self._extractor.to_saved().layout)
        joints = [[layout.index(joint) for joint in layout.parts[part]] for part in PARTS]
        labels, parts = label_and_parts({slot: torch.from_numpy(rows) for slot, rows in texts.items()})
        n_table = len(labels) if self.settings.as_released else 0
        head = PartPrompts(self.settings, n_features, joints, labels.shape[1], n_table)
        if self.settings.as_released:
            head.all_texts = labels, parts, torch.from_numpy(self.seen).nonzero().squeeze(1)
        return head
