"""MMCL: multi-modality co-learning (Liu, Chen, Liu, ACM MM 2024, arXiv 2407.15706).

A skeleton network learns beside frozen features of the other modalities: RGB person crops pull its global feature
(FAM), answers of a multimodal LLM reweigh its scores (FRM). Scoring runs on the skeleton alone. For zero-shot tasks
the global feature is also aligned with the text embeddings of the seen classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import DenseScorer, Method, ScoringNetwork
from mmcl_bench.methods.shared.saved import read_model, require_width, write_model
from mmcl_bench.nn import BACKBONES
from mmcl_bench.nn.fam import FeatureAlignment
from mmcl_bench.nn.frm import FeatureRefinement
from mmcl_bench.nn.losses import mmcl_loss, text_alignment_loss, text_similarity
from mmcl_bench.nn.pooling import mean_by_clip
from mmcl_bench.nn.position_scorer import PositionScorer
from mmcl_bench.protocols.problem import ClassTable, ClipView, Context, FitReport, LabelledClips, Problem
from mmcl_bench.skeleton.augmentation import (
    Compose,
    CropResize,
    Jitter,
    RandomFlip,
    RandomRotation,
    RandomScale,
    Transform,
    centre_crop,
)
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout, get_layout
from mmcl_bench.skeleton.streams import stack
from mmcl_bench.skeleton.transforms import PreparedTracks, bodies_last, prepare_clips
from mmcl_bench.training.loop import Losses, Schedule, Step, Trainer, in_precision

PREPARED_FRAMES = 64
SCORED_SHARE = 0.95
"""The middle share of a clip that is scored, as in CTR-GCN."""
_SCORE_BATCH = 256
_TEXTS = "texts"
"""Name of the class texts' embeddings among the arrays of a saved model."""
StreamName = Literal["joint", "bone", "joint-motion", "bone-motion"]


