"""Zero-shot methods on the frozen features of a shared extractor: everything except what they learn from those.

A method says which text slots it reads, learns from the features of the seen classes' clips (:meth:`FeatureMethod
.learn`), and scores the features of clips against the texts of all classes (:meth:`FeatureMethod.score_features`).
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field, field_validator

from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import Method, MethodSettings
from mmcl_bench.methods.shared.extractor import CHOSEN, Extractor, Features, trained_extractor
from mmcl_bench.methods.shared.network_settings import QUICK
from mmcl_bench.methods.shared.saved import SavedModel, read_model, require_width, write_model
from mmcl_bench.methods.skeleton_only import SkeletonOnlySettings
from mmcl_bench.nn import BACKBONES
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, LabelledClips, Problem

MAIN_TEXT = "text"
"""The slot of the text that the task's parameter ``fields`` describes."""
_EXTRACTOR, _TEXTS, _LEARNED = "extractor.", "texts.", "learned."
Texts = Mapping[str, np.ndarray]
"""float32 (K, D) unit rows by text slot."""
_Choice = TypeVar("_Choice")


class FeatureSettings(MethodSettings):
    """The extractor that features come from; the defaults are those of preset ``paper``."""

    extractor: Literal["quick", "paper"] = "paper"
    """How the extractor is trained: with the settings of ``skeleton-only`` in this preset."""
    backbone: str = "shift-gcn"
    """The extractor's network, a name of ``mmcl-bench list backbones``."""
    extractor_epochs: int | None = Field(default=None, ge=1)
    """Epochs of the extractor; None: as many as its preset has."""
    extractor_min_steps: int | None = Field(default=None, ge=0)
    """Least steps of the extractor; None: as many as its preset has."""

    @field_validator("backbone")
    @classmethod
    def _exists(cls, name: str) -> str:
        BACKBONES.get(name)
        return name

    def network(self) -> SkeletonOnlySettings:
        """The extractor's settings."""
        preset = {} if self.extractor == "paper" else QUICK
        given = {"epochs": self.extractor_epochs, "min_steps": self.extractor_min_steps}
        changed = {key: value for key, value in given.items() if value is not None}
        return SkeletonOnlySettings.model_validate({**preset, **changed, "backbone": self.backbone})


QUICK_FEATURES: dict[str, object] = {"extractor": "quick", "backbone": "ctr-gcn-tiny"}
"""Settings of preset ``quick`` that differ from the paper's: an extractor of minutes on two cores."""


@dataclass(frozen=True)
class FeatureClips:
    """Features of labelled clips."""

    features: Features
    labels: np.ndarray
    """(N,) int64, positions in ``problem.classes``."""


class FeatureMethod(Method):
    """A zero-shot method on frozen features; its subclass learns and scores."""

    families: ClassVar[frozenset[str]] = frozenset({"zero-shot"})
    needs_maps: ClassVar[bool] = False
    """Whether it reads features by frame and joint."""
    Settings: ClassVar[type[FeatureSettings]] = FeatureSettings
    settings: FeatureSettings

    @abstractmethod
    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        """Learns from the features of training clips. ``problem`` has classes, metric and validation clips."""

    @abstractmethod
    def score_features(self, features: Features, texts: Texts) -> np.ndarray:
        """(N, K) scores, higher is likelier, of clips against the classes of ``texts``."""

    @abstractmethod
    def to_learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What :meth:`learn` learned, as arrays and plain JSON values."""

    @abstractmethod
    def take_learned(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], device: str) -> None:
        """Takes back what :meth:`to_learned` gave. Extractor, classes and texts are there."""

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        return {"quick": cls.Settings.model_validate(QUICK_FEATURES), "paper": cls.Settings()}

    @property
    def frozen(self) -> bool | None:
        return True

    def fit(self, problem: Problem, context: Context) -> FitReport:
        if problem.classes.embeddings is None:
            raise ValueError(f"{problem.task} has no class embeddings")
        self.seen = problem.classes.seen
        self.texts: Texts = {MAIN_TEXT: problem.classes.embeddings, **problem.classes.slots}
        begin = time.monotonic()
        self._extractor, chosen = trained_extractor(problem, context, self.settings.network())
        train, shared = self.of_clips(problem.train), time.monotonic() - begin
        report = self.learn(train, problem, context)
        report.chosen[CHOSEN] = chosen
        report.shared_seconds = shared
        return report

    def of_clips(self, clips: LabelledClips) -> FeatureClips:
        """Features of labelled clips."""
        return FeatureClips(self._features(clips.clips), clips.labels)

    def best_on_validation(self, problem: Problem, choices: Iterable[_Choice]) -> tuple[_Choice, dict[str, float]]:
        """The choice with the highest validation figure, the first of equals, and the figure of each.

        The caller's generator makes the method ready for a choice before it yields it.
        """
        if problem.validation is None:
            raise ValueError(f"{problem.task} has no validation clips to choose on")
        held_out, figures = self.of_clips(problem.validation), {}
        best: _Choice | None = None
        for choice in choices:
            figures[str(choice)] = self.validation_figure(problem, held_out)
            if best is None or figures[str(choice)] > figures[str(best)]:
                best = choice
        if best is None:
            raise ValueError("there is nothing to choose from")
        return best, figures

    def validation_figure(self, problem: Problem, held_out: FeatureClips) -> float:
        """The task's main metric of the method as it is now."""
        scores = np.asarray(self.score_features(held_out.features, self.texts), dtype=np.float32)
        return METRICS.get(problem.metric)(Scored(scores, held_out.labels, problem.classes.seen))

    def score(self, clips: ClipView) -> np.ndarray:
        return np.asarray(self.score_features(self._features(clips), self.texts), dtype=np.float32)

    def save(self, folder: Path) -> list[str]:
        extractor, (arrays, facts) = self._extractor.to_saved(), self.to_learned()
        named = {
            **{_EXTRACTOR + name: array for name, array in extractor.arrays.items()},
            **{_TEXTS + slot: rows for slot, rows in self.texts.items()},
            **{_LEARNED + name: array for name, array in arrays.items()},
        }
        whole = {"extractor": dict(extractor.facts), "seen": self.seen.tolist(), "learned": facts}
        return write_model(folder, self, extractor.layout, whole, named)

    def load(self, folder: Path, device: str = "cpu") -> None:
        saved = read_model(folder, type(self))
        self._extractor = Extractor(**self.settings.network().as_json())
        of_extractor = _with_prefix(saved.arrays, _EXTRACTOR)
        self._extractor.take_saved(SavedModel(saved.layout, saved.facts["extractor"], of_extractor), device)
        self.seen = np.array(saved.facts["seen"], dtype=bool)
        self.texts = _with_prefix(saved.arrays, _TEXTS)
        self.take_learned(_with_prefix(saved.arrays, _LEARNED), saved.facts["learned"], device)

    def replace_classes(self, embeddings: np.ndarray) -> None:
        require_width(embeddings, self.texts[MAIN_TEXT].shape[1])
        self.texts = dict.fromkeys(self.texts, embeddings)
        self.seen = np.zeros(len(embeddings), dtype=bool)

    def _features(self, clips: ClipView) -> Features:
        return self._extractor.features(clips, self.needs_maps)


def _with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
