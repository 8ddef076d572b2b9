"""DANN: features that a discriminator cannot tell the domain of (Ganin et al., JMLR 2016).

The factor of the reversed gradient grows with the share of the training that is done, with the paper's slope. The
Transfer-Learning-Library's growth, with steps, reaches 0.46 after a thousand, which is late for short trainings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.core.grants import Setting
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch, AdaptationMethod, AdaptationSettings
from mmcl_bench.nn.adaptation.adversarial import DomainDiscriminator, domain_adversarial_loss, reversal_factor
from mmcl_bench.nn.adaptation.moments import largest_singular_values


class AdversarialSettings(AdaptationSettings):
    """Settings of the discriminator."""

    weight: float = Field(default=1.0, ge=0)
    """Of the adversarial loss."""
    width: int = Field(default=1024, ge=1)
    """Of the discriminator's hidden layers."""
    spectral_weight: float = Field(default=0.0, ge=0)
    """Of BSP's loss, the squared largest singular values of each domain's features; 2e-4 in the library, 0 without."""


class DANN(AdaptationMethod):
    """A discriminator behind a reversed gradient."""

    name: ClassVar[str] = "dann"
    summary: ClassVar[str] = "adversarial: a discriminator of the domains behind a reversed gradient"
    kind: ClassVar[str] = "adversarial"
    published: ClassVar[str] = "JMLR 2016"
    setting: ClassVar[Setting] = Setting.UNLABELLED
    Settings: ClassVar[type[AdversarialSettings]] = AdversarialSettings
    settings: AdversarialSettings

    def build_parts(self, width: int, n_classes: int, n_groups: int) -> nn.Module:
        return DomainDiscriminator(width, self.settings.width)

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        added = {"adversarial": (self.settings.weight, self.adversarial_loss(batch))}
        if self.settings.spectral_weight:
            values = largest_singular_values(batch.source.features, batch.target_clips.features)
            added["spectral"] = self.settings.spectral_weight, values
        return added

    def adversarial_loss(self, batch: AdaptationBatch) -> Tensor:
        """Of the discriminator."""
        factor = reversal_factor(batch.progress)
        return domain_adversarial_loss(self.parts, batch.source.features, batch.target_clips.features, factor)
