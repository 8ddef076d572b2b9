"""A few labelled clips of the target: fine-tuning, and nearest class mean.

Both start from the network that was trained on the source. Its statistics become those of the few clips.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.core.grants import Setting
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.adaptation_method import AdaptationMethod, AdaptationSettings, batches
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES
from mmcl_bench.protocols.problem import Context, FitReport, LabelledClips, Problem


class FewShotMethod(AdaptationMethod):
    """Source only, and then :meth:`learn_few`."""

    setting: ClassVar[Setting] = Setting.FEW_SHOT

    @abstractmethod
    def learn_few(self, few: LabelledClips) -> None:
        """Learns from labelled clips of the target."""

    def fit(self, problem: Problem, context: Context) -> FitReport:
        report = super().fit(problem, context)
        # The first fit is scored on source clips.
        if problem.few_shot is not None and problem.validation is None:
            self.learn_few(problem.few_shot)
        return report

    def snapshots(self) -> list[int]:
        # The few clips are learned after the last of them.
        return []


class FineTuningSettings(AdaptationSettings):
    """Of the steps on the few clips."""

    few_steps: int = Field(default=300, ge=1)
    """No label is left to choose their number on."""


class FineTuning(FewShotMethod):
    """Steps of cross-entropy on the few clips, for last block, bottleneck and classifier."""

    name: ClassVar[str] = "fine-tuning"
    summary: ClassVar[str] = "few-shot: everything that is adapted learns from the few clips"
    kind: ClassVar[str] = "few-shot"
    cost: ClassVar[str] = "a minute"
    Settings: ClassVar[type[FineTuningSettings]] = FineTuningSettings
    settings: FineTuningSettings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 300, "few_steps": 100}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def unchanged_part(self) -> nn.Module | None:
        """What stays as it is."""
        return None

    def learn_few(self, few: LabelledClips) -> None:
        sides = self.varied(few.clips, "few-shot")
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "few-shot"))
        drawn = batches(len(few), min(self.settings.batch_size, len(few)), generator)
        labels = torch.from_numpy(few.labels)

        def compute(step: int) -> dict[str, Tensor]:
            at = next(drawn)
            logits = self._domain(sides[self._copy(generator)], at).logits
            return {"loss": F.cross_entropy(logits, labels[at].to(logits.device))}

        for _ in self.optimise(compute, self.settings.few_steps, frozen=self.unchanged_part()):
            pass
        self.normalise_by(sides[0])


class FineTuningHead(FineTuning):
    """Steps of cross-entropy on the few clips, for the classifier alone."""

    name: ClassVar[str] = "fine-tuning-head"
    summary: ClassVar[str] = "few-shot: the classifier alone learns from the few clips"
    kind: ClassVar[str] = "few-shot"
    cost: ClassVar[str] = "a minute"

    def unchanged_part(self) -> nn.Module:
        return nn.ModuleList([self.network.block, self.network.bottleneck])


class ClassMeans(nn.Module):
    """Unit rows, the classes' means."""

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.register_buffer("rows", torch.zeros(n_classes, width))


class NearestClassMean(FewShotMethod):
    """Cosines of a clip's features and the mean features of each class's few clips."""

    name: ClassVar[str] = "nearest-class-mean"
    summary: ClassVar[str] = "few-shot: the class whose few clips have the nearest mean"
    kind: ClassVar[str] = "few-shot"
    cost: ClassVar[str] = "a minute"
    scores_with_parts: ClassVar[bool] = True

    def build_parts(self, width: int, n_classes: int, n_groups: int) -> nn.Module:
        return ClassMeans(n_classes, width)

    def logits_of(self, features: Tensor) -> Tensor:
        rows: Tensor = self.parts.rows  # type: ignore[assignment]
        return F.normalize(features, dim=1) @ rows.T if bool(rows.any()) else super().logits_of(features)

    def learn_few(self, few: LabelledClips) -> None:
        prepared = self.extractor.to_last_block(few.clips)
        self.normalise_by(prepared)
        features = F.normalize(self.network.all_features(prepared), dim=1)
        labels = torch.from_numpy(few.labels).to(features.device)
        means = torch.stack([features[labels == column].mean(0) for column in range(self._n_classes)])
        self.parts.rows = F.normalize(means, dim=1)
