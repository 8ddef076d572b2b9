"""Flora: which class's text flows into a clip, by the velocity of a flow between their latents.

Chen et al., "Flora", CVPR 2026 Findings. The texts of a class are first moved towards those of its nearest classes.
Phase one trains a VAE of texts and one of features, without a divergence, so that each decodes the other's latents and
their means and log-variances agree. Phase two trains a transformer v to predict the velocity of a flow from the text's
latent a to the clip's b: at time t the flow is at (1 - (1 - r) t) a + t b with r = 1e-5, and its velocity is b - (1 -
r) a. A clip is of the class under whose text the error of the velocity at t = 0.5 is least.

What differs from paper and release: the tokens of a class are its label and its main text, a vector each, where the
release has 61 words; vectors of length one are scaled to unit variance. Neighbours are sought among the seen classes
alone, and their weight is chosen on pseudo-unseen classes; the release seeks them among the unseen ones as well
(``as_released``) and sets the weight by hand for each split and setting. Latents are not sampled at test, where the
release's predictions follow from the noise drawn. The release takes the best of every tenth step on the unseen test
clips. It calls a clip unseen when the least error of the seen classes is above 0.75 of that of the unseen ones; scores
here are minus the logarithm of the error, so that this ratio is the margin that is calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, QUICK_FEATURES, FeatureClips, Texts
from mmcl_bench.methods.shared.head_method import Head, HeadBatch, HeadMethod, HeadSettings
from mmcl_bench.nn.dit import DiffusionTransformer
from mmcl_bench.protocols.problem import Context, FitReport, Problem
from mmcl_bench.training.loop import Losses

_SHRINK = 1e-5 - 1
"""Least over largest standard deviation of the flow's path, less one."""
_TIME = 0.5
"""Of the flow, at which clips are scored."""
_CONTRAST = 0.1
_ALIGNMENT = 0.1
Gaussian = Sequence[Tensor]
"""Mean and log-variance of latents."""


class FloraSettings(HeadSettings):
    """Settings of Flora; the defaults are those of the paper for NTU-60 55/5."""

    width: int = Field(default=768, ge=1)
    """Of the latents and of the transformer."""
    depth: int = Field(default=1, ge=1)
    """The transformer's layers."""
    heads: int = Field(default=12, ge=1)
    """Heads of attention in a layer."""
    neighbours: int = Field(default=2, ge=1)
    """How many classes a class's text is moved towards."""
    weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (0.1, 0.3, 0.6, 1.0)
    """How far, to choose from: what the release sets by hand for one or another split."""
    steps: int = Field(default=1200, ge=1)
    aligning: float = Field(default=1000 / 1200, ge=0, lt=1)
    """Share of the steps that is phase one."""
    rate: float = Field(default=1e-4, gt=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    weight_decay: float = Field(default=0.01, ge=0)
    as_released: bool = False
    """Whether neighbours are sought among unseen classes as well, also in training."""


class Encoder(nn.Module):
    """(..., D) -> mean and log-variance (..., W)."""

    def __init__(self, n_inputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_inputs, width), nn.ReLU(), nn.Linear(width, width))
        self.mean = nn.Linear(width, width)
        self.log_variance = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Gaussian:
        hidden = self.layers(x)
        return self.mean(hidden), self.log_variance(hidden)


def decoder(width: int, n_outputs: int) -> nn.Sequential:
    """(..., W) -> (..., D)."""
    return nn.Sequential(nn.Linear(width, n_outputs), nn.ReLU(), nn.Linear(n_outputs, n_outputs))


def attuned(tokens: Tensor, known: Tensor, weight: float, n_neighbours: int) -> Tensor:
    """Tokens (K, M, T) moved towards those of the nearest of the known classes (S, M, T), by the cosine of their means.

    A class is no neighbour of itself.
    """
    similar = F.cosine_similarity(tokens.mean(1).unsqueeze(1), known.mean(1).unsqueeze(0), dim=2)
    itself = (tokens.unsqueeze(1) == known.unsqueeze(0)).all(3).all(2)
    nearest = similar.masked_fill(itself, -torch.inf).topk(min(n_neighbours, len(known)), dim=1)
    shares = torch.where(nearest.values.isfinite(), nearest.values, 0) * weight / n_neighbours
    return tokens + torch.einsum("kn,knmt->kmt", shares, known[nearest.indices])


