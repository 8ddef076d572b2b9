"""ReViSE: autoencoders of features and of texts with codes of one distribution (Tsai et al., ICCV 2017).

As in SynSE's comparison (Gupta et al., ICIP 2021): both sides are autoencoders, whose codes' maximum mean discrepancy
is small, and a head on each code leads to a common space where a clip is nearer to its class than to others by a
margin. Features enter as log(1 + x). SynSE's gate joins it with the extractor's classifier.

As released, the hinge counts the own class as wrong too and gives wrong classes' texts no gradient, the contractive
term is one number for the whole batch without a gradient, and both decoders end in a ReLU though texts have a sign.
Here wrong classes alone count, the contractive term is the squared Frobenius norm of a clip's Jacobian, averaged over
clips, and decoders are linear. The release lowers its rate by accuracy on the unseen test clips and keeps the epoch
that is best there; here the rate is constant and the step is chosen on pseudo-unseen classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.gated_method import GatedMethod, GatedSettings
from mmcl_bench.methods.shared.head_method import Head, HeadBatch
from mmcl_bench.nn.losses import class_hinge_loss
from mmcl_bench.training.loop import Losses

KERNEL = 32.0
"""Of the discrepancy: exp(-32 d^2)."""


class Side(nn.Module):
    """An autoencoder whose last width is that of its code, and a head on the code."""

    def __init__(self, widths: Sequence[int], n_outputs: int, rectified: bool) -> None:
        super().__init__()
        self.encoder = _layers(widths)
        self.decoder = _layers(widths[::-1]) if rectified else _layers(widths[::-1])[:-1]
        self.head = nn.Sequential(nn.Linear(widths[-1], n_outputs), nn.Tanh())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, D) -> codes (N, C), inputs decoded from them (N, D), embeddings (N, E)."""
        code = self.encoder(x)
        return code, self.decoder(code), self.head(code)


class ReViSEHead(Head):
    """One hidden layer for features, two for texts."""

    def __init__(self, settings: ReViSE.Settings, n_features: int, n_text: int) -> None:
        super().__init__()
        self.settings = settings
        self.visual = Side((n_features, settings.code), settings.embedding, settings.as_released)
        self.text = Side((n_text, settings.text_hidden, settings.code), settings.embedding, settings.as_released)

    def losses(self, batch: HeadBatch) -> Losses:
        losses = self.losses_of(batch.features, batch.texts[MAIN_TEXT], batch.labels)
        decay = 0.5 * self.settings.text_decay * sum(weights.square().sum() for weights in self.text.parameters())
        return {**losses, "loss": losses["loss"] + decay}

    def losses_of(self, skeleton: Tensor, texts: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """All losses of skeletons (B, D) of the classes ``labels`` (B,), rows of ``texts`` (S, T)."""
        settings, seen = self.settings, _logarithm(skeleton)
        code, decoded, embedded = self.visual(seen)
        text_code, text_decoded, classes = self.text(texts)
        alike = torch.eye(len(texts), dtype=torch.bool, device=texts.device)
        losses = {
            "hinge": class_hinge_loss(embedded, classes, labels, alike, settings.margin, settings.as_released),
            "discrepancy": discrepancy(code, text_code[labels]),
            "visual": F.mse_loss(decoded, seen),
            "text": F.mse_loss(text_decoded[labels], texts[labels]),
        }
        contractive = settings.contractive * self.contraction(code)
        return {"loss": sum(losses.values(), contractive), **losses, "contractive": contractive}

    def contraction(self, code: Tensor) -> Tensor:
        """How much the codes (B, C) of features change with these; see the module's text."""
        weights, active = self.visual.encoder.get_parameter("0.weight"), (code > 0).float()
        if self.settings.as_released:
            return (active @ weights.detach()).square().sum().sqrt()
        return (active @ weights.square().sum(1)).mean()

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        scores: Tensor = self.visual(_logarithm(features))[2] @ self.text(texts[MAIN_TEXT])[2].T
        return scores


class ReViSE(GatedMethod):
    """On the main text."""

    name: ClassVar[str] = "revise"
    summary: ClassVar[str] = (
        "autoencoders of features and texts with matched codes, a hinge between classes, and a gate"
    )
    kind: ClassVar[str] = "embedding"
    published: ClassVar[str] = "ICCV 2017"
    cost: ClassVar[str] = "a minute"

    class Settings(GatedSettings):
        """The defaults are those of SynSE's comparison for NTU-60; the steps are its 300 epochs."""

        steps: int = Field(default=10_800, ge=1)
        batch_size: int = Field(default=1024, ge=2)
        rate: float = Field(default=1e-4, gt=0)
        code: int = Field(default=100, ge=1)
        """Dimensions of the codes."""
        text_hidden: int = Field(default=512, ge=1)
        """Width of the text side's hidden layer."""
        embedding: int = Field(default=50, ge=1)
        """Dimensions of the common space."""
        margin: float = Field(default=0.3, ge=0)
        """By how much a clip is to be nearer to its own class than to others."""
        contractive: float = Field(default=1e-4, ge=0)
        """Weight of the contractive term."""
        text_decay: float = Field(default=1e-3, ge=0)
        """Weight decay of the text side."""
        as_released: bool = False
        """Whether the faults of the released code are there."""

    settings: Settings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 1500, "batch_size": 128, "rate": 1e-3}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> ReViSEHead:
        return ReViSEHead(self.settings, n_features, texts[MAIN_TEXT].shape[1])


def discrepancy(codes: Tensor, others: Tensor) -> Tensor:
    """The maximum mean discrepancy between two samples (B, C) under the kernel exp(-32 d^2)."""
    both = torch.cat([codes, others])
    # Not by a product of matrices: its rounding would show in distances of zero.
    distances = torch.cdist(both, both, compute_mode="donot_use_mm_for_euclid_dist")
    signs = torch.ones(len(both), device=both.device)
    signs[len(codes) :] = -1
    kernel = (-KERNEL * distances.square()).exp()
    return signs @ kernel @ signs / len(codes) ** 2


def _layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers, each followed by a ReLU."""
    return nn.Sequential(*(layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())))


def _logarithm(x: Tensor) -> Tensor:
    """log(1 + x), odd, so that a backbone with negative features can be used."""
    return x.sign() * x.abs().log1p()
