"""TENT: at test time, batch normalisation adapts to the entropy of predictions (Wang et al., ICLR 2021).

Scales and shifts of all batch normalisations, of vectors and of maps, where the authors' code adapts those of maps
alone. The test clips are seen once, in batches; then every clip is scored by the network that results, with the
statistics of all of them, where the paper scores each batch before its own step.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from mmcl_bench.core.grants import Setting
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.methods.shared.adaptation_method import AdaptationMethod, AdaptationSettings
from mmcl_bench.methods.shared.adapted_network import parts_of, require_statistics, without_dropout
from mmcl_bench.nn.adaptation.entropy import batch_norms, prediction_entropy
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem


class TENTSettings(AdaptationSettings):
    """Of the steps at test time."""

    test_rate: float = Field(default=1e-3, gt=0)
    """Of Adam."""
    test_batch: int = Field(default=200, ge=2)
    """Clips of a step."""


class TENT(AdaptationMethod):
    """Source only, and then a step of entropy for each batch of test clips."""

    name: ClassVar[str] = "tent"
    summary: ClassVar[str] = "test time: batch normalisations adapt to the entropy of the test clips' predictions"
    kind: ClassVar[str] = "test-time"
    published: ClassVar[str] = "ICLR 2021"
    cost: ClassVar[str] = "a minute"
    setting: ClassVar[Setting] = Setting.TRANSDUCTIVE
    Settings: ClassVar[type[TENTSettings]] = TENTSettings
    settings: TENTSettings

    def fit(self, problem: Problem, context: Context) -> FitReport:
        report = super().fit(problem, context)
        if problem.target_unlabelled is not None:
            self._adapt(problem.target_unlabelled)
        return report

    def snapshots(self) -> list[int]:
        # Steps at test time change layers that snapshots do not hold.
        return []

    def normalise_domain(self, clips: ClipView) -> None:
        self.normalise_all_by(clips)

    def _adapt(self, clips: ClipView) -> None:
        require_statistics(len(clips))
        whole = torch.nn.ModuleList([self.extractor.network, self.network.bottleneck])
        whole.requires_grad_(False)
        norms = batch_norms(whole)
        weights = [weight.requires_grad_(True) for norm in norms for weight in (norm.weight, norm.bias)]
        optimizer = torch.optim.Adam(weights, lr=self.settings.test_rate)
        prepared = self.extractor.settings.prepare(clips)
        order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(derive_seed(self._seed, "test")))
        without_dropout(whole)
        for some in order.tensor_split(parts_of(len(order), self.settings.test_batch)):
            features = self.network.bottleneck(self.extractor.features_of(prepared, some))
            optimizer.zero_grad()
            prediction_entropy(self.logits_of(features)).mean().backward()
            optimizer.step()
        self.normalise_domain(clips)
