"""Zero-shot methods on the frozen features of a shared extractor: everything except what they learn from those.

A method says which text slots it reads, learns from the features of the seen classes' clips (:meth:`FeatureMethod
.learn`), and scores the features of clips against the texts of all classes (:meth:`FeatureMethod.score_features`).
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, field_validator

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation.metrics import METRICS, Scored, fit_calibration
from mmcl_bench.methods.base import Method, MethodSettings, ScoringNetwork
from mmcl_bench.methods.shared.extractor import CHOSEN, Extractor, Features, trained_extractor
from mmcl_bench.methods.shared.network_settings import QUICK_EXTRACTOR
from mmcl_bench.methods.shared.saved import SavedModel, read_model, require_width, write_model
from mmcl_bench.methods.skeleton_only import SkeletonOnlySettings
from mmcl_bench.nn import BACKBONES
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, LabelledClips, Problem
from mmcl_bench.skeleton.transforms import Normalisation

MAIN_TEXT = "text"
"""The slot of the text that the task's parameter ``fields`` describes."""
_EXTRACTOR, _TEXTS, _LEARNED = "extractor.", "texts.", "learned."
Texts = Mapping[str, np.ndarray]
"""float32 (K, D) unit rows by text slot."""
_Choice = TypeVar("_Choice")


