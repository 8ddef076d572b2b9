"""MMCL's teachers with an adaptation loss: other modalities teach the source, and the target is skeleton alone.

On source clips, RGB features are brought beside those of the bottleneck (FAM) and answers of a multimodal LLM reweigh
the logits (FRM), as in :mod:`mmcl_bench.methods.mmcl` (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706), with MMCL's
weights. To these comes the loss of an adaptation method with its preset paper's settings; the training, its rate
included, is that of the settings here. The combination is ours, and so is that teachers teach what adaptation trains,
from the last block on, and not the whole network. A modality that a source set lacks does not teach; on skeletons
alone, this is the adaptation method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.mmcl import TeacherSettings, taught_losses
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.fam import FeatureAlignment
from mmcl_bench.nn.frm import FeatureRefinement
from mmcl_bench.protocols.problem import Context, FitReport, Problem
from mmcl_bench.skeleton.clips import Modality


class MMCLAdaptedSettings(TeacherSettings, AdaptationSettings):
    """MMCL's teachers, and what adapts."""

    adaptation_loss: Literal["dann", "cdan", "bsp", "dan", "jan", "deep-coral", "mcc", "afn", "fixmatch"] = "dann"
    """The method whose loss is added."""
    adaptation_weight: float = Field(default=1.0, ge=0)
    """By which that method's own weight is multiplied."""


class MMCLAdapted(AdaptationMethod):
    """Co-learning on the source with every modality that it has, and another method's loss on both domains."""

    name: ClassVar[str] = "mmcl-adapted"
    summary: ClassVar[str] = "MMCL's teachers on source clips, with another method's adaptation loss, by default DANN's"
    kind: ClassVar[str] = "co-learning"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[MMCLAdaptedSettings]] = MMCLAdaptedSettings
    settings: MMCLAdaptedSettings
    _teachers: Mapping[Modality, Tensor] = {}

    def encoders(self) -> Mapping[Modality, str]:
        return self.settings.encoders()

    def fit(self, problem: Problem, context: Context) -> FitReport:
        given = {name: rows for name, rows in problem.train.features.items() if name in self.encoders()}
        self._teachers = {name: torch.from_numpy(rows) for name, rows in given.items()}
        report = super().fit(problem, context)
        report.notes["losses"] = [name for name in report.history[0] if name not in ("epoch", "loss", "validation")]
        return report

    def build_parts(self, width: int, n_classes: int, n_groups: int) -> nn.Module:
        adapting = METHODS.get(self.settings.adaptation_loss)()
        self._adapting = cast(AdaptationMethod, adapting)
        self._adapting.parts = self._adapting.build_parts(width, n_classes, n_groups)
        parts: dict[str, nn.Module] = {"adapting": self._adapting.parts}
        dims = {modality: features.shape[1] for modality, features in self._teachers.items()}
        if Modality.RGB in dims:
            parts["fam"] = FeatureAlignment(dims[Modality.RGB], width, self.settings.temperature)
        if Modality.INSTRUCT in dims:
            parts["frm"] = FeatureRefinement(dims[Modality.INSTRUCT], n_classes)
        return nn.ModuleDict(parts)

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        source, parts = batch.source, dict(cast(nn.ModuleDict, self.parts))
        fam, frm = cast(FeatureAlignment | None, parts.get("fam")), cast(FeatureRefinement | None, parts.get("frm"))
        teachers = {name: rows[source.clips].to(batch.labels.device) for name, rows in self._teachers.items()}
        taught = taught_losses(self.settings, fam, frm, source.features, source.logits, batch.labels, teachers)
        adapting = self._adapting.added_losses(batch)
        weight = self.settings.adaptation_weight
        return {**taught, **{name: (weight * own, loss) for name, (own, loss) in adapting.items()}}
