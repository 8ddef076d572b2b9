"""Late fusion of a skeleton network and a classifier of frozen RGB features: the upper bound with RGB at test.

What co-learning can gain from images is bounded by what a method gains that also has them when it scores. The two are
trained apart. Their log probabilities are added with weights that a first fit chooses on held-out training subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmcl_bench.core.errors import UserError
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared.network_method import NetworkMethod
from mmcl_bench.methods.shared.network_settings import NetworkSettings
from mmcl_bench.methods.shared.skeleton_network import SkeletonNetwork
from mmcl_bench.protocols.problem import ClassTable, ClipView, Context, FitReport, LabelledClips, Problem
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout

WEIGHTS = np.linspace(0, 1, 21)
_LEAST = -50.0
"""Log probability of a class that the images' classifier has not seen."""


class RGBFusionSettings(NetworkSettings):
    """Settings of the network, and of the classifier of images."""

    rgb_encoder: str = "efficientnet-lite0"
    """The frozen encoder of images, a name of ``mmcl-bench list encoders``."""
    C: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    """Inverse strength of the penalty of the logistic regression on image features."""
    rgb_weight: float | None = Field(default=None, ge=0, le=1)
    """Weight of the images, that of the skeleton being 1 minus it; without it, chosen on held-out training subjects."""


class RGBFusion(NetworkMethod):
    """``skeleton-only`` and a logistic regression on image features, fused by a weighted sum of log probabilities."""

    name: ClassVar[str] = "rgb-fusion"
    summary: ClassVar[str] = "upper bound with RGB at test: CTR-GCN and RGB features, fused late"
    kind: ClassVar[str] = "fusion"
    cost: ClassVar[str] = "minutes"
    version: ClassVar[int] = 2
    families: ClassVar[frozenset[str]] = frozenset({"supervised"})
    scores_with: ClassVar[frozenset[Modality]] = frozenset({Modality.RGB})
    Settings = RGBFusionSettings
    settings: RGBFusionSettings

    def encoders(self) -> Mapping[Modality, str]:
        return {Modality.RGB: self.settings.rgb_encoder}

    def selects(self, family: str) -> bool:
        return self.settings.rgb_weight is None or super().selects(family)

    def may_begin_before_choice(self, n_clips: int) -> bool:
        return False

    def build(
        self, layout: Layout, classes: ClassTable, feature_dims: Mapping[Modality, int], generator: torch.Generator
    ) -> SkeletonNetwork:
        return SkeletonNetwork(self.settings, layout, classes, generator)

    def fit(self, problem: Problem, context: Context) -> FitReport:
        if Modality.RGB not in problem.train.features:
            raise UserError(
                f"{problem.task}: method {self.name} scores with images, which the data set lacks; make them with "
                "mmcl-bench features build, or choose a method that needs skeletons alone"
            )
        chooses_epoch = super().selects(problem.family)
        # Features of images teach nothing here, so the network is that of skeleton-only.
        alone = replace(problem.train, features={})
        held_out = problem.validation if chooses_epoch else None
        report = super().fit(replace(problem, train=alone, validation=held_out), context)
        self._rgb = make_pipeline(StandardScaler(), LogisticRegression(C=self.settings.C, max_iter=500))
        self._rgb.fit(problem.train.features[Modality.RGB], problem.train.labels)
        self._weight = self._chosen_weight(problem, context.chosen or {})
        report.chosen["rgb_weight"] = self._weight
        return report

    def score(self, clips: ClipView) -> np.ndarray:
        skeleton, rgb = self._log_probabilities(clips)
        return (1 - self._weight) * skeleton + self._weight * rgb

    def save(self, folder: Path) -> list[str]:
        return []

    def load(self, folder: Path, device: str = "cpu") -> None:
        Method.load(self, folder, device)  # refuses, as it keeps no model

    def scoring_network(self, *_: Any, **__: Any) -> None:  # type: ignore[override]
        return None

    def fitted_network(self) -> None:  # type: ignore[override]
        return None

    def dense_scorer(self) -> None:  # type: ignore[override]
        return None

    def _chosen_weight(self, problem: Problem, chosen: Mapping[str, Any]) -> float:
        if self.settings.rgb_weight is not None:
            return self.settings.rgb_weight
        if problem.validation is None:
            return float(chosen.get("rgb_weight", 0.5))
        return self._best_weight(problem.validation, problem)

    def _best_weight(self, held_out: LabelledClips, problem: Problem) -> float:
        """The weight of the best main metric on held-out clips; of equal ones, that of the least log loss."""
        skeleton, rgb = self._log_probabilities(held_out.clips)
        metric, columns = METRICS.get(problem.metric), np.arange(len(problem.classes))

        def merit(weight: float) -> tuple[float, float]:
            scores = (1 - weight) * skeleton + weight * rgb
            probabilities = np.exp(log_softmax(scores.astype(np.float64), axis=1))
            loss = log_loss(held_out.labels, probabilities, labels=columns)
            return metric(Scored(scores, held_out.labels, problem.classes.seen)), -loss

        best: float = max(WEIGHTS.tolist(), key=merit)
        return best

    def _log_probabilities(self, clips: ClipView) -> tuple[np.ndarray, np.ndarray]:
        """float32 (N, K) of the skeleton, and of the images."""
        if Modality.RGB not in clips.features:
            raise UserError(f"method {self.name} needs image features of every clip that it scores")
        skeleton = log_softmax(super().score(clips), axis=1)
        rgb = np.full_like(skeleton, _LEAST)
        found = self._rgb.predict_log_proba(clips.features[Modality.RGB])
        rgb[:, self._rgb.classes_] = np.maximum(found, _LEAST)
        return skeleton, rgb
