"""Methods that are a scikit-learn classifier on one vector per clip; a subclass only defines the classifier."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline

from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared import estimators
from mmcl_bench.methods.shared.joints import joint_features, most_bodies
from mmcl_bench.methods.shared.saved import read_model, write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem

_NEVER = -1e9
"""Score of a class without training clips."""


class EstimatorMethod(Method):
    """A classifier on joint positions, by default; saving and loading are shared."""

    families: ClassVar[frozenset[str]] = frozenset({"supervised", "transfer"})

    @abstractmethod
    def estimator(self, seed: int) -> Any:
        """The classifier or pipeline, not fitted; random ones take ``seed`` as their ``random_state``."""

    def features(self, clips: ClipView) -> np.ndarray:
        """(N, D), what the classifier sees."""
        return joint_features(clips, self._n_bodies)

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self.check_problem(problem)
        self._layout = problem.train.clips.layout
        self._n_classes = len(problem.classes)
        self._n_bodies = most_bodies(problem.train.clips)
        self._fitted = self._pipeline(context.seed)
        self._fitted.fit(self.features(problem.train.clips), problem.train.labels)
        return FitReport()

    def score(self, clips: ClipView) -> np.ndarray:
        features = self.features(clips)
        if hasattr(self._fitted, "predict_log_proba"):
            found = self._fitted.predict_log_proba(features)
        else:
            found = self._fitted.decision_function(features)
            found = found if found.ndim == 2 else np.stack([-found, found], axis=1)
        scores = np.full((len(clips), self._n_classes), _NEVER, dtype=found.dtype)
        scores[:, self._fitted.classes_] = np.maximum(found, _NEVER)
        return scores

    def save(self, folder: Path) -> list[str]:
        try:
            arrays, learned = estimators.to_plain(self._fitted)
        except TypeError:  # trees and the like are not arrays: then no model is saved
            return []
        facts = {"n_classes": self._n_classes, "n_bodies": self._n_bodies, **learned}
        return write_model(folder, self, self._layout, facts, arrays)

    def load(self, folder: Path, device: str = "cpu") -> None:
        saved = read_model(folder, type(self))
        self._layout = saved.layout
        self._n_classes, self._n_bodies = saved.facts["n_classes"], saved.facts["n_bodies"]
        self._fitted = estimators.from_plain(self._pipeline(0), saved.arrays, saved.facts)

    def _pipeline(self, seed: int) -> Pipeline:
        estimator = self.estimator(seed % 2**32)
        return estimator if isinstance(estimator, Pipeline) else make_pipeline(estimator)
