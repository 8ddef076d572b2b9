"""DeViSE: a linear map from features into the space of class texts.

Frome et al., "DeViSE: A Deep Visual-Semantic Embedding Model", NeurIPS 2013. The paper trains the map with a ranking
loss; here it is fitted by ridge regression from the features of the extractor, so that it has one hyper-parameter. A
clip scores the cosine of what it is mapped to and a class's text. Version 1 of this name mapped joint positions, which
:mod:`.devise_joints` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import normalize

from mmcl_bench.methods.shared import estimators
from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, FeatureClips, FeatureMethod, FeatureSettings, Texts
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem


class DeViSE(FeatureMethod):
    """Ridge regression onto class texts; the penalty is chosen on validation."""

    name: ClassVar[str] = "devise"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "linear map from extractor features into the space of class texts"
    kind: ClassVar[str] = "closed-form"
    published: ClassVar[str] = "NeurIPS 2013"
    cost: ClassVar[str] = "seconds"

    class Settings(FeatureSettings):
        penalties: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (1.0, 1e1, 1e2, 1e3, 1e4)
        """Penalties of the ridge regression to choose from."""

    settings: Settings

    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        if context.chosen is not None:
            self._map = self._fitted(train, context.chosen["penalty"])
            return FitReport(chosen={"penalty": context.chosen["penalty"]})

        maps = {penalty: self._fitted(train, penalty) for penalty in self.settings.penalties}

        def fitted() -> Iterator[float]:
            for penalty in maps:
                self._map = maps[penalty]
                yield penalty

        self._maps = maps
        figures = self.validation_figures(problem, fitted())
        best = self.choose("penalty", figures)
        for each in self.of_draws:
            each._map = each._maps[best]
        notes = {"validation by penalty": {str(penalty): figure for penalty, figure in figures.items()}}
        return FitReport(chosen={"penalty": best}, notes=notes)

    def score_features(self, features: Features, texts: Texts) -> np.ndarray:
        scores: np.ndarray = normalize(self._mapped(features)) @ texts[MAIN_TEXT].T
        return scores

    def embed(self, clips: ClipView) -> np.ndarray:
        return self._mapped(self._features(clips)).astype(np.float32)

    def to_learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return estimators.to_plain(self._map)

    def take_learned(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], device: str) -> None:
        self._map = estimators.from_plain(estimators.ridge_map(0.0), arrays, facts)

    def _fitted(self, train: FeatureClips, penalty: float) -> Pipeline:
        features, targets = train.features.pooled.astype(np.float64), self.texts[MAIN_TEXT][train.labels]
        return estimators.ridge_map(penalty).fit(features, targets)

    def _mapped(self, features: Features) -> np.ndarray:
        """float64 (N, D), in the space of the main text."""
        return np.asarray(self._map.predict(features.pooled.astype(np.float64)))
