"""Logistic regression: a baseline for networks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.estimator_method import EstimatorMethod
from mmcl_bench.methods.shared.joints import joint_features
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.transforms import Normalisation


class Logistic(EstimatorMethod):
    """Multinomial logistic regression on normalised joint positions."""

    name: ClassVar[str] = "logistic"
    summary: ClassVar[str] = "logistic regression on yaw-normalised joint positions"
    kind: ClassVar[str] = "baseline"
    cost: ClassVar[str] = "seconds"
    deterministic: ClassVar[bool] = True  # its solver, L-BFGS, draws no random numbers

    class Settings(MethodSettings):
        added_later: ClassVar[frozenset[str]] = frozenset({"normalise"})
        C: float = Field(default=0.01, gt=0, allow_inf_nan=False)
        """Inverse strength of the penalty."""
        normalise: Normalisation = "root+facing+scale"
        """What is taken out of a clip: its place (root), heading (facing) and size (scale), or none of them."""

    settings: Settings

    def features(self, clips: ClipView) -> np.ndarray:
        return joint_features(clips, self._n_bodies, self.settings.normalise)

    def estimator(self, seed: int) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=self.settings.C, max_iter=500))