class Settings(BaseModel):
    """Every setting of the method; the defaults are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "ctr-gcn"
    """The skeleton network, a name of ``mmcl-bench list backbones``."""
    streams: Annotated[tuple[StreamName, ...], Field(min_length=1)] = ("joint",)
    """Streams of the skeleton, stacked as input channels."""
    n_frames: int = Field(default=64, ge=4)
    """Frames of the network's input."""
    normalise: bool = True
    """Centre on the hip, turn to face the sensor, scale by the torso."""
    n_bodies: int = Field(default=2, ge=1)
    """Bodies of the network's input, absent ones zero; 1: every track is a sample, and a clip is the mean of them."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the global feature, before the classifier and the text head."""
    tilt: float = Field(default=0.3, ge=0)
    """Random rotation about each axis, radians at most."""
    crop: float = Field(default=0.5, gt=0, le=1)
    """Smallest share of a clip that a random crop keeps."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Random change of size, as a share at most."""
    jitter: float = Field(default=0.0, ge=0)
    """Deviation of random noise on each coordinate, in torso lengths."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability that left and right change places."""
    fam: bool = True
    frm: bool = True
    contrastive_weight: float = 0.1
    refinement_weight: float = 0.2
    temperature: float = Field(default=0.4, gt=0)
    """Of the contrastive loss."""
    alignment_weight: float = 1.0
    """Of the alignment with class texts, zero-shot only."""
    text_temperature: float = Field(default=0.1, gt=0)
    rgb_encoder: str = "efficientnet-lite0"
    instruct_encoder: str = "minilm"
    epochs: int = Field(default=110, ge=1)
    min_steps: int = Field(default=0, ge=0)
    """Small sets get as many epochs as give them this many steps."""
    batch_size: int = Field(default=200, ge=2)
    base_rate: float = Field(default=0.1, gt=0)
    warmup_epochs: int = Field(default=5, ge=0)
    decay: Literal["cosine", "steps"] = "steps"
    steps: tuple[int, ...] = (90, 100)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = Field(default=4e-4, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    """Longest gradient."""
    accumulate: int = Field(default=1, ge=1)
    """Parts in which a batch is computed, for small memories; batch statistics are then those of a part."""
    selection: Literal["auto", "validation", "fixed"] = "auto"
    """Whether a first fit on held-out training clips chooses the epoch; auto: in zero-shot tasks alone."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation figure after which the first fit stops."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of products, in training and scoring; weights, statistics and losses stay in float32."""
    processes: int = Field(default=1, ge=1)
    """Processes that share a batch in training, one a GPU; batch statistics are then those of a share."""
    compile: bool = False
    """Whether torch.compile makes the backbone's code: minutes at the start, and faster steps on GPUs."""

    @field_validator("backbone")
    @classmethod
    def _exists(cls, name: str) -> str:
        BACKBONES.get(name)
        return name

    def augmentation(self, layout: Layout) -> Compose:
        """How training clips are varied."""
        pieces: list[Transform] = [
            CropResize(self.n_frames, self.crop, 1.0),
            RandomRotation(self.tilt),
            RandomScale(1 - self.scale, 1 + self.scale),
        ]
        if self.flip:
            pieces.append(RandomFlip(self.flip, layout))
        if self.jitter:
            pieces.append(Jitter(self.jitter))
        return Compose(tuple(pieces))

    def prepare(self, clips: ClipView) -> PreparedTracks:
        """Tracks at a frame rate that leaves room for crops."""
        return prepare_clips(clips, max(self.n_frames, PREPARED_FRAMES), self.normalise)

    def schedule(self) -> Schedule:
        return Schedule(
            epochs=self.epochs,
            batch_size=self.batch_size,
            base_rate=self.base_rate,
            min_steps=self.min_steps,
            warmup_epochs=self.warmup_epochs,
            decay=self.decay,
            steps=self.steps,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            accumulate=self.accumulate,
            patience=self.patience,
            precision=self.precision,
            processes=self.processes,
        )


PAPER = Settings()
# Chosen on held-out training subjects of NW-UCLA x-sub and pseudo-unseen classes of synth60 55/5. The former were seen
# by all three cameras, so NW-UCLA x-view, which tests on camera 3, is not untouched by the choice.
QUICK = Settings(
    backbone="ctr-gcn-tiny",
    streams=("joint", "bone", "joint-motion", "bone-motion"),
    n_frames=24,
    n_bodies=1,
    dropout=0.3,
    crop=0.7,
    epochs=25,
    min_steps=800,
    batch_size=32,
    base_rate=3e-3,
    warmup_epochs=2,
    decay="cosine",
    steps=(),
    optimizer="adamw",
    weight_decay=5e-2,
)


def _presets(**changes: Any) -> Mapping[str, Mapping[str, Any]]:
    presets = {"quick": QUICK, "paper": PAPER}
    return {name: {**preset.model_dump(mode="json"), **changes} for name, preset in presets.items()}


class MMCL(Method):
    """Co-learning with every modality that the data has; the result's notes say which losses were on."""

    name: ClassVar[str] = "mmcl"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "CTR-GCN taught by RGB and multimodal-LLM features (FAM and FRM)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _presets()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._prepared: tuple[ClipView, PreparedTracks] | None = None
        try:
            self._chosen = Settings.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"method {self.name}: setting {where}={first['input']}: {first['msg']}") from error

    @classmethod
    def encoders(cls, settings: Mapping[str, Any]) -> Mapping[Modality, str]:
        wanted = {Modality.RGB: ("fam", "rgb_encoder"), Modality.INSTRUCT: ("frm", "instruct_encoder")}
        return {modality: settings[encoder] for modality, (on, encoder) in wanted.items() if settings[on]}

    @classmethod
    def selects(cls, settings: Mapping[str, Any], family: str) -> bool:
        return settings["selection"] == "validation" or (settings["selection"] == "auto" and family == "zero-shot")

    @classmethod
    def scoring_network(
        cls,
        layout: Layout,
        n_classes: int,
        settings: Mapping[str, Any],
        feature_dims: Mapping[Modality, int] | None = None,
    ) -> ScoringNetwork:
        classes = ClassTable(tuple(map(str, range(n_classes))), seen=np.ones(n_classes, dtype=bool))
        taught = cls.encoders(settings)
        dims = {modality: dim for modality, dim in (feature_dims or {}).items() if modality in taught}
        chosen = Settings.model_validate(settings)
        with torch.random.fork_rng(devices=[]):
            generator = torch.Generator().manual_seed(0)
            network = CoLearningNetwork(chosen, layout, classes, dims, False, generator)
        return _measurable(_compiled(network), layout, dims)

    def fitted_network(self) -> ScoringNetwork:
        return _measurable(self._network, self._layout, {})

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self._layout = get_layout(problem.train.clips.layout)
        self._classes = problem.classes
        self._network = _compiled(_network(self._chosen, self._layout, problem, context))
        self._trainer = Trainer(self._network, self._chosen.schedule(), context)
        validate = None if problem.validation is None else self._validation(problem, problem.validation)
        report = self._trainer.run(len(problem.train), self._step(problem), validate)
        report.notes["losses"] = self._network.losses()
        return report

    def score(self, clips: ClipView) -> np.ndarray:
        # The oracle asks for the same clips after one epoch and another.
        if self._prepared is None or self._prepared[0] is not clips:
            self._prepared = clips, self._chosen.prepare(clips)
        return self._score(self._prepared[1])

    def embed(self, clips: ClipView) -> np.ndarray | None:
        text_head = self._network.text_head
        return None if text_head is None else self._by_clip(self._chosen.prepare(clips), text_head)

    def save(self, folder: Path) -> list[str]:
        arrays = {name: value.cpu().numpy() for name, value in self._network.scoring_state().items()}
        facts = {"classes": list(self._classes.names), "seen": self._classes.seen.tolist()}
        return write_model(folder, self, self._layout.name, facts, arrays)

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any], device: str = "cpu") -> Self:
        saved, method = read_model(folder, cls), cls(**settings)
        weights = {name: torch.from_numpy(array) for name, array in saved.arrays.items()}
        texts = saved.arrays.get(_TEXTS)
        method._layout = get_layout(saved.layout)
        method._classes = ClassTable(
            tuple(saved.facts["classes"]), np.array(saved.facts["seen"], dtype=bool), embeddings=texts
        )
        with torch.random.fork_rng(devices=[]):
            network = CoLearningNetwork(
                method._chosen, method._layout, method._classes, {}, texts is not None, torch.Generator()
            )
        network.load_state_dict({name: value for name, value in weights.items() if name != _TEXTS})
        method._network = network.to(device).eval()
        return method

    def replace_classes(self, embeddings: np.ndarray) -> None:
        if self._network.text_head is None:
            super().replace_classes(embeddings)
        require_width(embeddings, self._network.texts.shape[1])
        self._network.texts = torch.from_numpy(embeddings).to(self._network.texts)

    def dense_scorer(self) -> DenseScorer:
        settings, n_bodies = self._chosen, self._chosen.n_bodies

        def prepare(clips: ClipView) -> np.ndarray:
            prepared = settings.prepare(clips)
            tracks = centre_crop(prepared.tracks, settings.n_frames, SCORED_SHARE)
            places = n_bodies if n_bodies > 1 else max(1, int(prepared.clip.bincount().max()))
            return bodies_last(tracks, prepared.clip, prepared.n_clips, places).numpy()

        network = self._network.eval()
        return DenseScorer(
            module=PositionScorer(network, settings.streams, self._layout).eval(),
            prepare=prepare,
            layout=self._layout.name,
            n_frames=settings.n_frames,
            n_bodies=n_bodies if n_bodies > 1 else None,
            streams=settings.streams,
        )

    def snapshots(self) -> list[int]:
        return self._trainer.snapshots()

    def restore(self, epoch: int) -> None:
        self._trainer.restore(epoch)

    def _validation(self, problem: Problem, held_out: LabelledClips) -> Callable[[], float]:
        prepared = self._chosen.prepare(held_out.clips)
        metric = METRICS.get(problem.metric)
        return lambda: metric(Scored(self._score(prepared), held_out.labels, problem.classes.seen))

    def _score(self, prepared: PreparedTracks) -> np.ndarray:
        return self._by_clip(prepared, self._network.score)

    @torch.inference_mode()
    def _by_clip(self, prepared: PreparedTracks, head: Callable[[Tensor], Tensor]) -> np.ndarray:
        """float32 (N, ...), what ``head`` makes of F_g."""
        self._network.eval()
        found = []
        device = self._network.device
        for clips in torch.arange(prepared.n_clips).split(_SCORE_BATCH):
            tracks, clip = prepared.batch(clips)
            streams = self._streams(centre_crop(tracks, self._chosen.n_frames, SCORED_SHARE))
            with in_precision(self._chosen.precision, device.type):
                features = self._network.global_feature(streams.to(device), clip.to(device), len(clips))
                found.append(head(features).float().cpu())
        return torch.cat(found).numpy()

    def _step(self, problem: Problem) -> Step:
        data, vary = _TrainingSet(self._chosen, problem), self._chosen.augmentation(self._layout)

        def step(module: nn.Module, batch: Tensor, generator: torch.Generator) -> Losses:
            tracks, clip = data.prepared.batch(batch)
            streams = self._streams(vary(tracks, clip, generator))
            device = self._network.device
            losses: Losses = module(
                streams.to(device), clip.to(device), data.labels[batch].to(device), data.teachers(batch, device)
            )
            return losses

        return step

    def _streams(self, tracks: Tensor) -> Tensor:
        return stack(tracks, self._chosen.streams, self._layout)


