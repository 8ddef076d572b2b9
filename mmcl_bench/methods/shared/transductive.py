"""Zero-shot methods that adapt another method, their base, to unlabelled clips: everything except how they adapt.

The base is fitted as it is without them. Adapting happens once, in the fit: in the first one to the validation clips
without labels, in the final one to the unlabelled test clips. Afterwards the scores of a clip depend only on the clip
and on what was kept, whatever it is scored with.

Clips of seen and of unseen classes come mixed, and nobody says which are which. So clips are assigned to any of the
candidate classes, after a calibration of the base's own scores that is fitted on validation, as in the generalised
setting: without one, most methods assign every clip to a seen class. Published figures mostly are of clips of unseen
classes alone, which helps.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import entr, softmax

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.core.registry import unknown
from mmcl_bench.evaluation.metrics import METRICS, Scored, fit_calibration
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method, MethodSettings
from mmcl_bench.methods.shared.saved import read_model, write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.skeleton.clips import Modality

_BASE, _KEPT, _TEXTS = "base.", "kept.", "texts"
_FAMILY = "zero-shot"
Choice = Mapping[str, float]
"""A way to adapt, by the names of what is chosen on validation."""


class BaseMethod(BaseModel):
    """The base of a method, as a job is identified by it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    version: int
    preset: str
    settings: dict[str, Any]
    """In full, as plain JSON values."""


