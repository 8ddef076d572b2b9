"""A linear map from joint positions into the space of class texts: a baseline without a network.

As in :mod:`.devise`, the map is fitted by ridge regression, so that the baseline has one hyper-parameter; here the
features are normalised joint positions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from sklearn.pipeline import Pipeline

from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import Method, MethodSettings
from mmcl_bench.methods.shared import estimators
from mmcl_bench.methods.shared.joints import joint_features, most_bodies
from mmcl_bench.methods.shared.saved import read_model, require_width, write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem

_TEXTS = "texts"


class DeViSEJoints(Method):
    """Ridge regression onto class embeddings; the penalty is chosen on validation."""

    name: ClassVar[str] = "devise-joints"
    summary: ClassVar[str] = "linear map from joint positions into the space of class texts"
    kind: ClassVar[str] = "closed-form"
    published: ClassVar[str] = "NeurIPS 2013"
    cost: ClassVar[str] = "seconds"
    deterministic: ClassVar[bool] = True
    families: ClassVar[frozenset[str]] = frozenset({"zero-shot"})

    class Settings(MethodSettings):
        penalties: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (1e2, 1e3, 1e4, 1e5)
        """Penalties of the ridge regression to choose from."""

    settings: Settings

    def fit(self, problem: Problem, context: Context) -> FitReport:
        if problem.classes.embeddings is None:
            raise ValueError(f"{problem.task} has no class embeddings")
        self._layout = problem.train.clips.layout
        self._embeddings = problem.classes.embeddings
        self._n_bodies = most_bodies(problem.train.clips)
        features = joint_features(problem.train.clips, self._n_bodies)
        targets = self._embeddings[problem.train.labels]
        if context.chosen is not None:
            self._map = _fit_map(context.chosen["penalty"], features, targets)
            return FitReport(chosen=dict(context.chosen))
        if problem.validation is None:
            raise ValueError(f"{problem.task} has no validation clips to choose the penalty on")
        figures = {}
        for penalty in self.settings.penalties:
            self._map = _fit_map(penalty, features, targets)
            scored = Scored(self.score(problem.validation.clips), problem.validation.labels, problem.classes.seen)
            figures[penalty] = METRICS.get(problem.metric)(scored)
        best = max(figures, key=lambda penalty: figures[penalty])
        self._map = _fit_map(best, features, targets)
        return FitReport(
            chosen={"penalty": best}, notes={"validation by penalty": {str(p): f for p, f in figures.items()}}
        )

    def score(self, clips: ClipView) -> np.ndarray:
        mapped = self.embed(clips)
        unit = mapped / np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
        return np.asarray(unit @ self._embeddings.T, dtype=np.float32)

    def embed(self, clips: ClipView) -> np.ndarray:
        return np.asarray(self._map.predict(joint_features(clips, self._n_bodies)))

    def save(self, folder: Path) -> list[str]:
        arrays, learned = estimators.to_plain(self._map)
        facts = {"n_bodies": self._n_bodies, **learned}
        return write_model(folder, self, self._layout, facts, {**arrays, _TEXTS: self._embeddings})

    def load(self, folder: Path, device: str = "cpu") -> None:
        saved = read_model(folder, type(self))
        self._layout, self._n_bodies = saved.layout, saved.facts["n_bodies"]
        self._map = estimators.from_plain(estimators.ridge_map(0.0), saved.arrays, saved.facts)
        self._embeddings = saved.arrays[_TEXTS]

    def replace_classes(self, embeddings: np.ndarray) -> None:
        require_width(embeddings, self._embeddings.shape[1])
        self._embeddings = embeddings


def _fit_map(penalty: float, features: np.ndarray, targets: np.ndarray) -> Pipeline:
    return estimators.ridge_map(penalty).fit(features, targets)
