"""Second-order alignment with target labels (Tas and Koniusz, BMVC 2018): classes of one mean and covariance.

After training on the source, last block, bottleneck and classifier take steps on source clips and on the few of the
target: cross-entropy of both, and how far mean and covariance of each class differ between the two. The paper aligns
these of two streams of a network on images of skeletons, with target labels. The rest is chosen here: one network, and
the distance of ``deep-coral`` within each class, with its weight.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.methods.adaptation.few_shot import FineTuning, FineTuningSettings
from mmcl_bench.nn.adaptation.moments import class_moments_loss
from mmcl_bench.protocols.problem import Context, FitReport, LabelledClips, Problem


class SecondOrderSettings(FineTuningSettings):
    """Of the steps on source clips and the few clips."""

    weight: float = Field(default=1.0, ge=0)
    """Of the distance of the classes' means and covariances."""
    classes_per_batch: int = Field(default=8, ge=2)
    """Classes in a batch, which takes as many clips of each on both sides where there are so many."""


class SecondOrderAlignment(FineTuning):
    """Fine-tuning on the few clips beside source clips of the same classes."""

    name: ClassVar[str] = "second-order-alignment"
    summary: ClassVar[str] = "few-shot: each class gets the same mean and covariance in source and few clips"
    kind: ClassVar[str] = "few-shot"
    published: ClassVar[str] = "BMVC 2018"
    cost: ClassVar[str] = "minutes"
    Settings: ClassVar[type[SecondOrderSettings]] = SecondOrderSettings
    settings: SecondOrderSettings

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self._train: LabelledClips | None = problem.train
        report = super().fit(problem, context)
        self._train = None
        return report

    def learn_few(self, few: LabelledClips) -> None:
        if self._train is None:
            raise ValueError("the source clips are gone")
        of_source, of_few = self.augmented(self._train.clips, "source"), self.varied(few.clips, "few-shot")
        labels, few_labels = torch.from_numpy(self._train.labels), torch.from_numpy(few.labels)
        classes = labels[torch.isin(labels, few_labels)].unique()
        each = max(2, self.settings.batch_size // min(self.settings.classes_per_batch, len(classes)))
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "few-shot"))

        def compute(step: int) -> dict[str, Tensor]:
            some = classes[torch.randperm(len(classes), generator=generator)[: self.settings.classes_per_batch]]
            at, few_at = (of_classes(given, some, each, generator) for given in (labels, few_labels))
            source = self._domain(of_source[self._copy(generator) - 1], at)
            target = self._domain(of_few[self._copy(generator)], few_at)
            truth, few_truth = (rows.to(source.logits.device) for rows in (labels[at], few_labels[few_at]))
            classification = F.cross_entropy(source.logits, truth) + F.cross_entropy(target.logits, few_truth)
            distance = class_moments_loss(source.features, truth, target.features, few_truth)
            return {"loss": classification + self.settings.weight * distance, "moments": distance}

        for _ in self.optimise(compute, self.settings.few_steps):
            pass
        self.normalise_by(of_few[0])


def of_classes(labels: Tensor, classes: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Places of random clips of the classes: ``most`` of each, or as many as there are."""
    members = [(labels == label).nonzero().squeeze(1) for label in classes]
    return torch.cat([places[torch.randperm(len(places), generator=generator)[:most]] for places in members])
