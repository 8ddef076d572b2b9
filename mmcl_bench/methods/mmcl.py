"""MMCL: multi-modality co-learning (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706).

A skeleton network is trained with frozen features of other modalities: its global feature is aligned with those of RGB
person crops (FAM), and answers of a multimodal LLM reweight its scores (FRM). Scoring uses only the skeleton. For zero-
shot tasks the global feature is also aligned with the text embeddings of the seen classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from mmcl_bench.core.errors import UserError
from mmcl_bench.methods.base import MethodSettings
from mmcl_bench.methods.shared.network_method import NetworkMethod, UnlabelledDraw
from mmcl_bench.methods.shared.network_settings import NetworkSettings
from mmcl_bench.methods.shared.skeleton_network import SkeletonNetwork, Teachers
from mmcl_bench.nn.fam import FeatureAlignment
from mmcl_bench.nn.frm import FeatureRefinement
from mmcl_bench.protocols.problem import ClassTable, Context, FitReport, Problem
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout


class TeacherSettings(MethodSettings):
    """Which modalities teach, and how much each weighs."""

    fam: bool = True
    """Whether images teach, by feature alignment."""
    frm: bool = True
    """Whether answers of a language model teach, by feature refinement."""
    contrastive_weight: float = 0.1
    """Of the contrastive loss of feature alignment."""
    refinement_weight: float = 0.2
    """Of the classification loss of refined scores."""
    temperature: float = Field(default=0.4, gt=0)
    """Temperature of the contrastive loss."""
    rgb_encoder: str = "efficientnet-lite0"
    """The frozen encoder of images, a name of ``mmcl-bench list encoders``."""
    instruct_encoder: str = "minilm"
    """The frozen encoder of answers, a name of ``mmcl-bench list encoders``."""

    def encoders(self) -> Mapping[Modality, str]:
        """The encoder of each modality that teaches."""
        wanted = {
            Modality.RGB: (self.fam, self.rgb_encoder),
            Modality.INSTRUCT: (self.frm, self.instruct_encoder),
        }
        return {modality: encoder for modality, (on, encoder) in wanted.items() if on}


class MMCLSettings(TeacherSettings, NetworkSettings):
    """Settings of the network and of its teachers, and variants of feature alignment that are not the paper's."""

    added_later: ClassVar[frozenset[str]] = frozenset({"projection", "contrast", "unlabelled_pairs"})
    projection: int = Field(default=0, ge=0)
    """Width of a projection head between the global feature and the contrast; 0, as in the paper: none."""
    contrast: Literal["instance", "class"] = "instance"
    """What a clip is drawn to: its own image, as in the paper, or images and skeletons of all clips of its class."""
    unlabelled_pairs: bool = False
    """Whether training clips that a task gives no label also teach, by feature alignment, which needs none."""

    @model_validator(mode="after")
    def _teachable(self) -> MMCLSettings:
        if self.unlabelled_pairs and not self.fam:
            raise ValueError("unlabelled_pairs=true needs fam=true, as nothing else teaches without labels")
        return self


class CoLearningNetwork(SkeletonNetwork):
    """The skeleton network with the modules that teach it, for the modalities that the data have."""

    settings: MMCLSettings
    training_parts = ("fam", "frm")

    def __init__(
        self,
        settings: MMCLSettings,
        layout: Layout,
        classes: ClassTable,
        feature_dims: Mapping[Modality, int],
        generator: torch.Generator,
    ) -> None:
        super().__init__(settings, layout, classes, generator)
        rgb, instruct = feature_dims.get(Modality.RGB), feature_dims.get(Modality.INSTRUCT)
        self.fam = None
        if rgb:
            by_class = settings.contrast == "class"
            width = self.backbone.feature_channels
            self.fam = FeatureAlignment(rgb, width, settings.temperature, settings.projection, by_class)
        self.frm = FeatureRefinement(instruct, self.n_seen) if instruct else None

    def extra_loss_names(self) -> list[str]:
        return [name for name, on in (("contrastive", self.fam), ("refinement", self.frm)) if on is not None]

    def extra_losses(
        self, features: Tensor, logits: Tensor, labels: Tensor, teachers: Teachers
    ) -> dict[str, tuple[float, Tensor]]:
        return taught_losses(self.settings, self.fam, self.frm, features, logits, labels, teachers)


def taught_losses(
    settings: TeacherSettings,
    fam: FeatureAlignment | None,
    frm: FeatureRefinement | None,
    features: Tensor,
    logits: Tensor,
    labels: Tensor,
    teachers: Teachers,
) -> dict[str, tuple[float, Tensor]]:
    """The losses of the modules that are there, each with its weight, from features (N, D), logits (L, K) and labels
    (L,) of the first clips; the others have no label, and teach by their RGB features alone."""
    losses = {}
    if fam is not None:
        losses["contrastive"] = settings.contrastive_weight, fam.loss(features, teachers[Modality.RGB], labels)
    if frm is not None:
        refined = frm(logits, teachers[Modality.INSTRUCT])
        losses["refinement"] = settings.refinement_weight, F.cross_entropy(refined, labels)
    return losses


class MMCL(NetworkMethod):
    """Co-learning with every modality that the data has; the result's notes say which losses were on."""

    name: ClassVar[str] = "mmcl"
    version: ClassVar[int] = 3
    summary: ClassVar[str] = "CTR-GCN taught by RGB and multimodal-LLM features (FAM and FRM)"
    published: ClassVar[str] = "ACM MM 2024"
    cost: ClassVar[str] = "minutes"
    Settings = MMCLSettings
    settings: MMCLSettings

    def encoders(self) -> Mapping[Modality, str]:
        return self.settings.encoders()

    @property
    def reads_unlabelled(self) -> bool:
        return self.settings.unlabelled_pairs

    def fit(self, problem: Problem, context: Context) -> FitReport:
        if self.settings.unlabelled_pairs and problem.family != "supervised":
            raise UserError(
                f"{problem.task}: unlabelled_pairs=true is for supervised tasks, of which some clips may have "
                "no label; leave it out"
            )
        if problem.unlabelled is not None and Modality.RGB not in problem.unlabelled.features:
            raise UserError(
                f"{problem.task}: unlabelled_pairs=true needs images, which its data lack; leave it out, or add them "
                "with mmcl-bench features build"
            )
        report = super().fit(problem, context)
        if problem.unlabelled is not None:
            report.notes["unlabelled_pairs"] = len(problem.unlabelled)
        return report

    def unlabelled_draw(self, problem: Problem) -> UnlabelledDraw | None:
        """As many clips without a label as a step has clips with one, or all where they are fewer."""
        pairs = problem.unlabelled
        if pairs is None:
            return None
        prepared, rgb = self.settings.prepare(pairs.clips), torch.from_numpy(pairs.features[Modality.RGB])

        def draw(n_clips: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Teachers]:
            drawn = torch.randperm(len(rgb), generator=generator)[:n_clips]
            return *prepared.batch(drawn), {Modality.RGB: rgb[drawn]}

        return draw

    def build(
        self, layout: Layout, classes: ClassTable, feature_dims: Mapping[Modality, int], generator: torch.Generator
    ) -> CoLearningNetwork:
        return CoLearningNetwork(self.settings, layout, classes, feature_dims, generator)
