"""Methods that train a skeleton network: all but the network's own losses is here.

A network method is a module with its losses, made by :meth:`NetworkMethod.build`. Preparing clips, the fit in the one
training loop, scoring in batches, embedding, saving, loading, measuring, exporting and kept epochs are shared.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import DenseScorer, Method, MethodSettings, ScoringNetwork
from mmcl_bench.methods.shared.saved import read_model, require_width, write_model
from mmcl_bench.nn import BACKBONES
from mmcl_bench.nn.losses import text_alignment_loss, text_similarity
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
Teachers = Mapping[Modality, Tensor]
"""Features (N, D) of the other modalities of some clips."""


class NetworkSettings(MethodSettings):
    """What can be set of a network, its training clips and its training; the defaults are those of MMCL's paper."""

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
    alignment_weight: float = 1.0
    """Of the alignment with class texts, zero-shot only."""
    text_temperature: float = Field(default=0.1, gt=0)
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


# Chosen on held-out training subjects of NW-UCLA x-sub and pseudo-unseen classes of synth60 55/5. The former were seen
# by all three cameras, so NW-UCLA x-view, which tests on camera 3, is not untouched by the choice.
QUICK: dict[str, object] = {
    "backbone": "ctr-gcn-tiny",
    "streams": ("joint", "bone", "joint-motion", "bone-motion"),
    "n_frames": 24,
    "n_bodies": 1,
    "dropout": 0.3,
    "crop": 0.7,
    "epochs": 25,
    "min_steps": 800,
    "batch_size": 32,
    "base_rate": 3e-3,
    "warmup_epochs": 2,
    "decay": "cosine",
    "steps": (),
    "optimizer": "adamw",
    "weight_decay": 5e-2,
}
"""The settings of preset ``quick`` that differ from the paper's: minutes on two cores."""


