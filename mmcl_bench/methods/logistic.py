"""Logistic regression on raw joints: the floor that a network must beat."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmcl_bench.core.errors import UserError
from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared import linear
from mmcl_bench.methods.shared.joints import joint_features, most_bodies
from mmcl_bench.methods.shared.saved import read_model, write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem


class Logistic(Method):
    """Multinomial logistic regression on normalised joint positions."""

    name: ClassVar[str] = "logistic"
    summary: ClassVar[str] = "logistic regression on yaw-normalised joint positions"
    families: ClassVar[frozenset[str]] = frozenset({"supervised", "transfer"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"C": 0.01}, "paper": {"C": 0.01}}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not 0 < settings["C"] < math.inf:
            raise UserError(f"method {self.name}: setting C={settings['C']} should be a number above 0")

    def fit(self, problem: Problem, context: Context) -> FitReport:
        if len(np.unique(problem.train.labels)) < 2:
            raise UserError(f"{problem.task}: method {self.name} needs training clips of two classes; raise --limit")
        self._layout = problem.train.clips.layout
        self._n_classes = len(problem.classes)
        self._n_bodies = most_bodies(problem.train.clips)
        self._model = make_pipeline(StandardScaler(), LogisticRegression(C=self.settings["C"], max_iter=500))
        self._model.fit(joint_features(problem.train.clips, self._n_bodies), problem.train.labels)
        return FitReport()

    def score(self, clips: ClipView) -> np.ndarray:
        scores = np.full((len(clips), self._n_classes), -1e9, dtype=np.float32)
        scores[:, self._model.classes_] = self._model.predict_log_proba(joint_features(clips, self._n_bodies))
        return scores

    def save(self, folder: Path) -> list[str]:
        facts = {"n_classes": self._n_classes, "n_bodies": self._n_bodies}
        return write_model(folder, self, self._layout, facts, linear.to_arrays(self._model))

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any], device: str = "cpu") -> Self:
        saved, method = read_model(folder, cls), cls(**settings)
        method._layout = saved.layout
        method._n_classes, method._n_bodies = saved.facts["n_classes"], saved.facts["n_bodies"]
        method._model = linear.from_arrays(LogisticRegression(), saved.arrays)
        return method
