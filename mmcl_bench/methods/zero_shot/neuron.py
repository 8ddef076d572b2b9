"""Neuron: learned prototypes gather a clip's joints and frames in three rounds, each held to a finer text of its class.

Chen et al., "Neuron: Learning Context-Aware Evolving Representations for Zero-Shot Skeleton Action Recognition", CVPR
2025. In space, each prototype sums the joints that resemble it; from round to round a joint is heard by fewer of them.
In time, it sums the frames of a growing piece of the clip, gated with what it was before. The mean prototype of a
round is mapped to the space of texts, and a class scores the mean cosine of its ten most similar texts; the loss is
cross-entropy in both branches and all rounds.

What differs from paper and release: the release has ten texts of a language model for each round and branch, and here
they are the texts in words that there are (:data:`SPATIAL`, :data:`TEMPORAL`). The release counts a clip as right when
one of the two branches is right, which no classifier can do; here the score is the mean of both in the last round. It
looks at the unseen test clips in every epoch and turns them at random, and calibrates both branches on their labels;
here steps are chosen on pseudo-unseen classes. Its pieces of 5 and 10 frames are of 16; here they are shares of what
the extractor gives, but for ``as_released``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.training.loop import Losses

SPATIAL = (("label", "global"), ("label", "hands", "legs"), ("label", "head", "hands", "torso", "legs"))
"""Text slots of the three rounds in space: the whole body, its limbs, its parts."""
TEMPORAL = (("label", "start"), ("label", "start", "middle"), ("label", "start", "middle", "end"))
"""Text slots of the three rounds in time, of which each sees more frames."""
ROUNDS = 3
_PIECES = (5, 10, 16)
"""Frames of each round, of 16."""
_MOST_TEXTS = 10


class NeuronSettings(HeadSettings):
    """Settings of Neuron; the defaults are those of the paper, whose 30 epochs on NTU-60 are 17,000 steps."""

    prototypes: int = Field(default=80, ge=4)
    """Prototypes in each branch."""
    scale: float = Field(default=0.1, gt=0)
    """Factor of the cosines in the softmax."""
    steps: int = Field(default=17_000, ge=1)
    rate: float = Field(default=0.1, gt=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "sgd"
    weight_decay: float = Field(default=5e-4, ge=0)
    decay: Literal["none", "cosine", "steps"] = "steps"
    milestones: tuple[float, ...] = (4 / 30, 20 / 30)
    as_released: bool = False
    """Whether the first rounds see 5 and 10 frames of a clip of any length."""


def two_layers(width: int) -> nn.Sequential:
    """(..., D) -> (..., D), not negative."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


class Space(nn.Module):
    """Prototypes that gather joints."""

    def __init__(self, width: int, n_prototypes: int) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, width))
        self.updates = nn.ModuleList(two_layers(width) for _ in range(ROUNDS))

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Maps (N, D, T, V) -> the prototypes (N, P, D) of each round."""
        joints = maps.mean(2).transpose(1, 2)
        prototypes = self.prototypes.expand(len(maps), -1, -1)
        rounds = []
        for at, update in enumerate(self.updates, 1):
            similar = joints @ prototypes.transpose(1, 2)
            n_kept = similar.shape[2] - at * (similar.shape[2] // 4)
            closest = similar.argsort(dim=2, descending=True, stable=True)[:, :, :n_kept]
            heard = torch.zeros_like(similar).scatter(2, closest, 1.0)
            prototypes = update((similar.softmax(1) * heard).transpose(1, 2) @ joints)
            rounds.append(prototypes)
        return rounds


class Time(nn.Module):
    """Prototypes that gather frames."""

    def __init__(self, width: int, n_prototypes: int, as_released: bool) -> None:
        super().__init__()
        self.as_released = as_released
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, width))
        self.updates = nn.ModuleList(two_layers(width) for _ in range(ROUNDS))
        self.keeps = nn.ModuleList(two_layers(width) for _ in range(ROUNDS))
        self.takes = nn.ModuleList(two_layers(width) for _ in range(ROUNDS))

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Maps (N, D, T, V) -> the prototypes (N, P, D) of each round."""
        frames = maps.mean(3).transpose(1, 2)
        prototypes = self.prototypes.expand(len(maps), -1, -1)
        rounds = []
        for n, update, keep, take in zip(
            self.pieces(frames.shape[1]), self.updates, self.keeps, self.takes, strict=True
        ):
            piece = frames[:, :n]
            gathered = (piece @ prototypes.transpose(1, 2)).softmax(1).transpose(1, 2) @ piece
            prototypes = keep(gathered).sigmoid() * prototypes + take(gathered).sigmoid() * update(gathered)
            rounds.append(prototypes)
        return rounds

    def pieces(self, n_frames: int) -> tuple[int, ...]:
        """Frames from the start that each round sees."""
        if self.as_released:
            return *_PIECES[:-1], n_frames
        return tuple(max(1, round(n_frames * piece / _PIECES[-1])) for piece in _PIECES)


