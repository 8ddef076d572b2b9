"""Pairs of variational autoencoders, of skeleton features and of class texts, that share a latent space.

The family of CADA-VAE (Schönfeld et al., CVPR 2019) as SynSE (Gupta et al., ICIP 2021) brought it to skeletons. All its
released code has the same four faults, which ``as_released`` brings back: one noise number for all dimensions of a
sample, a ReLU after both decoders though texts have a sign, a ReLU on the classifier's logits, and texts of length one,
whose reconstruction hardly counts beside the skeletons'.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, QUICK_FEATURES, FeatureClips, Texts
from mmcl_bench.methods.shared.gates import Gate, fit_gate, gated
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.protocols.problem import Context, FitReport, Problem
from mmcl_bench.training.loop import Losses


class VaeSettings(HeadSettings):
    """Settings of a VAE pair; the defaults are those of the papers for NTU-60."""

    latent: int = Field(default=100, ge=2)
    """Dimensions of the latent space."""
    cycle_steps: int = Field(default=1700, ge=1)
    """Steps of a cycle, in which the weights of the losses rise again."""
    kl_from: int = Field(default=1000, ge=0)
    """Step of a cycle from which the KL divergences count."""
    cross_from: int = Field(default=1400, ge=0)
    """Step of a cycle after which skeletons are reconstructed from texts, and texts from skeletons."""
    steps: int = Field(default=17_000, ge=1)
    rate: float = Field(default=1e-4, gt=0)
    samples: int = Field(default=500, ge=1)
    """Latent samples a class that the classifier learns from."""
    classifier_steps: int = Field(default=300, ge=1)
    classifier_rate: float = Field(default=1e-3, gt=0)
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

    The KL weight of skeletons rises from step ``kl_from`` of a cycle on, by 0.1 in 3,000. That of texts is the same
    once cross reconstruction is on, or, in SynSE and after it, rises from there on, from the third cycle.
    """
    cycle, at = divmod(step, settings.cycle_steps)
    cross, skeleton_kl = float(at > settings.cross_from), _rise(at, settings.kl_from)
    if text_kl_from_third_cycle:
        return LossWeights(skeleton_kl, _rise(at, settings.cross_from) * (cycle > 1), cross)
    return LossWeights(skeleton_kl, skeleton_kl * cross, cross)


def _rise(at: int, start: int) -> float:
    return max(0.1 * (at - start) / 3000, 0.0)


class Vae(nn.Module):
    """Linear maps to the mean and the log-variance of latents, and back."""

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
        """(N, D) -> means and log-variances (N, L)."""
        return self.mean(x), self.log_variance(x)

    def decode(self, latent: Tensor) -> Tensor:
        """(N, L) -> (N, D)."""
        decoded: Tensor = self.decoder(latent)
        return decoded.relu() if self.rectified else decoded


