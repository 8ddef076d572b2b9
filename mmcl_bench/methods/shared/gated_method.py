"""Methods of two classifiers and a gate: a head knows the unseen classes alone, the extractor itself the seen ones.

SynSE (Gupta et al., ICIP 2021) brought this to the generalised setting; the gate is that of
:mod:`mmcl_bench.methods.shared.gates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import FeatureClips, Texts
from mmcl_bench.methods.shared.gates import Gate, fit_gate, gated
from mmcl_bench.methods.shared.head_method import HeadMethod
from mmcl_bench.protocols.problem import Context, FitReport, Problem


class GatedMethod(HeadMethod):
    """A head method whose head scores unseen classes; the gate is fitted in the fit that has validation clips."""

    _gate: Gate | None = None

    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        self._gate = None
        report = super().learn(train, problem, context)
        if context.chosen is not None:
            self._gate = Gate.from_json(context.chosen["gate"]) if context.chosen["gate"] else None
        elif self.held_out is not None:
            gate = fit_gate([each._held_out_logits() for each in self.of_draws])
            for each in self.of_draws:
                each._gate = gate
        report.chosen["gate"] = None if self._gate is None else self._gate.as_json()
        return report

    def score_features(self, features: Features, texts: Texts) -> np.ndarray:
        unseen = self._unseen_logits(features)
        if not self.seen.any():
            return unseen
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