class FeatureSettings(MethodSettings):
    """The extractor that features come from; the defaults are those of preset ``paper``."""

    added_later: ClassVar[frozenset[str]] = frozenset({"normalise"})
    extractor: Literal["quick", "paper"] = "paper"
    """How the extractor is trained: as ``skeleton-only`` in preset paper, or on the small network of preset quick."""
    backbone: str = "shift-gcn"
    """The extractor's network, a name of ``mmcl-bench list backbones``."""
    extractor_epochs: int | None = Field(default=None, ge=1)
    """Epochs of the extractor; None: as many as its preset has."""
    extractor_min_steps: int | None = Field(default=None, ge=0)
    """Least steps of the extractor; None: as many as its preset has."""
    normalise: Normalisation = "root+facing+scale"
    """What is taken out of a clip: its place (root), heading (facing) and size (scale), or none of them."""
    draws: int = Field(default=3, ge=1)
    """Draws of pseudo-unseen classes over which choices and calibration are averaged; sets of many classes have one."""

    @field_validator("backbone")
    @classmethod
    def _exists(cls, name: str) -> str:
        BACKBONES.get(name)
        return name

    def network(self) -> SkeletonOnlySettings:
        """The extractor's settings."""
        preset = {} if self.extractor == "paper" else QUICK_EXTRACTOR
        given = {"epochs": self.extractor_epochs, "min_steps": self.extractor_min_steps}
        changed = {key: value for key, value in given.items() if value is not None}
        always = {"backbone": self.backbone, "normalise": self.normalise}
        return SkeletonOnlySettings.model_validate({**preset, **changed, **always})


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
    held_out: FeatureClips | None = None
    """Features of the validation clips, in a fit that chooses."""
    _others: tuple[Any, ...] = ()

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

    def pseudo_unseen_draws(self) -> int:
        return self.settings.draws

    def check_problem(self, problem: Problem) -> None:
        super().check_problem(problem)
        if lacking := [slot for slot in self.text_slots if slot not in problem.classes.slots]:
            raise UserError(
                f"{problem.task}: method {self.name} reads text slots that the classes lack: {', '.join(lacking)}; "
                "give their embeddings in the slots of the class table"
            )

    @property
    def frozen(self) -> bool | None:
        return True

    def fit(self, problem: Problem, context: Context) -> FitReport:
        others, shared = [], 0.0
        for at, draw in enumerate(problem.draws, start=1):
            other = type(self)(**self.settings.as_json())
            shared += other.fit(draw, _of_draw(context, at, len(problem.draws))).shared_seconds
            others.append(other)
        self._others = tuple(others)
        report = self._fit(problem, context)
        if others:
            report.calibration = fmean(each._calibration() for each in self.of_draws)
            report.notes["draws of pseudo-unseen classes"] = len(self.of_draws)
        report.shared_seconds += shared
        # They are not part of the fitted method, and large.
        self._others = ()
        return report

    @property
    def of_draws(self) -> tuple[Self, ...]:
        """The method itself and, while it is fitted, those that were fitted on other pseudo-unseen classes."""
        return (self, *self._others)

    def _fit(self, problem: Problem, context: Context) -> FitReport:
        if problem.classes.embeddings is None:
            raise ValueError(f"{problem.task} has no class embeddings")
        self.check_problem(problem)
        self.seen = problem.classes.seen
        self.texts: Texts = {MAIN_TEXT: problem.classes.embeddings, **problem.classes.slots}
        begin = time.monotonic()
        self._extractor, chosen = trained_extractor(problem, context, self.settings.network())
        self.held_out = None if problem.validation is None else self.of_clips(problem.validation)
        self._figures: dict[str, dict[Any, float]] = {}
        train, shared = self.of_clips(problem.train), time.monotonic() - begin
        report = self.learn(train, problem, context)
        report.chosen[CHOSEN] = chosen
        report.shared_seconds = shared
        return report

    def of_clips(self, clips: LabelledClips) -> FeatureClips:
        """Features of labelled clips."""
        return FeatureClips(self._features(clips.clips), clips.labels)

    def choose(self, what: str, figures: Mapping[_Choice, float]) -> _Choice:
        """The choice with the highest validation figure, averaged over the draws of pseudo-unseen classes; the first
        of equals. ``what`` names what is chosen, the same in every draw."""
        self._figures[what] = dict(figures)
        averaged = {choice: fmean(each._figures[what][choice] for each in self.of_draws) for choice in figures}
        return max(averaged, key=lambda choice: averaged[choice])

    def validation_figures(self, problem: Problem, choices: Iterable[_Choice]) -> dict[_Choice, float]:
        """The validation figure of each choice. The caller's generator makes the method ready for a choice before it
        yields it."""
        return {choice: self.validation_figure(problem) for choice in choices}

    def validation_figure(self, problem: Problem) -> float:
        """The task's main metric of the method as it is now."""
        return METRICS.get(problem.metric)(self._validation_scored())

    def _calibration(self) -> float:
        scored = self._validation_scored()
        return fit_calibration(scored.scores, scored.labels, scored.seen)

    def _validation_scored(self) -> Scored:
        if self.held_out is None:
            raise ValueError(f"method {self.name} has no validation clips to choose on")
        scores = np.asarray(self.score_features(self.held_out.features, self.texts), dtype=np.float32)
        return Scored(scores, self.held_out.labels, self.seen)

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
        of_extractor = SavedModel(saved.layout, saved.facts["extractor"], saved.part(_EXTRACTOR))
        self._extractor.take_saved(of_extractor, device)
        self.seen = np.array(saved.facts["seen"], dtype=bool)
        self.texts = saved.part(_TEXTS)
        self.take_learned(saved.part(_LEARNED), saved.facts["learned"], device)

    def fitted_network(self) -> ScoringNetwork:
        return self._extractor.fitted_network()

    def replace_classes(self, embeddings: np.ndarray) -> None:
        require_width(embeddings, self.texts[MAIN_TEXT].shape[1])
        self.texts = dict.fromkeys(self.texts, embeddings)
        self.seen = np.zeros(len(embeddings), dtype=bool)

    def features(self, clips: ClipView, maps: bool = False) -> Features:
        """What the extractor of the fitted method gives for clips."""
        return self._extractor.features(clips, maps)

    def _features(self, clips: ClipView) -> Features:
        return self.features(clips, self.needs_maps)


def _of_draw(context: Context, at: int, of: int) -> Context:
    """The context of the fit on other pseudo-unseen classes."""

    def progress(what: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        context.progress(f"other pseudo-unseen classes {at} of {of}: {what}", done, total, figures)

    seed = derive_seed(context.seed, "draw", at)
    return replace(context, seed=seed, folder=context.folder / f"draw-{at}", progress=progress, scalars=None)
