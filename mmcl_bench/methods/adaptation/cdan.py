"""CDAN+E: the discriminator sees products of features and predictions (Long et al., NeurIPS 2018).

Clips that are predicted with confidence weigh more. Where the products would be more than 4096, they are products of
random maps, as in the paper.
"""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor, nn

from mmcl_bench.methods.adaptation.dann import DANN, AdversarialSettings
from mmcl_bench.methods.shared.adaptation_method import AdaptationBatch
from mmcl_bench.nn.adaptation.adversarial import (
    DomainDiscriminator,
    RandomisedProduct,
    conditional_adversarial_loss,
    outer_product,
    reversal_factor,
)

MOST_PRODUCTS = 4096


class CDANSettings(AdversarialSettings):
    """DANN's, and the weights by entropy."""

    by_entropy: bool = True
    """Whether confident clips weigh more (CDAN+E)."""


class CDAN(DANN):
    """A discriminator of products of features and predictions."""

    name: ClassVar[str] = "cdan"
    summary: ClassVar[str] = "adversarial: a discriminator of features times predictions, confident clips first; CDAN+E"
    kind: ClassVar[str] = "adversarial"
    published: ClassVar[str] = "NeurIPS 2018"
    Settings: ClassVar[type[CDANSettings]] = CDANSettings
    settings: CDANSettings

    def build_parts(self, width: int, n_classes: int, n_groups: int) -> nn.Module:
        if width * n_classes <= MOST_PRODUCTS:
            return nn.ModuleDict({"discriminator": DomainDiscriminator(width * n_classes, self.settings.width)})
        product = RandomisedProduct(width, n_classes, self.settings.width)
        discriminator = DomainDiscriminator(self.settings.width, self.settings.width)
        return nn.ModuleDict({"discriminator": discriminator, "product": product})

    def adversarial_loss(self, batch: AdaptationBatch) -> Tensor:
        source, target, parts = batch.source, batch.target_clips, cast(nn.ModuleDict, self.parts)
        return conditional_adversarial_loss(
            parts["discriminator"],
            dict(parts).get("product", outer_product),
            (source.features, source.logits),
            (target.features, target.logits),
            reversal_factor(batch.progress),
            self.settings.by_entropy,
        )