def sampled(of: Gaussian, noise: Tensor) -> Tensor:
    """Latents for noise of their shape."""
    return of[0] + noise * (0.5 * of[1]).exp()


def velocity(text: Tensor, skeleton: Tensor) -> Tensor:
    """Of the flow from text latents to skeleton latents."""
    return _SHRINK * text + skeleton


def on_path(text: Tensor, skeleton: Tensor, time: Tensor) -> Tensor:
    """Where the flow is at times (N,)."""
    at = time.view(-1, 1, 1)
    return (1 + _SHRINK * at) * text + at * skeleton


class FlowHead(Head):
    """VAEs of features and texts, and the flow between their latents (N, M, W)."""

    known: Tensor

    def __init__(self, settings: FloraSettings, n_features: int, known: Tensor, weight: float) -> None:
        """``known`` are tokens (S, M, T) of the classes that may be neighbours, ``weight`` is how much they count."""
        super().__init__()
        self.settings, self.weight = settings, weight
        self.skeleton = Encoder(n_features, settings.width)
        self.text = Encoder(known.shape[2], settings.width)
        self.to_skeleton = decoder(settings.width, n_features)
        self.to_text = decoder(settings.width, known.shape[2])
        self.flow = DiffusionTransformer(settings.width, settings.width, settings.depth, settings.heads)
        self.register_buffer("known", known)

    def attuned(self, texts: Mapping[str, Tensor]) -> Tensor:
        """(K, M, T), what the text VAE sees of the classes."""
        return attuned(tokens_of(texts), self.known, self.weight, self.settings.neighbours)

    def losses(self, batch: HeadBatch) -> Losses:
        tokens = self.attuned(batch.texts)
        text = tokens[batch.labels]

        def noise() -> Tensor:
            return torch.randn(*text.shape[:2], self.settings.width).to(text)

        if batch.step <= phase_one(self.settings):
            return self.aligning_losses(batch.features, text, (noise(), noise()))
        other = of_another_class(batch.labels)
        time = torch.randn(len(text)).sigmoid().to(text)
        with torch.no_grad():
            both = self.latents(batch.features, text, (noise(), noise()))
            wrong = self.latents(batch.features[other], text[other], (noise(), noise()))
        return self.flow_losses(both, wrong, time)

    def latents(self, skeleton: Tensor, text: Tensor, noise: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Latents (N, M, W) of features (N, D) and of tokens (N, M, T), for the noise of both."""
        mean, log_variance = self.skeleton(skeleton.unsqueeze(1))
        return sampled((mean, log_variance), noise[0]), sampled(self.text(text), noise[1])

    def aligning_losses(self, skeleton: Tensor, text: Tensor, noise: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Phase one, of features (B, D) and tokens (B, M, T), for noise (B, M, W) of the latents of both."""
        repeated, *of_skeleton = (
            rows.unsqueeze(1).expand(-1, text.shape[1], -1) for rows in (skeleton, *self.skeleton(skeleton))
        )
        of_text = self.text(text)
        from_skeleton, from_text = sampled(of_skeleton, noise[0]), sampled(of_text, noise[1])
        losses = {
            "skeleton": F.mse_loss(self.to_skeleton(from_skeleton), repeated),
            "text": F.mse_loss(self.to_text(from_text), text),
            "text_from_skeleton": F.mse_loss(self.to_text(from_skeleton), text),
            "skeleton_from_text": F.mse_loss(self.to_skeleton(from_text), repeated),
        }
        reconstruction = torch.stack(list(losses.values())).mean()
        means, log_variances = (F.mse_loss(*pair) for pair in zip(of_text, of_skeleton, strict=True))
        loss = reconstruction + _ALIGNMENT * (means + log_variances)
        return {"loss": loss, **losses, "means": means, "log_variances": log_variances}

    def flow_losses(self, both: tuple[Tensor, Tensor], wrong: tuple[Tensor, Tensor], time: Tensor) -> dict[str, Tensor]:
        """Phase two, of latents (B, M, W) of skeleton and text, of those of clips of other classes, and times (B,)."""
        predicted = self.flow(on_path(both[1], both[0], time), time)
        flow = F.mse_loss(predicted, velocity(both[1], both[0]))
        contrast = F.mse_loss(predicted, velocity(wrong[1], wrong[0]))
        return {"loss": flow - _CONTRAST * contrast, "flow": flow, "contrast": contrast}

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        text = self.text(self.attuned(texts))[0]
        skeleton = self.skeleton(features)[0].unsqueeze(1).expand(-1, text.shape[1], -1)
        return -self.errors(skeleton, text).clamp(min=1e-12).log()

    def errors(self, skeleton: Tensor, text: Tensor) -> Tensor:
        """(N, K) mean squared errors of the velocity from text latents (K, M, W) to skeleton latents (N, M, W)."""
        time = torch.full((1,), _TIME, device=skeleton.device)
        columns = [
            (self.flow(on_path(one, skeleton, time), time) - velocity(one, skeleton)).square().mean((1, 2))
            for one in text
        ]
        return torch.stack(columns, dim=1)


def phase_one(settings: FloraSettings) -> int:
    """The last step of phase one."""
    return min(round(settings.steps * settings.aligning), settings.steps - 1)


def of_another_class(labels: Tensor) -> Tensor:
    """(B,) for each clip one of another class, at random; where the batch has none, the clip itself."""
    differs = (labels.unsqueeze(1) != labels.unsqueeze(0)).float().cpu()
    alone = differs.sum(1, keepdim=True) == 0
    return torch.multinomial(torch.where(alone, torch.eye(len(labels)), differs), 1).squeeze(1).to(labels.device)


def tokens_of(texts: Mapping[str, Tensor]) -> Tensor:
    """(K, 2, D), label and main text of the classes, of unit variance."""
    tokens = torch.stack([texts["label"], texts[MAIN_TEXT]], dim=1)
    return tokens * math.sqrt(tokens.shape[2])


class Flora(HeadMethod):
    """A flow from texts to features; how far texts are moved towards their neighbours is chosen on validation."""

    name: ClassVar[str] = "flora"
    summary: ClassVar[str] = "how well a flow leads from a class's text to the features, in a shared latent space"
    kind: ClassVar[str] = "generator"
    published: ClassVar[str] = "CVPR Findings 2026"
    cost: ClassVar[str] = "a minute"
    text_slots: ClassVar[tuple[str, ...]] = ("label",)
    Settings: ClassVar[type[FloraSettings]] = FloraSettings
    settings: FloraSettings
    _weight: float

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "width": 128, "heads": 4, "steps": 600, "rate": 1e-3}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    @property
    def uses_unseen_texts(self) -> bool:
        return self.settings.as_released

    def build(self, n_features: int, texts: Texts) -> FlowHead:
        known = tokens_of({slot: torch.from_numpy(rows) for slot, rows in texts.items()})
        known = known if self.settings.as_released else known[torch.from_numpy(self.seen)]
        return FlowHead(self.settings, n_features, known, self._weight)

    def unfinished_steps(self) -> int:
        return phase_one(self.settings)

    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        if context.chosen is not None:
            self._weight = context.chosen["weight"]
            report = super().learn(train, problem, context)
            report.chosen["weight"] = self._weight
            return report
        self._tried: dict[float, tuple[FitReport, Head, dict[int, dict[str, Tensor]]]] = {}

        def trained() -> Iterator[float]:
            for weight in self.settings.weights:
                self._weight, self.choosing = weight, f"step at weight {weight}"
                report = HeadMethod.learn(self, train, problem, context)
                self._tried[weight] = report, self._head, self._snapshots
                yield weight

        figures = self.validation_figures(problem, trained())
        chosen = self.choose("weight", figures)
        report = self._tried[chosen][0]
        for each in self.of_draws:
            each._weight = chosen
            _, each._head, each._snapshots = each._tried[chosen]
            each.restore(report.chosen["step"])
        report.chosen["weight"] = chosen
        report.notes["validation by weight"] = {str(weight): figure for weight, figure in figures.items()}
        return report

    def to_learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, facts = super().to_learned()
        return arrays, {**facts, "weight": self._weight}

    def take_learned(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], device: str) -> None:
        self._weight = facts["weight"]
        super().take_learned(arrays, facts, device)
