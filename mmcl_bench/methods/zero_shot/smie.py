"""SMIE: a network that tells a clip's own text from others by mutual information (Zhou et al., ACM MM 2023).

A discriminator D(s, t) is trained to tell a feature s with the text t of its class from the feature of another clip
with that text; the mutual information MI(s, t) is bounded by mean(-softplus(-D(s, t))) - mean(softplus(D(s', t))), s'
the next clip of the batch. The temporal constraint asks that MI falls by a margin when frames are hidden: those with
most motion, and some of the rest at random.

Differences from the release: features are normalised for scoring as they are in training, which the release forgets
(``as_released`` forgets it too); the step is chosen on pseudo-unseen classes, not on the test clips. The random
frames are drawn for every clip by itself, ``masks`` times before training, since a frozen extractor then sees each
clip that often and not anew in every step; shares of a clip's own frames stand for 15 and 15 of 50. As in the
release, the next clip of the batch may be of the same class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, QUICK_FEATURES, FeatureClips, Texts
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.methods.shared.pair_scorer import PairScorer, by_class
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.training.loop import Losses

HIDDEN_SHARE = 0.3
"""Of a clip's frames: those with most motion that are hidden, and as many of the rest."""


class SMIESettings(HeadSettings):
    """The defaults are the paper's 100 epochs of NTU-60 55/5, 15 of them warm-up, in steps."""

    steps: int = Field(default=28_700, ge=1)
    batch_size: int = Field(default=128, ge=2)
    rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=4_300, ge=0)
    decay: Literal["none", "cosine"] = "cosine"
    hidden: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1024, 512)
    """Widths of the discriminator's hidden layers."""
    margin: float = Field(default=0.1, ge=0)
    """By how much the mutual information is to fall when frames are hidden."""
    temporal_weight: float = Field(default=0.5, ge=0)
    """Of the loss of hidden frames."""
    masks: int = Field(default=4, ge=1)
    """How many times frames are hidden in each training clip."""
    as_released: bool = False
    """Whether features are not normalised for scoring."""


class SMIEHead(Head):
    """The discriminator."""

    def __init__(self, settings: SMIESettings, n_features: int, n_text: int, masked: Tensor) -> None:
        super().__init__()
        self.settings = settings
        self.discriminator = PairScorer(n_features + n_text, *settings.hidden)
        self.masked = masked
        """float32 (R, N, D), features of all training clips with frames hidden in R ways."""

    def losses(self, batch: HeadBatch) -> Losses:
        way = int(torch.randint(len(self.masked), (1,), generator=batch.generator))
        masked = self.masked[way, batch.at].to(batch.features)
        return self.losses_of(batch.features, masked, batch.texts[MAIN_TEXT][batch.labels])

    def losses_of(self, features: Tensor, masked: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """Losses of features (B, D), those with frames hidden (B, D), and their classes' texts (B, T)."""
        features, masked = _normalised(features), _normalised(masked)
        others = F.softplus(self.discriminator(features.roll(-1, 0), texts)).mean()
        whole, partly = (F.logsigmoid(self.discriminator(some, texts)).mean() - others for some in (features, masked))
        temporal = F.relu(self.settings.margin - (whole - partly))
        return {"loss": self.settings.temporal_weight * temporal - whole, "alignment": -whole, "temporal": temporal}

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        given = features if self.settings.as_released else _normalised(features)
        return F.logsigmoid(by_class(self.discriminator, given, texts[MAIN_TEXT]))


class SMIE(HeadMethod):
    """A discriminator of pairs on the main text."""

    name: ClassVar[str] = "smie"
    summary: ClassVar[str] = "discriminator of features and texts by mutual information, with hidden frames"
    kind: ClassVar[str] = "pair-scorer"
    published: ClassVar[str] = "ACM MM 2023"
    cost: ClassVar[str] = "a minute"
    Settings: ClassVar[type[SMIESettings]] = SMIESettings
    settings: SMIESettings
    _masked: Tensor = torch.empty(0)

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 1000, "batch_size": 64, "rate": 1e-4, "warmup_steps": 100}
        quick |= {"hidden": (256, 128), "masks": 1}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> SMIEHead:
        return SMIEHead(self.settings, n_features, texts[MAIN_TEXT].shape[1], self._masked)

    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        generator = np.random.default_rng(derive_seed(context.seed, "masks"))
        views = (with_frames_hidden(problem.train.clips, generator) for _ in range(self.settings.masks))
        self._masked = torch.stack([torch.from_numpy(self._extractor.features(view).pooled) for view in views])
        return super().learn(train, problem, context)


def with_frames_hidden(clips: ClipView, generator: np.random.Generator) -> ClipView:
    """The clips without some of their frames, and without bodies that are in none of the others."""
    hidden = [_with_frames_hidden(clips.bodies(at), int(clips.n_frames[at]), generator) for at in range(len(clips))]
    return ClipView([bodies for bodies, _ in hidden], [n_frames for _, n_frames in hidden], clips.layout)


def calm_frames(positions: np.ndarray, n: int) -> np.ndarray:
    """(n,), in order, the frames of ``positions`` (T, ...) with the least motion: squared steps to both neighbours."""
    moves = np.diff(positions, axis=0)
    steps = np.square(moves).reshape(len(moves), math.prod(moves.shape[1:])).sum(1)
    motion = np.append(steps, 0) + np.append(0, steps)
    return np.sort(np.argsort(motion, kind="stable")[:n])


def _with_frames_hidden(
    bodies: tuple[BodyTrack, ...], n_frames: int, generator: np.random.Generator
) -> tuple[list[BodyTrack], int]:
    if not bodies:
        return [], n_frames
    positions = np.zeros((n_frames, len(bodies), *bodies[0].positions.shape[1:]), dtype=np.float32)
    there = np.zeros((n_frames, len(bodies)), dtype=bool)
    for number, body in enumerate(bodies):
        within = slice(body.start, body.start + len(body.positions))
        positions[within, number], there[within, number] = body.positions, True
    n_hidden = int(HIDDEN_SHARE * n_frames)
    kept = calm_frames(positions, n_frames - n_hidden)
    kept = np.sort(generator.choice(kept, n_frames - 2 * n_hidden, replace=False))
    tracks = []
    for number in np.flatnonzero(there[kept].any(0)).tolist():
        (frames,) = np.nonzero(there[kept, number])
        tracks.append(BodyTrack(int(frames[0]), positions[kept, number][frames]))
    return tracks or list(bodies), len(kept) if tracks else n_frames


def _normalised(features: Tensor) -> Tensor:
    return F.layer_norm(features, features.shape[1:])
