"""SynSE: a latent of skeletons with a half for the noun and a half for the verb of a class (Gupta et al., ICIP 2021).

The first half of a skeleton's latent is aligned with a VAE of nouns, the second with one of verbs; both text latents
together decode to the skeleton. A class without a noun or a verb has its label there. Differences from the release are
in :mod:`mmcl_bench.methods.shared.vae`; the release also keeps the cycle that is best on the unseen test clips, where
here the step is chosen on pseudo-unseen classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mmcl_bench.methods.shared.vae import Autoencoder, Vae, VaeMethod, VaePair, VaeSettings


class NounAndVerb(Autoencoder):
    """A VAE of nouns and one of verbs, whose inputs and latents are joined."""

    def __init__(self, n_inputs: int, latent: int, rectified: bool) -> None:
        super().__init__()
        self.noun, self.verb = Vae(n_inputs, latent, rectified), Vae(n_inputs, latent, rectified)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        noun, verb = x.chunk(2, dim=1)
        both = zip(self.noun.encode(noun), self.verb.encode(verb), strict=True)
        mean, log_variance = (torch.cat(parts, dim=1) for parts in both)
        return mean, log_variance

    def decode(self, latent: Tensor) -> Tensor:
        noun, verb = latent.chunk(2, dim=1)
        return torch.cat([self.noun.decode(noun), self.verb.decode(verb)], dim=1)


class SynSEPair(VaePair):
    """The text VAE is two, each with half of the latent."""

    text_kl_from_third_cycle: ClassVar[bool] = True

    def __init__(self, settings: VaeSettings, n_features: int, slots: Mapping[str, int]) -> None:
        super().__init__(settings, n_features, slots)
        half = settings.latent // 2
        self.text_parts = (half, half)
        self.text = NounAndVerb(slots["noun"], half, settings.as_released)


class SynSE(VaeMethod):
    """CADA-VAE of verb and noun apart."""

    name: ClassVar[str] = "synse"
    summary: ClassVar[str] = "CADA-VAE whose latent has a half for the noun and a half for the verb"
    kind: ClassVar[str] = "vae"
    published: ClassVar[str] = "ICIP 2021"
    cost: ClassVar[str] = "minutes"
    text_slots: ClassVar[tuple[str, ...]] = ("noun", "verb")
    pair: ClassVar[type[VaePair]] = SynSEPair

    class Settings(VaeSettings):
        latent: int = Field(default=100, ge=2, multiple_of=2)
        """Dimensions of the latent space, half of them for the noun and half for the verb."""

    settings: Settings
