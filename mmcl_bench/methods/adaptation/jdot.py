"""JDOT: a classifier of target clips, of labels that are transported from the source (Courty et al., NIPS 2017)."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression

from mmcl_bench.methods.shared.shallow_adaptation import UNLABELLED, ShallowAdaptation, ShallowSettings

_ROUNDS = 20
"""At most, of transport and classifier in turn."""


class JDOTSettings(ShallowSettings):
    """The cost of transport."""

    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of the loss of labels; the rest is that of the distance of features."""
    most_clips: int = Field(default=1500, ge=2)


class JDOT(ShallowAdaptation):
    """Features as they are; the classifier is what is adapted."""

    name: ClassVar[str] = "jdot"
    summary: ClassVar[str] = "joint optimal transport of features and labels; the classifier is fitted to the target"
    kind: ClassVar[str] = "optimal-transport"
    published: ClassVar[str] = "NeurIPS 2017"
    Settings: ClassVar[type[JDOTSettings]] = JDOTSettings
    settings: JDOTSettings

    def learn_classifier(self, C: float) -> LogisticRegression:
        from skada import JDOTClassifier

        known = np.concatenate([self.drawn.labels, np.full(len(self.drawn.target), UNLABELLED)])
        joint = JDOTClassifier(self._classifier(C), alpha=self.settings.alpha, n_iter_max=_ROUNDS)
        # skada warns where the loss still changed in the last round.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            joint.fit(self.drawn.rows, known, sample_domain=self.drawn.domains)
        fitted: LogisticRegression = joint.estimator_
        return fitted