class EvolvingPrototypes(Head):
    """Both branches, each with a map to the space of texts."""

    def __init__(self, settings: NeuronSettings, n_features: int, text_width: int) -> None:
        super().__init__()
        self.settings = settings
        self.space = Space(n_features, settings.prototypes)
        self.time = Time(n_features, settings.prototypes, settings.as_released)
        self.from_space = nn.Sequential(nn.Linear(n_features, text_width), nn.ReLU())
        self.from_time = nn.Sequential(nn.Linear(n_features, text_width), nn.ReLU())

    def logits(
        self, maps: Tensor, spatial: Sequence[Tensor], temporal: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """(N, K) by round in space and in time, for the texts (K, n, E) of each round."""
        return (
            self._compared(self.space(maps), self.from_space, spatial),
            self._compared(self.time(maps), self.from_time, temporal),
        )

    def losses(self, batch: HeadBatch) -> Losses:
        return self.losses_of(
            _maps(batch.maps), batch.labels, described(batch.texts, SPATIAL), described(batch.texts, TEMPORAL)
        )

    def losses_of(
        self, maps: Tensor, labels: Tensor, spatial: Sequence[Tensor], temporal: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Losses of maps (B, D, T, V) and their classes (B,) among those of the texts."""
        both = self.logits(maps, spatial, temporal)
        in_space, in_time = (torch.stack([F.cross_entropy(one, labels) for one in rounds]).mean() for rounds in both)
        return {"loss": (in_space + in_time) / 2, "space": in_space, "time": in_time}

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        spatial, temporal = self.logits(_maps(maps), described(texts, SPATIAL), described(texts, TEMPORAL))
        return (spatial[-1] + temporal[-1]) / 2

    def _compared(self, rounds: Sequence[Tensor], project: nn.Module, texts: Sequence[Tensor]) -> list[Tensor]:
        found = []
        for prototypes, of_round in zip(rounds, texts, strict=True):
            embedded = F.normalize(project(prototypes.mean(1)), dim=1)
            cosines = torch.einsum("nd,ktd->nkt", embedded, F.normalize(of_round, dim=2))
            best = cosines.topk(min(_MOST_TEXTS, cosines.shape[2]), dim=2).values
            found.append(self.settings.scale * best.mean(2))
        return found


def described(texts: Mapping[str, Tensor], rounds: Sequence[Sequence[str]]) -> list[Tensor]:
    """The texts (K, n, E) of the classes for each round."""
    return [torch.stack([texts[slot] for slot in slots], dim=1) for slots in rounds]


def _maps(maps: Tensor | None) -> Tensor:
    if maps is None:
        raise ValueError("features by frame and joint are needed")
    return maps


class Neuron(HeadMethod):
    """Prototypes in space and time, compared with texts of three grains."""

    name: ClassVar[str] = "neuron"
    summary: ClassVar[str] = "prototypes that gather joints and frames in rounds, each compared with finer texts"
    kind: ClassVar[str] = "embedding"
    published: ClassVar[str] = "CVPR 2025"
    cost: ClassVar[str] = "a minute"
    needs_maps: ClassVar[bool] = True
    text_slots: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys(slot for slots in SPATIAL + TEMPORAL for slot in slots))
    Settings: ClassVar[type[NeuronSettings]] = NeuronSettings
    settings: NeuronSettings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        # With the paper's flat softmax nothing is learned in so few steps.
        training = {"scale": 10.0, "steps": 500, "optimizer": "adam", "rate": 1e-3, "decay": "none", "milestones": ()}
        quick = {**QUICK_FEATURES, "prototypes": 20, **training}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> EvolvingPrototypes:
        return EvolvingPrototypes(self.settings, n_features, texts[MAIN_TEXT].shape[1])