class TransductiveSettings(MethodSettings):
    """Which method is adapted."""

    base: str
    """The name of an inductive zero-shot method."""
    base_preset: str = "paper"
    """The preset of its settings."""
    base_settings: dict[str, Any] = Field(default={})
    """Settings of the base that differ from that preset."""
    base_method: BaseMethod
    """What the above amount to; it is filled in, so that a job whose base has other settings is another job."""

    @classmethod
    def lacks(cls, base: type[Method]) -> str:
        """What the method needs and this base has not, to complete "it ..."; empty where it can be adapted."""
        return ""

    @model_validator(mode="before")
    @classmethod
    def _with_base(cls, given: Any) -> Any:
        usual = {name: field.default for name, field in cls.model_fields.items()}
        given = {**usual, "base_method": {}, **given}
        name, preset, changes, former = (given[key] for key in ("base", "base_preset", "base_settings", "base_method"))
        if not all(isinstance(text, str) for text in (name, preset)):
            return given
        if not all(isinstance(mapping, Mapping) for mapping in (changes, former)):
            return given
        base = METHODS.get(name)
        if lacking := _unfit(base) or cls.lacks(base):
            raise UserError(f"{name} cannot be adapted, as it {lacking}; choose another base, such as {usual['base']}")
        if preset not in base.presets:
            raise UserError(f"base {name}: {unknown('preset', preset, sorted(base.presets))}")
        of_preset = base.presets[preset].as_json()
        settings = base.check({**of_preset, **changes}).as_json()
        changes = {key: value for key, value in settings.items() if key not in of_preset or value != of_preset[key]}
        # That of a stored job stays as it was, should the preset have changed since.
        same = all(former.get("settings", {}).get(key) == value for key, value in changes.items())
        if not (same and (former.get("name"), former.get("preset")) == (name, preset)):
            former = {"name": name, "version": base.version, "preset": preset, "settings": settings}
        return {**given, "base_settings": changes, "base_method": former}

    @classmethod
    def shown(cls, settings: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
        """The base always, and never what is filled in."""
        changed = {**super().shown(settings, preset), "base": settings["base"]}
        changed.pop("base_method", None)
        return changed


def _unfit(base: type[Method]) -> str:
    if _FAMILY not in base.families:
        return "is no zero-shot method"
    return "adapts to unlabelled clips itself" if base.setting is Setting.TRANSDUCTIVE else ""


@dataclass(frozen=True)
class BaseClips:
    """What the base knows of some clips."""

    scores: np.ndarray
    """float64 (N, K), calibrated: the highest score is the predicted class, among seen and unseen ones."""
    vectors: np.ndarray
    """(N, ...), by which clips are compared."""

    @property
    def spread(self) -> float:
        """How far a clip's scores typically are apart: their standard deviation, averaged; 1 where all are equal."""
        return float(self.scores.std(axis=1).mean()) or 1.0

    def most_confident(self) -> list[np.ndarray]:
        """For each class the clips that are predicted as it, those of lowest entropy first."""
        entropy = entr(softmax(self.scores, axis=1)).sum(axis=1)
        order, predicted = np.argsort(entropy, kind="stable"), self.scores.argmax(axis=1)
        return [order[predicted[order] == column] for column in range(self.scores.shape[1])]


class TransductiveMethod(Method):
    """A method that adapts its base; a subclass says how."""

    families: ClassVar[frozenset[str]] = frozenset({_FAMILY})
    setting: ClassVar[Setting] = Setting.TRANSDUCTIVE
    Settings: ClassVar[type[TransductiveSettings]] = TransductiveSettings
    settings: TransductiveSettings

    @abstractmethod
    def choices(self) -> Sequence[Choice]:
        """The ways to adapt from which one is chosen on validation."""

    @abstractmethod
    def vectors(self, clips: ClipView) -> np.ndarray:
        """(N, ...), by which clips are compared, from the fitted :attr:`base`."""

    @abstractmethod
    def kept_of(self, clips: BaseClips, choice: Choice) -> dict[str, np.ndarray]:
        """What is kept of the unlabelled clips, by name."""

    @abstractmethod
    def adapted(self, clips: BaseClips, kept: Mapping[str, np.ndarray], choice: Choice) -> np.ndarray:
        """(N, K) scores of clips. A clip's scores do not depend on the other clips."""

    def base_scores(self, clips: ClipView, vectors: np.ndarray) -> np.ndarray:
        """(N, K) scores of the base."""
        return self.base.score(clips)

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        presets = ("quick", "paper")
        # A subclass that names no base of its own has no presets.
        known = not cls.Settings.model_fields["base"].is_required()
        return {name: cls.Settings.model_validate({"base_preset": name}) for name in presets if known}

    @classmethod
    def needed_text_slots(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        base = settings["base_method"]
        return METHODS.get(base["name"]).needed_text_slots(base["settings"])

    @property
    def base(self) -> Method:
        """The method that is adapted."""
        return self._base

    def encoders(self) -> Mapping[Modality, str]:
        return self._made_base().encoders()

    @property
    def uses_unseen_texts(self) -> bool:
        return self._made_base().uses_unseen_texts

    @property
    def frozen(self) -> bool | None:
        return self._made_base().frozen

    def pseudo_unseen_draws(self) -> int:
        return self._made_base().pseudo_unseen_draws()

    def fit(self, problem: Problem, context: Context) -> FitReport:
        if problem.classes.embeddings is None or problem.target_unlabelled is None:
            raise ValueError(f"{problem.task} has no class embeddings, or no unlabelled clips to adapt to")
        self._seen, self.texts = problem.classes.seen, problem.classes.embeddings
        self._base, self._unlabelled = self._made_base(), problem.target_unlabelled
        report = self._fit_base(problem, context)
        # That of the base is not that of the adapted scores.
        report.calibration = None
        uncalibrated = self._uncalibrated(self._unlabelled)
        if context.chosen is not None:
            self._calibration = context.chosen["calibration"]
            self._choice: Choice = {name: context.chosen[name] for name in self.choices()[0]}
            report.chosen = dict(context.chosen)
        elif problem.validation is not None:
            same = problem.validation.clips is self._unlabelled
            held_out = uncalibrated if same else self._uncalibrated(problem.validation.clips)
            self._calibration = fit_calibration(held_out.scores, problem.validation.labels, self._seen)
            validation, unlabelled = self._calibrated(held_out), self._calibrated(uncalibrated)
            self._choice = self._best_choice(problem, problem.validation.labels, validation, unlabelled, report)
            report.chosen = {"base": report.chosen, "calibration": self._calibration, **self._choice}
        else:
            raise ValueError(f"{problem.task} has no validation clips to choose on")
        self._kept = self.kept_of(self._calibrated(uncalibrated), self._choice)
        return report

    def score(self, clips: ClipView) -> np.ndarray:
        found = self.adapted(self._calibrated(self._uncalibrated(clips)), self._kept, self._choice)
        return np.asarray(found, dtype=np.float32)

    def embed(self, clips: ClipView) -> np.ndarray | None:
        return self.base.embed(clips)

    def snapshots(self) -> list[int]:
        return self.base.snapshots()

    def restore(self, epoch: int) -> None:
        self.base.restore(epoch)
        self._kept = self.kept_of(self._calibrated(self._uncalibrated(self._unlabelled)), self._choice)

    def save(self, folder: Path) -> list[str]:
        with TemporaryDirectory() as scratch:
            if not self.base.save(Path(scratch)):
                return []
            of_base = read_model(Path(scratch), type(self.base))
        arrays = {
            **{_BASE + name: array for name, array in of_base.arrays.items()},
            **{_KEPT + name: array for name, array in self._kept.items()},
            _TEXTS: self.texts,
        }
        facts = {"base": dict(of_base.facts), "calibration": self._calibration, "choice": dict(self._choice)}
        return write_model(folder, self, of_base.layout, {**facts, "seen": self._seen.tolist()}, arrays)

    def load(self, folder: Path, device: str = "cpu") -> None:
        saved, self._base = read_model(folder, type(self)), self._made_base()
        with TemporaryDirectory() as scratch:
            write_model(Path(scratch), self._base, saved.layout, saved.facts["base"], saved.part(_BASE))
            self._base.load(Path(scratch), device)
        self._kept, self.texts = saved.part(_KEPT), saved.arrays[_TEXTS]
        self._calibration, self._choice = saved.facts["calibration"], saved.facts["choice"]
        self._seen = np.array(saved.facts["seen"], dtype=bool)

    def replace_classes(self, embeddings: np.ndarray) -> None:
        raise UserError(
            f"method {self.name} has adapted to the classes of its task; leave the texts out, or choose a job of "
            f"{self.settings.base}"
        )

    def _made_base(self) -> Method:
        asked = self.settings.base_method
        base = METHODS.get(asked.name)
        if base.version != asked.version:
            raise UserError(
                f"method {self.name}: its base was {asked.name} version {asked.version}, which is at version "
                f"{base.version} now; run the job again with --fresh"
            )
        return base(**asked.settings)

    def _fit_base(self, problem: Problem, context: Context) -> FitReport:
        """Fits the base as it is fitted without being adapted."""
        selects = self.base.selects(problem.family)
        inductive = replace(problem, target_unlabelled=None, validation=problem.validation if selects else None)
        chosen = context.chosen["base"] if context.chosen is not None and selects else None
        # Of the task, the job's seed and this fit: methods on one base have the same one to adapt.
        seed = context.seed if context.shared_seed is None else context.shared_seed
        return self.base.fit(inductive, replace(context, seed=seed, folder=context.folder / "base", chosen=chosen))

    def _best_choice(
        self, problem: Problem, labels: np.ndarray, validation: BaseClips, unlabelled: BaseClips, report: FitReport
    ) -> Choice:
        """The way to adapt with the best main metric on validation; of equal ones, that with the largest area under
        the seen-unseen curve, and then the first. All of them go to the notes."""

        def figures(scores: np.ndarray) -> tuple[float, float]:
            scored = Scored(np.asarray(scores, dtype=np.float32), labels, problem.classes.seen)
            return METRICS.get(problem.metric)(scored), METRICS.get("ausuc")(scored)

        choices = self.choices()
        found = [figures(self.adapted(validation, self.kept_of(unlabelled, choice), choice)) for choice in choices]
        report.notes["validation by adaptation"] = {
            "none": figures(validation.scores),
            **{json.dumps(choice): each for choice, each in zip(choices, found, strict=True)},
        }
        return choices[found.index(max(found))]

    def _uncalibrated(self, clips: ClipView) -> BaseClips:
        vectors = self.vectors(clips)
        return BaseClips(self.base_scores(clips, vectors).astype(np.float64), vectors)

    def _calibrated(self, clips: BaseClips) -> BaseClips:
        return replace(clips, scores=clips.scores - self._calibration * self._seen)
