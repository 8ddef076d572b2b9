"""Methods that adapt a network after training, to target clips and without the source's."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mmcl_bench.core.grants import Setting
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.adaptation_method import (
    LOOKS,
    AdaptationMethod,
    AdaptationSettings,
    DomainBatch,
    batches,
)
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES
from mmcl_bench.protocols.problem import ClipView, Context, FitReport


class SourceFreeSettings(AdaptationSettings):
    """The source's network is trained with smoothed labels, as SHOT's is."""

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    adaptation_steps: int = Field(default=1000, ge=1)
    """Steps on target clips. No label is left to choose their number on."""


class SourceFreeMethod(AdaptationMethod):
    """Trains as source only; then last block and bottleneck take steps on target clips, for a classifier that stays."""

    setting: ClassVar[Setting] = Setting.SOURCE_FREE
    Settings: ClassVar[type[SourceFreeSettings]] = SourceFreeSettings
    settings: SourceFreeSettings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 300, "adaptation_steps": 200}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def begin_round(self, features: Tensor, logits: Tensor) -> None:
        """Called before each round over the target clips, with features (N, W) and logits (N, K) of all of them."""

    @abstractmethod
    def target_loss(self, batch: DomainBatch) -> Tensor:
        """Of some target clips."""

    def adapt(self, target: ClipView, context: Context) -> FitReport:
        sides = self.varied(target, "target")
        plain, last = sides[0], self.settings.adaptation_steps
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "target batches"))
        size = min(self.settings.batch_size, plain.n_clips)
        of_target, a_round = batches(plain.n_clips, size, generator), plain.n_clips // size

        def compute(step: int) -> dict[str, Tensor]:
            if (step - 1) % a_round == 0:
                self.normalise_by(plain)
                features = self.network.all_features(plain)
                self.begin_round(features, self.network.classifier(features).detach())
                self._models.train()
            return {"loss": self.target_loss(self._domain(sides[self._copy(generator)], next(of_target)))}

        history = []
        for step, losses in self.optimise(compute, last, frozen=self.network.classifier):
            if step % max(1, last // LOOKS) == 0 or step == last:
                row = {"epoch": step, "loss": float(losses["loss"].detach())}
                context.progress("adaptation", step, last, row)
                history.append(row)
        self.normalise_by(plain)
        return FitReport(history=history)
