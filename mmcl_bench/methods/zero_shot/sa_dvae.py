"""SA-DVAE: latents of skeletons with a part that texts do not know of (Li et al., ECCV 2024).

The skeleton encoder gives a semantic latent, which is aligned with texts as in CADA-VAE, and one of the instance, which
only the skeleton decoder reads. A discriminator learns to tell pairs of a clip's two latents, or of its text's and its
own instance latent, from pairs of different clips; the encoder shall make pairs look like those of different clips, so
that the two parts are independent. The discriminator's own step comes first, and as the weight of both is that of the
texts' KL divergence, it begins in the third cycle.

In the release a cycle is an epoch; here it is as many steps as one of NTU-60 has, for any data set. The faults that
``as_released`` brings back are those of the VAE family. The release keeps the cycle that is best on unseen test clips,
where here the step is chosen on pseudo-unseen classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.shared.head_method import HeadBatch
from mmcl_bench.methods.shared.vae import LossWeights, Vae, VaeMethod, VaePair, VaeSettings, sampled, weights_at
from mmcl_bench.training.loop import Losses


class SADVaePair(VaePair):
    """A skeleton VAE of two latents, a text VAE and a discriminator with an optimizer of its own."""

    text_kl_from_third_cycle: ClassVar[bool] = True
    settings: SADVae.Settings

    def __init__(self, settings: SADVae.Settings, n_features: int, slots: Mapping[str, int]) -> None:
        super().__init__(settings, n_features, slots)
        self.skeleton_parts = (settings.latent, settings.instance)
        width = sum(self.skeleton_parts)
        self.skeleton = Vae(n_features, width, settings.as_released)
        layers = nn.Linear(width, max(1, width // 4)), nn.Linear(max(1, width // 4), 1)
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight, gain=0.5)
            nn.init.zeros_(layer.bias)
        self.discriminator = nn.Sequential(layers[0], nn.ReLU(), layers[1])
        self.discriminator.requires_grad_(False)  # so that the optimizer of the VAEs leaves it alone
        self._optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=settings.rate)

    def losses(self, batch: HeadBatch) -> Losses:
        if ((batch.step - 1) % self.settings.cycle_steps + 1) % self.settings.discriminator_every == 0:
            text, n = self.inputs(batch.texts)[batch.labels], len(batch.labels)
            weights = weights_at(batch.step - 1, self.settings, self.text_kl_from_third_cycle)
            self.discriminate(batch.features, text, self.draws_of_pairs(n, text), weights.text_kl)
        return super().losses(batch)

    def losses_of(
        self, skeleton: Tensor, text: Tensor, draws: tuple[Tensor, ...], weights: LossWeights
    ) -> dict[str, Tensor]:
        losses = super().losses_of(skeleton, text, draws, weights)
        pairs = sampled(*self.skeleton.encode(skeleton), draws[0])
        independence = self.discriminator(pairs).sigmoid().mean()
        whole = losses.pop("loss") + weights.text_kl * independence
        return {"loss": whole, **losses, "independence": independence}

    def swapped(self, skeleton_latent: Tensor, text_latent: Tensor) -> tuple[Tensor, Tensor]:
        semantic, instance = skeleton_latent.split(self.skeleton_parts, dim=1)
        return torch.cat([text_latent, instance], dim=1), semantic

    def draws_of_pairs(self, n: int, like: Tensor) -> tuple[Tensor, ...]:
        """The random draws of :meth:`discriminate`: noise of skeleton latents, of text latents, and of the instance
        latents that go with texts; permutations of the semantic and the instance latents of skeletons, and of texts."""
        noise = (*self.draws(n, like), self.noise(n, self.skeleton_parts[1:], like))
        return *noise, *(torch.randperm(n).to(like.device) for _ in range(4))

    def discriminate(
        self, skeleton: Tensor, text: Tensor, draws: tuple[Tensor, ...], weight: float
    ) -> tuple[Tensor, Tensor]:
        """A step of the discriminator; returns its losses, not weighted, on pairs from skeletons and from texts."""
        noise, permutations = draws[:3], draws[3:]
        with torch.no_grad():
            (mean, log_variance), of_text = self.skeleton.encode(skeleton), self.text.encode(text)
            semantic, instance = sampled(mean, log_variance, noise[0]).split(self.skeleton_parts, dim=1)
            of_instance = mean[:, self.settings.latent :], log_variance[:, self.settings.latent :]
            other_instance = sampled(*of_instance, noise[2])
        self.discriminator.requires_grad_(True)
        of_skeletons = self._told_apart(semantic, instance, *permutations[:2])
        of_texts = self._told_apart(sampled(*of_text, noise[1]), other_instance, *permutations[2:])
        (weight * (of_skeletons + of_texts) / 2).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.discriminator.requires_grad_(False)
        return of_skeletons.detach(), of_texts.detach()

    def _told_apart(self, semantic: Tensor, instance: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """The cross-entropy of telling pairs (B, L) and (B, I) from permuted ones."""
        own = self.discriminator(torch.cat([semantic, instance], dim=1))
        permuted = self.discriminator(torch.cat([semantic[first], instance[second]], dim=1))
        return (F.softplus(-own).mean() + F.softplus(permuted).mean()) / 2

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        return self.classified(self.skeleton.encode(features)[0][:, : self.settings.latent])


class SADVae(VaeMethod):
    """CADA-VAE with latents of the instance apart."""

    name: ClassVar[str] = "sa-dvae"
    summary: ClassVar[str] = "CADA-VAE with an instance latent that a discriminator keeps apart from the semantic one"
    kind: ClassVar[str] = "vae"
    published: ClassVar[str] = "ECCV 2024"
    cost: ClassVar[str] = "minutes"
    pair: ClassVar[type[VaePair]] = SADVaePair

    class Settings(VaeSettings):
        """The defaults are those of the paper for NTU-60; 1,156 batches are its seen training clips once."""

        latent: int = Field(default=160, ge=2)
        """Dimensions of the semantic latent."""
        instance: int = Field(default=8, ge=1)
        """Dimensions of the instance latent."""
        cycle_steps: int = Field(default=1156, ge=1)
        kl_from: int = Field(default=680, ge=0)
        kl_rise: int = Field(default=2040, ge=1)
        cross_from: int = Field(default=924, ge=0)
        steps: int = Field(default=11_560, ge=1)
        batch_size: int = Field(default=32, ge=2)
        rate: float = Field(default=3.389e-5, gt=0)
        discriminator_every: int = Field(default=5, ge=1)
        """Steps from one of the discriminator's to its next."""

    settings: Settings
