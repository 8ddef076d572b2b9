"""Methods that adapt one vector a clip, and then classify by logistic regression; through scikit-adaptation (skada).

A subclass gives an adapter with skada's ``fit`` and ``transform``, and the scikit-learn step that it does to target
clips. With the scaler before it and the classifier after it that is all that scoring needs, and all that is saved.
skada is imported only to fit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mmcl_bench.core.grants import Setting
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation.choosing import MIXED_SHARE, MOST_CLIPS, Observed, column_of, partners
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import MethodSettings, ScoringNetwork
from mmcl_bench.methods.shared import estimators
from mmcl_bench.methods.shared.choosing_method import ChoosingMethod, ChoosingSettings
from mmcl_bench.methods.shared.estimator_method import EstimatorMethod
from mmcl_bench.methods.shared.extractor import CHOSEN, Extractor, trained_extractor
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES
from mmcl_bench.methods.shared.joints import joint_features, most_bodies
from mmcl_bench.methods.shared.saved import SavedModel, read_model, write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, LabelledClips, Problem

SOURCE, TARGET, UNLABELLED = 1, -2, -1
"""What skada calls the domains, and the label of a target clip."""
_EXTRACTOR = "extractor."


class ShallowSettings(ChoosingSettings):
    """What is adapted, and how it is classified."""

    features: Literal["extractor", "joints"] = "extractor"
    """The extractor's features, or joint positions as ``logistic`` takes them."""
    Cs: tuple[float, ...] = Field(default=(1e-3, 1e-2, 1e-1, 1.0), min_length=1)
    """Inverse strengths of the classifier's penalty, to choose from."""
    most_clips: int = Field(default=3000, ge=2)
    """Clips of each domain that the adapter learns from, drawn at random where there are more."""


@dataclass(frozen=True)
class DrawnClips:
    """Scaled features of the clips that an adapter learns from."""

    source: np.ndarray
    """(N, D)."""
    labels: np.ndarray
    """(N,) int64, of the source clips."""
    target: np.ndarray
    """(M, D)."""

    @property
    def rows(self) -> np.ndarray:
        """(N + M, D), the source first."""
        return np.concatenate([self.source, self.target])

    @property
    def domains(self) -> np.ndarray:
        """(N + M,)."""
        return np.repeat([SOURCE, TARGET], [len(self.source), len(self.target)])