class SkeletonNetwork(nn.Module):
    """A backbone with its losses: cross-entropy of the seen classes and, in zero-shot, alignment with their texts.

    A method of its own adds to :meth:`extra_losses`, and names the children that only teach in ``training_parts``.
    """

    training_parts: ClassVar[tuple[str, ...]] = ()
    """Names of the children that scoring does without; they are not saved."""

    def __init__(
        self, settings: NetworkSettings, layout: Layout, classes: ClassTable, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.settings = settings
        self.n_seen = int(classes.seen.sum())
        self.backbone = BACKBONES.get(settings.backbone)(
            layout,
            n_classes=self.n_seen,
            n_bodies=settings.n_bodies,
            in_channels=3 * len(settings.streams),
            dropout=settings.dropout,
            generator=generator,
        )
        self.text_head: nn.Linear | None = None
        self.texts: Tensor
        self.seen: Tensor

    def align_with_texts(self, embeddings: np.ndarray, seen: np.ndarray) -> None:
        """Adds a linear map to the space of the class texts (K, D), which then give the scores."""
        self.text_head = nn.Linear(self.backbone.feature_channels, embeddings.shape[1])
        self.register_buffer("texts", torch.from_numpy(embeddings), persistent=False)
        self.register_buffer("seen", torch.from_numpy(seen), persistent=False)

    def extra_losses(
        self, features: Tensor, logits: Tensor, labels: Tensor, teachers: Teachers
    ) -> dict[str, tuple[float, Tensor]]:
        """Losses beside the shared ones, each with its weight, from F_g (N, D), logits (N, S) and labels (N,)."""
        return {}

    def extra_loss_names(self) -> list[str]:
        """Names of :meth:`extra_losses`, in their order."""
        return []

    def loss_names(self) -> list[str]:
        """Names of the losses that are on."""
        return ["classification", *self.extra_loss_names(), *(["alignment"] if self.text_head is not None else [])]

    def scoring_state(self) -> dict[str, Tensor]:
        """Weights and class texts that scoring needs."""
        state = {
            name: value
            for name, value in self.state_dict().items()
            if name.partition(".")[0] not in self.training_parts
        }
        return state if self.text_head is None else {**state, _TEXTS: self.texts}

    def training_only(self) -> tuple[nn.Module, ...]:
        """The modules that scoring does without."""
        teachers = [module for name, module in self.named_children() if name in self.training_parts]
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

    def forward(self, tracks: Tensor, clip: Tensor, labels: Tensor, teachers: Teachers) -> Losses:
        """:meth:`training_losses` of body tracks (R, C, T, V) and the clip of each (R,), ascending."""
        return self.training_losses(self.global_feature(tracks, clip, len(labels)), labels, teachers)

    def training_losses(self, features: Tensor, labels: Tensor, teachers: Teachers) -> Losses:
        """All losses that are on, and their weighted sum ``loss``. ``labels`` number the seen classes."""
        logits = self.backbone.classify(features)
        weighted = self.extra_losses(features, logits, labels, teachers)
        if self.text_head is not None:
            aligned = text_alignment_loss(
                self.text_head(self.backbone.drop_out(features)),
                self.texts[self.seen],
                labels,
                self.settings.text_temperature,
            )
            weighted["alignment"] = self.settings.alignment_weight, aligned
        total = classification = F.cross_entropy(logits, labels)
        for weight, loss in weighted.values():
            total = total + weight * loss
        losses = {"classification": classification, **{name: loss for name, (_, loss) in weighted.items()}}
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": total, **losses, "accuracy": accuracy}


class NetworkMethod(Method):
    """A method that trains a :class:`SkeletonNetwork` of its own."""

    Settings: ClassVar[type[NetworkSettings]] = NetworkSettings
    settings: NetworkSettings
    _prepared: tuple[ClipView, PreparedTracks] | None = None

    @abstractmethod
    def build(
        self, layout: Layout, classes: ClassTable, feature_dims: Mapping[Modality, int], generator: torch.Generator
    ) -> SkeletonNetwork:
        """The network for clips of ``layout``; ``feature_dims`` are the widths of the features that teach it.

        Random numbers come from ``generator`` or torch's own, which is seeded.
        """

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        return {"quick": cls.Settings.model_validate(QUICK), "paper": cls.Settings()}

    def selects(self, family: str) -> bool:
        return self.settings.selection == "validation" or (self.settings.selection == "auto" and family == "zero-shot")

    def fit(self, problem: Problem, context: Context) -> FitReport:
        dims = {modality: features.shape[1] for modality, features in problem.train.features.items()}
        self._take_network(
            get_layout(problem.train.clips.layout),
            problem.classes,
            dims,
            problem.family == "zero-shot",
            derive_seed(context.seed, "weights"),
        )
        self._trainer = Trainer(self._network, self.settings.schedule(), context)
        validate = None if problem.validation is None else self._validation(problem, problem.validation)
        report = self._trainer.run(len(problem.train), self._step(problem), validate)
        report.notes["losses"] = self._network.loss_names()
        return report

    def score(self, clips: ClipView) -> np.ndarray:
        # The oracle asks for the same clips after one epoch and another.
        if self._prepared is None or self._prepared[0] is not clips:
            self._prepared = clips, self.settings.prepare(clips)
        return self._by_clip(self._prepared[1], self._network.score)

    def embed(self, clips: ClipView) -> np.ndarray | None:
        text_head = self._network.text_head
        return None if text_head is None else self._by_clip(self.settings.prepare(clips), text_head)

    def save(self, folder: Path) -> list[str]:
        arrays = {name: value.cpu().numpy() for name, value in self._network.scoring_state().items()}
        facts = {"classes": list(self._classes.names), "seen": self._classes.seen.tolist()}
        return write_model(folder, self, self._layout.name, facts, arrays)

    def load(self, folder: Path, device: str = "cpu") -> None:
        saved = read_model(folder, type(self))
        texts = saved.arrays.get(_TEXTS)
        seen = np.array(saved.facts["seen"], dtype=bool)
        classes = ClassTable(tuple(saved.facts["classes"]), seen, embeddings=texts)
        self._take_network(get_layout(saved.layout), classes, {}, texts is not None, 0)
        weights = {name: torch.from_numpy(array) for name, array in saved.arrays.items() if name != _TEXTS}
        teaching = {f"{part}." for part in self._network.training_parts}
        lacking, surplus = self._network.load_state_dict(weights, strict=False)
        if surplus or not all(name.startswith(tuple(teaching)) for name in lacking):
            raise ValueError(f"{folder}: weights {[*surplus, *lacking]} do not fit the network")
        self._network.to(device).eval()

    def replace_classes(self, embeddings: np.ndarray) -> None:
        if self._network.text_head is None:
            super().replace_classes(embeddings)
        require_width(embeddings, self._network.texts.shape[1])
        self._network.texts = torch.from_numpy(embeddings).to(self._network.texts)

    def scoring_network(
        self, layout: Layout, n_classes: int, feature_dims: Mapping[Modality, int] | None = None
    ) -> ScoringNetwork:
        classes = ClassTable(tuple(map(str, range(n_classes))), seen=np.ones(n_classes, dtype=bool))
        taught = self.encoders()
        dims = {modality: dim for modality, dim in (feature_dims or {}).items() if modality in taught}
        self._take_network(layout, classes, dims, False, 0)
        return self._measurable(dims)

    def fitted_network(self) -> ScoringNetwork:
        return self._measurable({})

    def dense_scorer(self) -> DenseScorer:
        settings, n_bodies = self.settings, self.settings.n_bodies

        def prepare(clips: ClipView) -> np.ndarray:
            prepared = settings.prepare(clips)
            tracks = centre_crop(prepared.tracks, settings.n_frames, SCORED_SHARE)
            places = n_bodies if n_bodies > 1 else max(1, int(prepared.clip.bincount().max()))
            return bodies_last(tracks, prepared.clip, prepared.n_clips, places).numpy()

        return DenseScorer(
            module=PositionScorer(self._network.eval(), settings.streams, self._layout).eval(),
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

    def _take_network(
        self, layout: Layout, classes: ClassTable, dims: Mapping[Modality, int], text_aligned: bool, seed: int
    ) -> None:
        """A fresh network whose initial weights follow from the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.build(layout, classes, dims, torch.Generator().manual_seed(seed))
            if text_aligned and classes.embeddings is not None:
                network.align_with_texts(classes.embeddings, classes.seen)
        if self.settings.compile:
            network.backbone.encode = torch.compile(network.backbone.encode, dynamic=True)  # type: ignore[method-assign]
        self._layout, self._classes, self._network = layout, classes, network

    def _validation(self, problem: Problem, held_out: LabelledClips) -> Callable[[], float]:
        prepared = self.settings.prepare(held_out.clips)
        metric = METRICS.get(problem.metric)
        return lambda: metric(
            Scored(self._by_clip(prepared, self._network.score), held_out.labels, problem.classes.seen)
        )

    @torch.inference_mode()
    def _by_clip(self, prepared: PreparedTracks, head: Callable[[Tensor], Tensor]) -> np.ndarray:
        """float32 (N, ...), what ``head`` makes of F_g."""
        self._network.eval()
        found = []
        device = self._network.device
        for clips in torch.arange(prepared.n_clips).split(_SCORE_BATCH):
            tracks, clip = prepared.batch(clips)
            streams = self._streams(centre_crop(tracks, self.settings.n_frames, SCORED_SHARE))
            with in_precision(self.settings.precision, device.type):
                features = self._network.global_feature(streams.to(device), clip.to(device), len(clips))
                found.append(head(features).float().cpu())
        return torch.cat(found).numpy()

    def _step(self, problem: Problem) -> Step:
        prepared, vary = self.settings.prepare(problem.train.clips), self.settings.augmentation(self._layout)
        rank_among_seen = np.cumsum(problem.classes.seen) - 1
        labels = torch.from_numpy(rank_among_seen[problem.train.labels])
        teachers = {name: torch.from_numpy(values) for name, values in problem.train.features.items()}

        def step(module: nn.Module, batch: Tensor, generator: torch.Generator) -> Losses:
            tracks, clip = prepared.batch(batch)
            streams = self._streams(vary(tracks, clip, generator))
            device = self._network.device
            taught = {name: values[batch].to(device) for name, values in teachers.items()}
            losses: Losses = module(streams.to(device), clip.to(device), labels[batch].to(device), taught)
            return losses

        return step

    def _streams(self, tracks: Tensor) -> Tensor:
        return stack(tracks, self.settings.streams, self._layout)

    def _measurable(self, feature_dims: Mapping[Modality, int]) -> ScoringNetwork:
        """The network for :mod:`mmcl_bench.inference.cost`; ``feature_dims`` are those of the teachers in its loss."""
        network, settings = self._network, self.settings

        def feature(tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
            return network.global_feature(self._streams(tracks), clip.to(tracks.device), n_clips)

        def score(tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
            with in_precision(settings.precision, tracks.device.type):
                return network.score(feature(tracks, clip, n_clips))

        def loss(tracks: Tensor, clip: Tensor, n_clips: int) -> Tensor:
            labels = torch.arange(n_clips, device=tracks.device) % network.n_seen
            teachers = {name: torch.ones(n_clips, dim, device=tracks.device) for name, dim in feature_dims.items()}
            with in_precision(settings.precision, tracks.device.type):
                return network.training_losses(feature(tracks, clip, n_clips), labels, teachers)["loss"]

        return ScoringNetwork(
            module=network,
            training_only=network.training_only(),
            layout=self._layout,
            n_frames=settings.n_frames,
            n_bodies=settings.n_bodies,
            score=score,
            loss=loss,
            optimizer=settings.schedule().make_optimizer,
        )
