"""Pairs of variational autoencoders, of skeleton features and of class texts, that share a latent space.

The family of CADA-VAE (Schönfeld et al., CVPR 2019) as SynSE (Gupta et al., ICIP 2021) brought it to skeletons. All its
released code has the same four faults, which ``as_released`` brings back: one noise number for all dimensions of a
sample, a ReLU after both decoders though texts have a sign, a ReLU on the classifier's logits, and texts of length one,
whose reconstruction hardly counts beside the skeletons'.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.gated_method import GatedMethod, GatedSettings
from mmcl_bench.methods.shared.head_method import Head, HeadBatch
from mmcl_bench.training.loop import Losses


class VaeSettings(GatedSettings):
    """Settings of a VAE pair; the defaults are those of the papers for NTU-60."""

    latent: int = Field(default=100, ge=2)
    """Dimensions of the latent space."""
    cycle_steps: int = Field(default=1700, ge=1)
    """Steps of a cycle, in which the weights of the losses rise again."""
    kl_from: int = Field(default=1000, ge=0)
    """Step of a cycle from which the KL divergences count."""
    kl_rise: int = Field(default=3000, ge=1)
    """Steps in which their weights rise by 0.1."""
    cross_from: int = Field(default=1400, ge=0)
    """Step of a cycle after which skeletons are reconstructed from texts, and texts from skeletons."""
    steps: int = Field(default=17_000, ge=1)
    rate: float = Field(default=1e-4, gt=0)
    samples: int = Field(default=500, ge=1)
    """Latent samples a class that the classifier learns from."""
    classifier_steps: int = Field(default=300, ge=1)
    """Steps of training of the classifier of latent samples."""
    classifier_rate: float = Field(default=1e-3, gt=0)
    """The classifier's learning rate."""
    as_released: bool = False
    """Whether the faults of the released code are there."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses at a step."""

    skeleton_kl: float
    text_kl: float
    cross: float


def weights_at(step: int, settings: VaeSettings, text_kl_from_third_cycle: bool) -> LossWeights:
    """The weights at a step, from 0.

    The KL weight of skeletons rises from step ``kl_from`` of a cycle on, by 0.1 in ``kl_rise`` steps. That of texts is
    the same once cross reconstruction is on, or, in SynSE and after it, rises from there on, from the third cycle.
    """
    cycle, at = divmod(step, settings.cycle_steps)
    cross, skeleton_kl = float(at > settings.cross_from), _rise(at, settings.kl_from, settings)
    if text_kl_from_third_cycle:
        return LossWeights(skeleton_kl, _rise(at, settings.cross_from, settings) * (cycle > 1), cross)
    return LossWeights(skeleton_kl, skeleton_kl * cross, cross)


def _rise(at: int, start: int, settings: VaeSettings) -> float:
    return max(0.1 * (at - start) / settings.kl_rise, 0.0)


class Autoencoder(nn.Module):
    """Maps to the mean and the log-variance of latents, and back."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> means and log-variances (N, L)."""
        raise NotImplementedError

    def decode(self, latent: Tensor) -> Tensor:
        """(N, L) -> (N, D)."""
        raise NotImplementedError


