"""ESZSL: a bilinear map between features and class texts, in closed form.

Romera-Paredes and Torr, "An Embarrassingly Simple Approach to Zero-Shot Learning", ICML 2015. With features X (N, D),
targets Y (N, S), 1 for a clip's own class and -1 for the others, and texts T (S, E) of the seen classes:
V = (X'X + gamma I)^-1 X'Y T (T'T + lambda I)^-1, and a clip x scores x V t with the text t of a class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from scipy.linalg import solve

from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, FeatureClips, FeatureMethod, FeatureSettings, Texts
from mmcl_bench.protocols.problem import Context, FitReport, Problem

_Penalties = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class ESZSL(FeatureMethod):
    """Both penalties are chosen on validation."""

    name: ClassVar[str] = "eszsl"
    summary: ClassVar[str] = "bilinear map between extractor features and class texts, in closed form"
    kind: ClassVar[str] = "closed-form"
    published: ClassVar[str] = "ICML 2015"
    cost: ClassVar[str] = "seconds"

    class Settings(FeatureSettings):
        feature_penalties: _Penalties = (1e-2, 1.0, 1e2, 1e4)
        """gamma, to choose from."""
        text_penalties: _Penalties = (1e-3, 1e-2, 1e-1, 1.0)
        """lambda, to choose from."""

    settings: Settings

    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        texts = self.texts[MAIN_TEXT][self.seen].astype(np.float64)
        if context.chosen is not None:
            self._map = self._solved(train, texts, context.chosen["gamma"], context.chosen["lambda"])
            return FitReport(chosen={key: context.chosen[key] for key in ("gamma", "lambda")})

        maps: dict[tuple[float, float], np.ndarray] = {}

        def solved() -> Iterator[tuple[float, float]]:
            for choice in product(self.settings.feature_penalties, self.settings.text_penalties):
                self._map = maps[choice] = self._solved(train, texts, *choice)
                yield choice

        self._maps = maps
        figures = self.validation_figures(problem, solved())
        gamma, penalty = self.choose("gamma, lambda", figures)
        for each in self.of_draws:
            each._map = each._maps[gamma, penalty]
        notes = {"validation by gamma, lambda": {str(choice): figure for choice, figure in figures.items()}}
        return FitReport(chosen={"gamma": gamma, "lambda": penalty}, notes=notes)

    def score_features(self, features: Features, texts: Texts) -> np.ndarray:
        scores: np.ndarray = self._standardised(features.pooled) @ self._map @ texts[MAIN_TEXT].T
        return scores

    def to_learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {"map": self._map, "mean": self._mean, "scale": self._scale}, {}

    def take_learned(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], device: str) -> None:
        self._map, self._mean, self._scale = arrays["map"], arrays["mean"], arrays["scale"]

    def _solved(self, train: FeatureClips, texts: np.ndarray, gamma: float, penalty: float) -> np.ndarray:
        pooled = train.features.pooled.astype(np.float64)
        self._mean, self._scale = pooled.mean(0), np.maximum(pooled.std(0), 1e-6)
        features, columns = self._standardised(pooled), np.flatnonzero(self.seen)
        targets = np.where(train.labels[:, None] == columns, 1.0, -1.0)
        left = features.T @ features + gamma * np.eye(features.shape[1])
        right = texts.T @ texts + penalty * np.eye(texts.shape[1])
        by_features = solve(left, features.T @ targets @ texts, assume_a="pos")
        return np.ascontiguousarray(solve(right, by_features.T, assume_a="pos").T)

    def _standardised(self, pooled: np.ndarray) -> np.ndarray:
        standardised: np.ndarray = (pooled - self._mean) / self._scale
        return standardised
