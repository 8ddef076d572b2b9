"""JPoSE: an embedding for verbs, one for nouns, and one of both (Wray, Larlus, Csurka, Damen, ICCV 2019).

As in SynSE's comparison (Gupta et al., ICIP 2021): in each of the three spaces a clip is nearer to its class's text
than to that of others by a margin; in the first two, clips of one verb or noun are nearer to each other than to others.
The joint space decides. SynSE's gate joins it with the extractor's classifier. A class without a noun or a verb has its
label there.

As released, the hinge counts all classes as wrong, the own one and those of the same verb too, and gives their texts no
gradient; the triplets' hardest negative is the clip itself, as the exclusion of its own class removes nothing, and they
are summed over all pairs of clips, where its positives and negatives have no gradient. Here wrong classes alone count,
and a clip's triplet is its own, with the nearest clip of another verb. The release lowers its rate by accuracy on the
unseen test clips and stops by it; here the rate is constant and the step is chosen on pseudo-unseen classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES, Texts
from mmcl_bench.methods.shared.gated_method import GatedMethod, GatedSettings
from mmcl_bench.methods.shared.head_method import Head, HeadBatch
from mmcl_bench.nn.losses import class_hinge_loss
from mmcl_bench.training.loop import Losses

PARTS = ("verb", "noun")
_SAME_TEXT = 1 - 1e-5
"""The cosine from which two texts are the same one."""


class Space(nn.Module):
    """Maps of clips and of texts to a space, where they have length one."""

    def __init__(self, visual: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.visual, self.text = visual, text

    def forward(self, clips: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) and (K, T) -> (N, E) and (K, E)."""
        return F.normalize(self.visual(clips), dim=1), F.normalize(self.text(texts), dim=1)


class JPoSEHead(Head):
    """The spaces of verbs, of nouns, and of both."""

    def __init__(self, settings: JPoSE.Settings, n_features: int, n_text: int) -> None:
        super().__init__()
        self.settings = settings
        width, joint = settings.part, settings.joint
        self.parts = nn.ModuleDict(
            {
                part: Space(
                    nn.Sequential(nn.Linear(n_features, width), nn.Tanh()),
                    nn.Sequential(
                        nn.Linear(n_text, settings.text_hidden),
                        nn.Tanh(),
                        nn.Linear(settings.text_hidden, width),
                        nn.ReLU(),
                    ),
                )
                for part in PARTS
            }
        )
        visual, text = (nn.Sequential(nn.Linear(len(PARTS) * width, joint), nn.Tanh()) for _ in range(2))
        self.joint = Space(visual, text)

    def embedded(self, skeleton: Tensor, texts: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Clips (N, D) and classes (K, T) in each space."""
        found = {part: space(F.normalize(skeleton, dim=1), texts[part]) for part, space in self.parts.items()}
        both = (torch.cat(sides, dim=1) for sides in zip(*found.values(), strict=True))
        return {**found, "joint": self.joint(*both)}

    def losses(self, batch: HeadBatch) -> Losses:
        losses = self.losses_of(batch.features, batch.texts, batch.labels)
        decay = 0.5 * self.settings.joint_decay * sum(weights.square().sum() for weights in self.joint.parameters())
        return {**losses, "loss": losses["loss"] + decay}

    def losses_of(self, skeleton: Tensor, texts: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """All losses of skeletons (B, D) of the classes ``labels`` (B,), rows of each of the texts (S, T)."""
        settings, found = self.settings, self.embedded(skeleton, texts)
        alike = {part: texts[part] @ texts[part].T > _SAME_TEXT for part in PARTS}
        alike["joint"] = alike["verb"] & alike["noun"]
        hinges = {
            f"{space}_hinge": class_hinge_loss(*sides, labels, alike[space], settings.margin, settings.as_released)
            for space, sides in found.items()
        }
        triplet = triplet_loss_as_released if settings.as_released else triplet_loss
        triplets = {
            f"{part}_triplet": triplet(found[part][0], alike[part][labels][:, labels], settings.margin)
            for part in PARTS
        }
        loss = sum(hinges.values(), settings.triplet * torch.stack([*triplets.values()]).sum())
        return {"loss": loss, **hinges, **triplets}

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        clips, classes = self.embedded(features, texts)["joint"]
        return clips @ classes.T


class JPoSE(GatedMethod):
    """Verbs and nouns apart and together."""

    name: ClassVar[str] = "jpose"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "embeddings by verb, by noun and by both, hinges and triplets, and a gate"
    kind: ClassVar[str] = "embedding"
    published: ClassVar[str] = "ICCV 2019"
    cost: ClassVar[str] = "a minute"
    text_slots: ClassVar[tuple[str, ...]] = PARTS

    class Settings(GatedSettings):
        """The defaults are those of SynSE's comparison for NTU-60; the steps are its 2,000 epochs."""

        steps: int = Field(default=72_000, ge=1)
        batch_size: int = Field(default=1024, ge=2)
        rate: float = Field(default=1e-4, gt=0)
        part: int = Field(default=50, ge=1)
        """Dimensions of the spaces of verbs and nouns."""
        joint: int = Field(default=50, ge=1)
        """Dimensions of the joint space."""
        text_hidden: int = Field(default=512, ge=1)
        """Width of the text side's hidden layer."""
        margin: float = Field(default=0.3, ge=0)
        """By how much a clip is to be nearer to its own class than to others."""
        triplet: float = Field(default=0.01, ge=0)
        """Weight of the triplets."""
        joint_decay: float = Field(default=1e-3, ge=0)
        """Weight decay of the joint space."""
        as_released: bool = False
        """Whether the faults of the released code are there."""

    settings: Settings

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        # Chosen on pseudo-unseen classes of UTD-MHAD 22/5, over two seeds; longer training only fits the seen clips.
        quick = {**QUICK_FEATURES, "steps": 300, "batch_size": 128, "rate": 3e-3}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def build(self, n_features: int, texts: Texts) -> JPoSEHead:
        return JPoSEHead(self.settings, n_features, texts[PARTS[0]].shape[1])


def triplet_loss(clips: Tensor, alike: Tensor, margin: float) -> Tensor:
    """The mean of max(0, s(negative) - s(positive) + margin) over clips (N, D) of length one.

    The negative is the most similar clip that is not alike, the positive the least similar that is; ``alike`` is
    (N, N) bool. A clip without a negative counts as 0.
    """
    similar = clips @ clips.T
    negative = similar.masked_fill(alike, -torch.inf).amax(1)
    positive = similar.masked_fill(~alike, torch.inf).amin(1)
    return (negative - positive + margin).clamp(min=0).mean()


def triplet_loss_as_released(clips: Tensor, alike: Tensor, margin: float) -> Tensor:
    """What the release computes: every clip is compared with every clip's positive and its negative, itself."""
    fixed = clips.detach()
    positive = fixed[(fixed @ fixed.T).masked_fill(~alike, torch.inf).argmin(1)]
    return (clips @ fixed.T - clips @ positive.T + margin).clamp(min=0).sum() / len(clips)