class SkeletonOnly(MMCL):
    """MMCL's network and schedule without its teachers: what co-learning is compared with."""

    name: ClassVar[str] = "skeleton-only"
    summary: ClassVar[str] = "CTR-GCN alone: MMCL without FAM and FRM"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _presets(fam=False, frm=False)


class CoLearningNetwork(nn.Module):
    """The skeleton network with the modules that teach it. Only backbone and text head are used for scoring."""

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        classes: ClassTable,
        feature_dims: Mapping[Modality, int],
        text_aligned: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.n_seen = n_seen = int(classes.seen.sum())
        self.backbone = BACKBONES.get(settings.backbone)(
            layout,
            n_classes=n_seen,
            n_bodies=settings.n_bodies,
            in_channels=3 * len(settings.streams),
            dropout=settings.dropout,
            generator=generator,
        )
        dim = self.backbone.feature_channels
        rgb, instruct = feature_dims.get(Modality.RGB), feature_dims.get(Modality.INSTRUCT)
        self.fam = FeatureAlignment(rgb, dim, settings.temperature) if rgb else None
        self.frm = FeatureRefinement(instruct, n_seen) if instruct else None
        self.text_head: nn.Linear | None = None
        self.texts: Tensor
        self.seen: Tensor
        if text_aligned and classes.embeddings is not None:
            self.text_head = nn.Linear(dim, classes.embeddings.shape[1])
            self.register_buffer("texts", torch.from_numpy(classes.embeddings), persistent=False)
            self.register_buffer("seen", torch.from_numpy(classes.seen), persistent=False)

    def losses(self) -> list[str]:
        """Names of the losses that are on."""
        on = {"classification": True, "contrastive": self.fam, "refinement": self.frm, "alignment": self.text_head}
        return [name for name, module in on.items() if module is not None]

    def scoring_state(self) -> dict[str, Tensor]:
        """Weights and class texts that scoring needs."""
        parts = {"backbone": self.backbone, "text_head": self.text_head}
        state = {
            f"{part}.{name}": value
            for part, module in parts.items()
            if module is not None
            for name, value in module.state_dict().items()
        }
        return state if self.text_head is None else {**state, _TEXTS: self.texts}

    def training_only(self) -> tuple[nn.Module, ...]:
        """The modules that scoring does without."""
        teachers = [module for module in (self.fam, self.frm) if module is not None]
        return (*teachers, self.backbone.classifier) if self.text_head is not None else tuple(teachers)

    def global_feature(self, tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
        """Body tracks (R, C, T, V) and their clips (R,) -> F_g (n_clips, D)."""
        if self.settings.n_bodies == 1:
            return mean_by_clip(self.backbone.global_feature(tracks.unsqueeze(-1)), clip, n_clips)
        return self.backbone.global_feature(bodies_last(tracks, clip, n_clips, self.settings.n_bodies))

    def score(self, features: Tensor) -> Tensor:
        """F_g (N, D) -> (N, K): similarities to all class texts, or logits where there are none."""
        if self.text_head is None:
            return self.backbone.classify(features)
        return text_similarity(self.text_head(features), self.texts) / self.settings.text_temperature

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, tracks: Tensor, clip: Tensor, labels: Tensor, teachers: Mapping[Modality, Tensor]) -> Losses:
        """:meth:`training_losses` of body tracks (R, C, T, V) and the clip of each (R,), ascending."""
        return self.training_losses(self.global_feature(tracks, clip, len(labels)), labels, teachers)

    def training_losses(self, features: Tensor, labels: Tensor, teachers: Mapping[Modality, Tensor]) -> Losses:
        """All losses that are on, and their weighted sum ``loss``. ``labels`` number the seen classes."""
        logits = self.backbone.classify(features)
        losses = {"classification": F.cross_entropy(logits, labels)}
        if self.fam is not None:
            losses["contrastive"] = self.fam.loss(features, teachers[Modality.RGB])
        if self.frm is not None:
            losses["refinement"] = F.cross_entropy(self.frm(logits, teachers[Modality.INSTRUCT]), labels)
        total = mmcl_loss(
            losses["classification"],
            losses.get("contrastive"),
            losses.get("refinement"),
            self.settings.contrastive_weight,
            self.settings.refinement_weight,
        )
        if self.text_head is not None:
            losses["alignment"] = text_alignment_loss(
                self.text_head(self.backbone.drop_out(features)),
                self.texts[self.seen],
                labels,
                self.settings.text_temperature,
            )
            total = total + self.settings.alignment_weight * losses["alignment"]
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": total, **losses, "accuracy": accuracy}


