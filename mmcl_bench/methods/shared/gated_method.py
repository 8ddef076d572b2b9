"""Methods of two classifiers and a gate: a head knows the unseen classes alone, the extractor itself the seen ones.

SynSE (Gupta et al., ICIP 2021) brought this to the generalised setting; the gates are those of
:mod:`mmcl_bench.methods.shared.gates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import FeatureClips, Texts
from mmcl_bench.methods.shared.gates import Gate, fit_gate, gated, ratio_margin
from mmcl_bench.methods.shared.head_method import HeadMethod, HeadSettings
from mmcl_bench.protocols.problem import Context, FitReport, Problem


class GatedSettings(HeadSettings):
    """Settings of a head and of its gate."""

    gate: Literal["logistic", "ratio"] = "logistic"
    """What tells seen from unseen classes: SynSE's logistic regression, or the ratio of the largest probabilities."""


class GatedMethod(HeadMethod):
    """A head method whose head scores unseen classes; a gate is fitted in the fit that has validation clips."""

    Settings: ClassVar[type[GatedSettings]] = GatedSettings
    settings: GatedSettings
    _gate: Gate | None = None

    def check_problem(self, problem: Problem) -> None:
        super().check_problem(problem)
        if problem.validation is None or self.settings.gate != "logistic":
            return
        is_seen = problem.classes.seen[problem.validation.labels]
        if min(is_seen.sum(), (~is_seen).sum()) < 2:
            raise UserError(
                f"{problem.task}: the gate of method {self.name} needs two held-out clips of seen classes and two of "
                "pseudo-unseen ones; raise --limit, or choose --set gate=ratio"
            )

    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        self._gate = None
        report = super().learn(train, problem, context)
        if context.chosen is not None:
            self._gate = Gate.from_json(context.chosen["gate"]) if context.chosen["gate"] else None
        elif self.held_out is not None and self.settings.gate == "logistic":
            gate = fit_gate([each._held_out_logits() for each in self.of_draws])
            for each in self.of_draws:
                each._gate = gate
        report.chosen["gate"] = None if self._gate is None else self._gate.as_json()
        return report

    def score_features(self, features: Features, texts: Texts) -> np.ndarray:
        unseen = self._unseen_logits(features)
        if not self.seen.any():
            return unseen
        if self.settings.gate == "ratio":
            margin = ratio_margin(unseen, features.logits)
        else:
            margin = np.zeros(len(features)) if self._gate is None else self._gate.margin(unseen, features.logits)
        return gated(unseen, features.logits, margin, self.seen)

    def to_learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, facts = super().to_learned()
        return arrays, {**facts, "gate": None if self._gate is None else self._gate.as_json()}

    def take_learned(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], device: str) -> None:
        super().take_learned(arrays, facts, device)
        self._gate = Gate.from_json(facts["gate"]) if facts["gate"] else None

    def _held_out_logits(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of validation clips: logits of unseen (N, U) and of seen classes (N, S), and whether they are seen (N,)."""
        if self.held_out is None:
            raise ValueError(f"method {self.name} has no validation clips to fit its gate on")
        features = self.held_out.features
        return self._unseen_logits(features), features.logits, self.seen[self.held_out.labels]

    def _unseen_logits(self, features: Features) -> np.ndarray:
        unseen = {slot: rows[~self.seen] for slot, rows in self.texts.items()}
        return super().score_features(features, unseen)