class ShallowAdaptation(ChoosingMethod, EstimatorMethod):
    """An adapter of skada between a scaler and a logistic regression."""

    version: ClassVar[int] = 2
    cost: ClassVar[str] = "seconds"
    families: ClassVar[frozenset[str]] = frozenset({"transfer"})
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[ShallowSettings]] = ShallowSettings
    settings: ShallowSettings
    _extractor: Extractor | None = None

    def adapter(self, drawn: DrawnClips) -> Any:
        """The adapter for some clips, not fitted; None: features stay as they are."""
        return None

    def target_step(self, adapter: Any) -> Any:
        """The fitted scikit-learn transformer that does to target clips what the fitted adapter does; None: nothing.

        It is asked with None for one that is not fitted, to be filled from a saved model.
        """
        return None

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        return {"quick": cls.Settings.model_validate(QUICK_FEATURES), "paper": cls.Settings()}

    @property
    def frozen(self) -> bool | None:
        return True if self.settings.features == "extractor" else None

    def selects(self, family: str) -> bool:
        return True

    def estimator(self, seed: int) -> Pipeline:
        step = self.target_step(None)
        steps = [StandardScaler(), *([] if step is None else [step]), self._classifier(self.settings.Cs[0])]
        return make_pipeline(*steps)

    def features(self, clips: ClipView) -> np.ndarray:
        if self._extractor is None:
            found = joint_features(clips, self._n_bodies, self.settings.normalise)
        else:
            found = self._extractor.features(clips).pooled
        # In single precision, products of covariances have eigenvalues below zero.
        return found.astype(np.float64)

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self.check_problem(problem)
        self._layout, self._n_classes = problem.train.clips.layout, len(problem.classes)
        self._n_bodies = most_bodies(problem.train.clips)
        chosen: dict[str, Any] = {}
        begin = time.monotonic()
        if self.settings.features == "extractor":
            self._extractor, chosen[CHOSEN] = trained_extractor(problem, context, self.settings.network())
        source, labels = self.features(problem.train.clips), problem.train.labels
        granted = problem.target if self.setting is Setting.UNLABELLED else None
        target = source[:0] if granted is None else self.features(granted)
        shared = time.monotonic() - begin if self._extractor is not None else 0.0
        self._adapt(source, labels, target, np.random.default_rng(derive_seed(context.seed, "clips")))
        if context.chosen is not None:
            self._classify(context.chosen["C"])
            return FitReport(chosen={**chosen, "C": context.chosen["C"]}, shared_seconds=shared)
        if problem.validation is None:
            self._classify(self.settings.Cs[0])
            return FitReport(chosen={**chosen, "C": self.settings.Cs[0]}, shared_seconds=shared)
        held_out = self._of_source(self._scaler.transform(self.features(problem.validation.clips)))
        figures = {C: self._figures(C, problem, problem.validation, held_out, target) for C in self.settings.Cs}
        best = max(figures, key=lambda C: figures[C][column_of(self.settings.choose_by)])
        self._classify(best)
        notes = {f"{name} by C": {str(C): each[name] for C, each in figures.items()} for name in figures[best]}
        return FitReport(chosen={**chosen, "C": best}, notes=notes, shared_seconds=shared)

    def embed_domains(self, source: ClipView, target: ClipView) -> tuple[np.ndarray, np.ndarray]:
        scaled = self._scaler.transform(self.features(source))
        return self._of_source(scaled), self._fitted[:-1].transform(self.features(target))

    def save(self, folder: Path) -> list[str]:
        arrays, learned = estimators.to_plain(self._fitted)
        facts = {"n_classes": self._n_classes, "n_bodies": self._n_bodies, **learned}
        if self._extractor is not None:
            saved = self._extractor.to_saved()
            facts["extractor"] = dict(saved.facts)
            arrays |= {_EXTRACTOR + name: array for name, array in saved.arrays.items()}
        return write_model(folder, self, self._layout, facts, arrays)

    def load(self, folder: Path, device: str = "cpu") -> None:
        super().load(folder, device)
        saved = read_model(folder, type(self))
        if self.settings.features == "extractor":
            self._extractor = Extractor(**self.settings.network().as_json())
            of_extractor = saved.part(_EXTRACTOR)
            self._extractor.take_saved(SavedModel(saved.layout, saved.facts["extractor"], of_extractor), device)

    def fitted_network(self) -> ScoringNetwork | None:
        return None if self._extractor is None else self._extractor.fitted_network()

    def learn_classifier(self, C: float) -> LogisticRegression:
        """The classifier for target clips after the adapter."""
        return self._classifier(C).fit(self._adapted_source, self._labels)

    def _classifier(self, C: float) -> LogisticRegression:
        return LogisticRegression(C=C, max_iter=1000)

    def _adapt(self, source: np.ndarray, labels: np.ndarray, target: np.ndarray, draw: np.random.Generator) -> None:
        """Fits scaler and adapter."""
        self._scaler = StandardScaler().fit(np.concatenate([source, target]))
        self._source, self._labels = self._scaler.transform(source), labels
        if not len(target):
            self._adapter, self._adapted_source = None, self._source
            return
        most = self.settings.most_clips
        drawn, of_target = draw.permutation(len(source))[:most], draw.permutation(len(target))[:most]
        self.drawn = DrawnClips(self._source[drawn], labels[drawn], self._scaler.transform(target[of_target]))
        self._adapter = self.adapter(self.drawn)
        if self._adapter is not None:
            self._adapter.fit(self.drawn.rows, sample_domain=self.drawn.domains)
        self._adapted_source = self._of_source(self._source)

    def _of_source(self, scaled: np.ndarray) -> np.ndarray:
        """Scaled features of source clips after the adapter."""
        if self._adapter is None:
            return scaled
        adapted: np.ndarray = self._adapter.transform(
            scaled, sample_domain=np.full(len(scaled), SOURCE), allow_source=True
        )
        return adapted

    def _classify(self, C: float) -> None:
        """Makes the method ready to score target clips."""
        step = None if self._adapter is None else self.target_step(self._adapter)
        self._fitted = make_pipeline(self._scaler, *([] if step is None else [step]), self.learn_classifier(C))

    def _figures(
        self, C: float, problem: Problem, clips: LabelledClips, held_out: np.ndarray, target: np.ndarray
    ) -> dict[str, float]:
        """What a penalty can be chosen by: the task's main metric on held-out source clips, which went through the
        adapter as source clips (H, D), and label-free scores of target clips' features (N, D), where there are any."""
        self._classify(C)
        scored = Scored(self._classified(held_out), clips.labels, problem.classes.seen)
        figures = {column_of("source"): METRICS.get(problem.metric)(scored)}
        if not len(target):
            return figures
        target = target[:MOST_CLIPS]
        others = partners(len(target))
        mixed = MIXED_SHARE * target + (1 - MIXED_SHARE) * target[others]
        of_target, of_mixed = (self._fitted[:-1].transform(each) for each in (target, mixed))
        observed = Observed(
            source=self._adapted_source[:MOST_CLIPS],
            held_out=held_out[:MOST_CLIPS],
            held_out_logits=scored.scores[:MOST_CLIPS],
            held_out_labels=scored.labels[:MOST_CLIPS],
            target=of_target,
            logits=self._classified(of_target),
            partners=others,
            mixed_logits=self._classified(of_mixed),
        )
        return figures | observed.scores()

    def _classified(self, adapted: np.ndarray) -> np.ndarray:
        """float32 (N, K), log-probabilities of adapted features."""
        classifier = self._fitted[-1]
        scores = np.full((len(adapted), self._n_classes), -np.inf, dtype=np.float32)
        scores[:, classifier.classes_] = classifier.predict_log_proba(adapted)
        return np.maximum(scores, -1e9)