def _network(settings: Settings, layout: Layout, problem: Problem, context: Context) -> CoLearningNetwork:
    """A network with initial weights that follow from the seed alone."""
    seed = derive_seed(context.seed, "weights")
    dims = {modality: features.shape[1] for modality, features in problem.train.features.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        return CoLearningNetwork(settings, layout, problem.classes, dims, problem.family == "zero-shot", generator)


def _compiled(network: CoLearningNetwork) -> CoLearningNetwork:
    """The network itself, its backbone compiled where its settings say so."""
    if network.settings.compile:
        network.backbone.encode = torch.compile(network.backbone.encode, dynamic=True)  # type: ignore[method-assign]
    return network


def _measurable(network: CoLearningNetwork, layout: Layout, feature_dims: Mapping[Modality, int]) -> ScoringNetwork:
    """The network for :mod:`mmcl_bench.inference.cost`; ``feature_dims`` are those of the teachers in its loss."""
    settings = network.settings

    def score(tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
        with in_precision(settings.precision, tracks.device.type):
            return network.score(feature(tracks, clip, n_clips))

    def feature(tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
        return network.global_feature(stack(tracks, settings.streams, layout), clip.to(tracks.device), n_clips)

    def loss(tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
        labels = torch.arange(n_clips, device=tracks.device) % network.n_seen
        teachers = {name: torch.ones(n_clips, dim, device=tracks.device) for name, dim in feature_dims.items()}
        with in_precision(settings.precision, tracks.device.type):
            return network.training_losses(feature(tracks, clip, n_clips), labels, teachers)["loss"]

    return ScoringNetwork(
        module=network,
        training_only=network.training_only(),
        layout=layout,
        n_frames=settings.n_frames,
        n_bodies=settings.n_bodies,
        score=score,
        loss=loss,
        optimizer=settings.schedule().make_optimizer,
    )


class _TrainingSet:
    """Training clips, their classes among the seen ones, and the features that teach."""

    def __init__(self, settings: Settings, problem: Problem) -> None:
        self.prepared = settings.prepare(problem.train.clips)
        rank_among_seen = np.cumsum(problem.classes.seen) - 1
        self.labels = torch.from_numpy(rank_among_seen[problem.train.labels])
        self._features = {name: torch.from_numpy(values) for name, values in problem.train.features.items()}

    def teachers(self, at: Tensor, device: torch.device) -> dict[Modality, Tensor]:
        """Features of the other modalities for some clips."""
        return {name: values[at].to(device) for name, values in self._features.items()}