def sampled(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Latents for noise (N, L), or (N, 1) for one number a sample."""
    return mean + noise * (0.5 * log_variance).exp()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The KL divergence from the standard normal, summed over dimensions and averaged over the batch."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()


class VaePair(Head):
    """A skeleton VAE and a text VAE; a classifier of latents learns from texts and is applied to skeletons."""

    text_kl_from_third_cycle: ClassVar[bool] = False

    def __init__(self, settings: VaeSettings, n_features: int, slots: Mapping[str, int]) -> None:
        super().__init__()
        self.settings = settings
        self.slots = tuple(slots)
        self.skeleton = Vae(n_features, settings.latent, settings.as_released)
        self.text = Vae(sum(slots.values()), settings.latent, settings.as_released)
        self._classifiers: tuple[nn.Linear, ...] = ()  # in a tuple, as it is no part of what is trained or kept

    def inputs(self, texts: Mapping[str, Tensor]) -> Tensor:
        """(K, D), what the text VAE sees of the classes."""
        joined = torch.cat([texts[slot] for slot in self.slots], dim=1)
        return joined if self.settings.as_released else joined * math.sqrt(joined.shape[1] / len(self.slots))

    def noise(self, n: int, like: Tensor) -> Tensor:
        """(n, L) standard normal numbers; as released (n, 1)."""
        return torch.randn(n, 1 if self.settings.as_released else self.settings.latent).to(like)

    def losses(self, batch: HeadBatch) -> Losses:
        text = self.inputs(batch.texts)[batch.labels]
        weights = weights_at(batch.step - 1, self.settings, self.text_kl_from_third_cycle)
        noise = self.noise(len(text), text), self.noise(len(text), text)
        return self.losses_of(batch.features, text, noise, weights)

    def losses_of(
        self, skeleton: Tensor, text: Tensor, noise: tuple[Tensor, Tensor], weights: LossWeights
    ) -> dict[str, Tensor]:
        """All losses of skeletons (B, S) and their classes' texts (B, T), for the noise of both latents."""
        of_skeleton, of_text = self.skeleton.encode(skeleton), self.text.encode(text)
        skeleton_latent, text_latent = sampled(*of_skeleton, noise[0]), sampled(*of_text, noise[1])
        losses = {
            "skeleton": F.mse_loss(self.skeleton.decode(skeleton_latent), skeleton),
            "text": F.mse_loss(self.text.decode(text_latent), text),
            "skeleton_from_text": F.mse_loss(self.skeleton.decode(text_latent), skeleton),
            "text_from_skeleton": F.mse_loss(self.text.decode(skeleton_latent), text),
            "skeleton_kl": divergence(*of_skeleton),
            "text_kl": divergence(*of_text),
        }
        crossed = losses["skeleton_from_text"] + losses["text_from_skeleton"]
        reconstructed = losses["skeleton"] + losses["text"] + weights.cross * crossed
        diverged = weights.skeleton_kl * losses["skeleton_kl"] + weights.text_kl * losses["text_kl"]
        return {"loss": reconstructed + diverged, **losses}

    def prepare(self, texts: Mapping[str, Tensor], seed: int) -> None:
        """Trains the classifier of all classes in ``texts`` on samples of their latents."""
        with torch.no_grad():
            mean, log_variance = self.text.encode(self.inputs(texts))
            n = len(mean) * self.settings.samples
            latents = sampled(
                mean.repeat(self.settings.samples, 1),
                log_variance.repeat(self.settings.samples, 1),
                self.noise(n, mean),
            )
        labels = torch.arange(len(mean), device=mean.device).repeat(self.settings.samples)
        self.train_classifier(nn.Linear(self.settings.latent, len(mean)).to(mean), latents, labels)

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


class VaeMethod(HeadMethod):
    """A VAE pair, whose classifier knows the unseen classes alone; a gate joins it with the extractor's classifier."""

    Settings: ClassVar[type[VaeSettings]] = VaeSettings
    settings: VaeSettings
    pair: ClassVar[type[VaePair]] = VaePair
    _gate: Gate | None = None

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 5100, "rate": 1e-3}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> VaePair:
        slots = self.text_slots or (MAIN_TEXT,)
        return self.pair(self.settings, n_features, {slot: texts[slot].shape[1] for slot in slots})

    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        self._gate = None
        report = super().learn(train, problem, context)
        if context.chosen is not None:
            self._gate = Gate.from_json(context.chosen["gate"]) if context.chosen["gate"] else None
        elif problem.validation is not None:
            held_out = self.of_clips(problem.validation)
            is_seen = self.seen[held_out.labels]
            self._gate = fit_gate(self._unseen_logits(held_out.features), held_out.features.logits, is_seen)
        report.chosen["gate"] = None if self._gate is None else self._gate.as_json()
        return report

    def score_features(self, features: Features, texts: Texts) -> np.ndarray:
        unseen = self._unseen_logits(features)
        if not self.seen.any():
            return unseen
        margin = np.zeros(len(features)) if self._gate is None else self._gate.margin(unseen, features.logits)
        return gated(unseen, features.logits, margin, self.seen)

    def to_learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, facts = super().to_learned()
        return arrays, {**facts, "gate": None if self._gate is None else self._gate.as_json()}

    def take_learned(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], device: str) -> None:
        super().take_learned(arrays, facts, device)
        self._gate = Gate.from_json(facts["gate"]) if facts["gate"] else None

    def _unseen_logits(self, features: Features) -> np.ndarray:
        unseen = {slot: rows[~self.seen] for slot, rows in self.texts.items()}
        return super().score_features(features, unseen)