class Vae(Autoencoder):
    """An autoencoder of linear maps."""

    def __init__(self, n_inputs: int, latent: int, rectified: bool) -> None:
        super().__init__()
        self.mean = nn.Linear(n_inputs, latent)
        self.log_variance = nn.Linear(n_inputs, latent)
        self.decoder = nn.Linear(latent, n_inputs)
        self.rectified = rectified
        for layer in (self.mean, self.log_variance, self.decoder):
            nn.init.xavier_uniform_(layer.weight, gain=0.5)
            nn.init.zeros_(layer.bias)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(x), self.log_variance(x)

    def decode(self, latent: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(latent)
        return decoded.relu() if self.rectified else decoded


def sampled(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Latents for noise (N, L), or (N, 1) for one number a sample."""
    return mean + noise * (0.5 * log_variance).exp()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The KL divergence from the standard normal, summed over dimensions and averaged over the batch."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()


class VaePair(Head):
    """A skeleton VAE and a text VAE, which may stand for several; a classifier of latents learns from texts and is
    applied to skeletons."""

    text_kl_from_third_cycle: ClassVar[bool] = False
    vae: ClassVar[type[Vae]] = Vae

    def __init__(self, settings: VaeSettings, n_features: int, slots: Mapping[str, int]) -> None:
        super().__init__()
        self.settings = settings
        self.slots = tuple(slots)
        self.skeleton_parts: tuple[int, ...] = (settings.latent,)
        self.text_parts: tuple[int, ...] = (settings.latent,)  # one for each text VAE
        self.skeleton = self.vae(n_features, settings.latent, settings.as_released)
        self.text: Autoencoder = self.vae(sum(slots.values()), settings.latent, settings.as_released)
        self._classifiers: tuple[nn.Linear, ...] = ()  # in a tuple, as it is no part of what is trained or kept

    def inputs(self, texts: Mapping[str, Tensor]) -> Tensor:
        """(K, D), what the text VAE sees of the classes."""
        joined = torch.cat([texts[slot] for slot in self.slots], dim=1)
        square = len(self.text_parts) if self.settings.as_released else joined.shape[1]
        return joined * math.sqrt(square / len(self.slots))

    def noise(self, n: int, parts: Sequence[int], like: Tensor) -> Tensor:
        """(n, L) standard normal numbers for latents of these parts; as released one number for all of a part."""
        if self.settings.as_released:
            return torch.cat([torch.randn(n, 1).expand(n, part) for part in parts], dim=1).to(like)
        return torch.randn(n, sum(parts)).to(like)

    def draws(self, n: int, like: Tensor) -> tuple[Tensor, ...]:
        """The random draws of the losses of n clips: noise of skeleton latents and of text latents."""
        return self.noise(n, self.skeleton_parts, like), self.noise(n, self.text_parts, like)

    def losses(self, batch: HeadBatch) -> Losses:
        text = self.inputs(batch.texts)[batch.labels]
        weights = weights_at(batch.step - 1, self.settings, self.text_kl_from_third_cycle)
        return self.losses_of(batch.features, text, self.draws(len(text), text), weights)

    def losses_of(
        self, skeleton: Tensor, text: Tensor, draws: tuple[Tensor, ...], weights: LossWeights
    ) -> dict[str, Tensor]:
        """All losses of skeletons (B, S) and their classes' texts (B, T), for what :meth:`draws` gives."""
        of_skeleton, of_text = self.skeleton.encode(skeleton), self.text.encode(text)
        skeleton_latent, text_latent = sampled(*of_skeleton, draws[0]), sampled(*of_text, draws[1])
        to_skeleton, to_text = self.swapped(skeleton_latent, text_latent)
        crossed = self.crossed(skeleton, self.skeleton.decode(to_skeleton), text, self.text.decode(to_text), *draws[2:])
        losses = {
            "skeleton": F.mse_loss(self.skeleton.decode(skeleton_latent), skeleton),
            "text": self.text_error(self.text.decode(text_latent), text),
            **crossed,
            "skeleton_kl": divergence(*of_skeleton),
            "text_kl": divergence(*of_text),
        }
        reconstructed = losses["skeleton"] + losses["text"] + weights.cross * sum(crossed.values())
        diverged = weights.skeleton_kl * losses["skeleton_kl"] + weights.text_kl * losses["text_kl"]
        return {"loss": reconstructed + diverged, **losses}

    def swapped(self, skeleton_latent: Tensor, text_latent: Tensor) -> tuple[Tensor, Tensor]:
        """The latents that skeletons are decoded from for the texts' sake, and texts for the skeletons' sake."""
        return text_latent, skeleton_latent

    def crossed(
        self, skeleton: Tensor, skeleton_from_text: Tensor, text: Tensor, text_from_skeleton: Tensor, *draws: Tensor
    ) -> dict[str, Tensor]:
        """What counts once cross reconstruction is on, of clips (B, S), their texts (B, T) and each from the other."""
        return {
            "skeleton_from_text": F.mse_loss(skeleton_from_text, skeleton),
            "text_from_skeleton": self.text_error(text_from_skeleton, text),
        }

    def text_error(self, decoded: Tensor, text: Tensor) -> Tensor:
        """How far decoded texts (B, T) are from the texts, a mean squared error for each text VAE."""
        return len(self.text_parts) * F.mse_loss(decoded, text)

    def prepare(self, texts: Mapping[str, Tensor]) -> None:
        """Trains the classifier of all classes in ``texts`` on samples of their latents."""
        with torch.no_grad():
            mean, log_variance = self.text.encode(self.inputs(texts))
            n = len(mean) * self.settings.samples
            latents = sampled(
                mean.repeat(self.settings.samples, 1),
                log_variance.repeat(self.settings.samples, 1),
                self.noise(n, self.text_parts, mean),
            )
        labels = torch.arange(len(mean), device=mean.device).repeat(self.settings.samples)
        self.train_classifier(nn.Linear(mean.shape[1], len(mean)).to(mean), latents, labels)

    def train_classifier(self, classifier: nn.Linear, latents: Tensor, labels: Tensor) -> list[float]:
        """Trains a classifier on latents (N, L) in full batches and takes it; returns the loss of each step."""
        self._classifiers = (classifier,)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=self.settings.classifier_rate)
        curve = []
        for _ in range(self.settings.classifier_steps):
            loss = F.cross_entropy(self.classified(latents), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(float(loss.detach()))
        return curve

    def classified(self, latents: Tensor) -> Tensor:
        """(N, L) -> (N, K) logits."""
        (classifier,) = self._classifiers
        logits: Tensor = classifier(latents)
        return logits.relu() if self.settings.as_released else logits

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        return self.classified(self.skeleton.encode(features)[0])


class VaeMethod(GatedMethod):
    """A VAE pair, whose classifier knows the unseen classes alone, and a gate."""

    Settings: ClassVar[type[VaeSettings]] = VaeSettings
    settings: VaeSettings
    pair: ClassVar[type[VaePair]] = VaePair

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 3 * cls.Settings().cycle_steps, "rate": 1e-3}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> VaePair:
        slots = self.text_slots or (MAIN_TEXT,)
        return self.pair(self.settings, n_features, {slot: texts[slot].shape[1] for slot in slots})
