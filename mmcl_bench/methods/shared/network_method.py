"""Methods that train a skeleton network: everything except the network's own losses.

A network method is a module with its losses, made by :meth:`NetworkMethod.build`. Preparing clips, the fit in the one
training loop, scoring in batches, embedding, saving, loading, measuring, exporting and kept epochs are shared.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mmcl_bench.core.compute import follow_determinism
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import DenseScorer, Method, MethodSettings, ScoringNetwork
from mmcl_bench.methods.shared.network_settings import QUICK, STRONG, NetworkSettings
from mmcl_bench.methods.shared.saved import SavedModel, read_model, require_width, write_model
from mmcl_bench.methods.shared.skeleton_network import TEXTS, SkeletonNetwork, Teachers
from mmcl_bench.nn.position_scorer import PositionScorer
from mmcl_bench.protocols.problem import ClassTable, ClipView, Context, FitReport, LabelledClips, Problem
from mmcl_bench.skeleton.augmentation import centre_crop
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout, get_layout
from mmcl_bench.skeleton.streams import stack
from mmcl_bench.skeleton.transforms import PreparedTracks, bodies_last
from mmcl_bench.training.loop import MAX_SNAPSHOTS, DivergedError, Losses, Step, Trainer, in_precision

SCORED_SHARE = 0.95
"""The middle share of a clip that is scored, as in CTR-GCN."""
_SCORE_BATCH = 256
UnlabelledDraw = Callable[[int, torch.Generator], tuple[Tensor, Tensor, Teachers]]
"""Draws a number of clips without a label: their tracks, the clip of each track from 0 on, and what teaches them."""


class NetworkMethod(Method):
    """A method that trains a :class:`SkeletonNetwork` of its own."""

    kind: ClassVar[str] = "network"
    Settings: ClassVar[type[NetworkSettings]] = NetworkSettings
    settings: NetworkSettings
    _prepared: tuple[ClipView, PreparedTracks] | None = None

    @abstractmethod
    def build(
        self, layout: Layout, classes: ClassTable, feature_dims: Mapping[Modality, int], generator: torch.Generator
    ) -> SkeletonNetwork:
        """The network for clips of ``layout``; ``feature_dims`` are the widths of the teachers' features.

        Random numbers come from ``generator`` or torch's own, which is seeded.
        """

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        return {
            "quick": cls.Settings.model_validate(QUICK),
            "strong": cls.Settings.model_validate(STRONG),
            "paper": cls.Settings(),
        }

    @property
    def frozen(self) -> bool | None:
        return False

    def selects(self, family: str) -> bool:
        return self.settings.selection == "validation" or (self.settings.selection == "auto" and family == "zero-shot")

    def may_begin_before_choice(self, n_clips: int) -> bool:
        # A longer training keeps some epochs only. In a forked process neither compiled code nor processes can start.
        few = self.settings.schedule().for_clips(n_clips).epochs <= MAX_SNAPSHOTS
        return few and self.settings.processes == 1 and not self.settings.compile

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
        try:
            report = self._trainer.run(len(problem.train), self._step(problem), validate)
        except DivergedError as error:
            raise DivergedError(f"method {self.name}: {error}") from error
        report.notes["losses"] = self._network.loss_names()
        return report

    def score(self, clips: ClipView) -> np.ndarray:
        # The oracle scores the same clips after several epochs.
        if self._prepared is None or self._prepared[0] is not clips:
            self._prepared = clips, self.settings.prepare(clips)
        return self._by_clip(self._prepared[1], self._network.score)

    def embed(self, clips: ClipView) -> np.ndarray | None:
        text_head = self._network.text_head
        return None if text_head is None else self._by_clip(self.settings.prepare(clips), text_head)

    def embed_domains(self, source: ClipView, target: ClipView) -> tuple[np.ndarray, np.ndarray]:
        of_source, of_target = (self._by_clip(self.settings.prepare(each), nn.Identity()) for each in (source, target))
        return of_source, of_target

    def save(self, folder: Path) -> list[str]:
        saved = self.to_saved()
        return write_model(folder, self, saved.layout, saved.facts, saved.arrays)

    def load(self, folder: Path, device: str = "cpu") -> None:
        self.take_saved(read_model(folder, type(self)), device)

    def to_saved(self) -> SavedModel:
        """What scoring needs, as plain arrays and JSON values."""
        arrays = {name: value.cpu().numpy() for name, value in self._network.scoring_state().items()}
        facts = {"classes": list(self._classes.names), "seen": self._classes.seen.tolist()}
        return SavedModel(self._layout, facts, arrays)

    def take_saved(self, saved: SavedModel, device: str = "cpu") -> None:
        """Becomes the fitted method that :meth:`to_saved` described, made with the same settings."""
        texts = saved.arrays.get(TEXTS)
        seen = np.array(saved.facts["seen"], dtype=bool)
        classes = ClassTable(tuple(saved.facts["classes"]), seen, embeddings=texts)
        self._take_network(get_layout(saved.layout), classes, {}, texts is not None, 0)
        weights = {name: torch.from_numpy(array) for name, array in saved.arrays.items() if name != TEXTS}
        teaching = {f"{part}." for part in self._network.training_parts}
        lacking, surplus = self._network.load_state_dict(weights, strict=False)
        if surplus or not all(name.startswith(tuple(teaching)) for name in lacking):
            raise ValueError(f"weights {[*surplus, *lacking]} of the saved model do not fit the network")
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
            layout=self._layout,
            n_frames=settings.n_frames,
            n_bodies=n_bodies if n_bodies > 1 else None,
            streams=settings.streams,
            preprocessing={
                "normalise": settings.normalisation.split("+") if settings.normalisation != "none" else [],
                "spread_over": settings.prepared_frames,
                "share": SCORED_SHARE,
            },
        )

    def snapshots(self) -> list[int]:
        return self._trainer.snapshots()

    def restore(self, epoch: int) -> None:
        self._trainer.restore(epoch)

    def _take_network(
        self, layout: Layout, classes: ClassTable, dims: Mapping[Modality, int], text_aligned: bool, seed: int
    ) -> None:
        """A new network whose initial weights depend only on the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.build(layout, classes, dims, torch.Generator().manual_seed(seed))
            if text_aligned and classes.embeddings is not None:
                network.align_with_texts(classes.embeddings, classes.seen)
        if self.settings.compile:
            follow_determinism()
            network.backbone.encode = torch.compile(network.backbone.encode, dynamic=True)  # type: ignore[method-assign]
        self._layout, self._classes, self._network = layout, classes, network

    def _validation(self, problem: Problem, held_out: LabelledClips) -> Callable[[], float]:
        prepared = self.settings.prepare(held_out.clips)
        metric = METRICS.get(problem.metric)
        return lambda: metric(
            Scored(self._by_clip(prepared, self._network.score), held_out.labels, problem.classes.seen)
        )

    def _by_clip(self, prepared: PreparedTracks, head: Callable[[Tensor], Tensor]) -> np.ndarray:
        """float32 (N, ...), what ``head`` makes of F_g."""
        batches = self._of_batches(prepared, lambda *batch: head(self._network.global_feature(*batch)))
        return torch.cat([found.float().cpu() for found in batches]).numpy()

    @torch.inference_mode()
    def _of_batches(self, prepared: PreparedTracks, work: Callable[[Tensor, Tensor, int], Tensor]) -> Iterator[Tensor]:
        """What ``work`` makes of body tracks, as they are scored, and the clip of each, for some clips at a time."""
        self._network.eval()
        device = self._network.device
        for clips in torch.arange(prepared.n_clips).split(_SCORE_BATCH):
            tracks, clip = prepared.batch(clips)
            streams = self._streams(centre_crop(tracks, self.settings.n_frames, SCORED_SHARE))
            with in_precision(self.settings.precision, device.type):
                yield work(streams.to(device), clip.to(device), len(clips))

    def _step(self, problem: Problem) -> Step:
        prepared, vary = self.settings.prepare(problem.train.clips), self.settings.augmentation(self._layout)
        rank_among_seen = np.cumsum(problem.classes.seen) - 1
        labels = torch.from_numpy(rank_among_seen[problem.train.labels])
        teachers = {name: torch.from_numpy(values) for name, values in problem.train.features.items()}
        unlabelled = self.unlabelled_draw(problem)

        def step(module: nn.Module, batch: Tensor, generator: torch.Generator) -> Losses:
            tracks, clip = prepared.batch(batch)
            taught = {name: values[batch] for name, values in teachers.items()}
            if unlabelled is not None:
                more, of_clip, also = unlabelled(len(batch), generator)
                tracks, clip = torch.cat([tracks, more]), torch.cat([clip, len(batch) + of_clip])
                taught |= {name: torch.cat([taught[name], values]) for name, values in also.items()}
            streams = self._streams(vary(tracks, clip, generator))
            device = self._network.device
            taught = {name: values.to(device) for name, values in taught.items()}
            losses: Losses = module(streams.to(device), clip.to(device), labels[batch].to(device), taught)
            return losses

        return step

    def unlabelled_draw(self, problem: Problem) -> UnlabelledDraw | None:
        """How clips without a label join a step; None where they do not."""
        return None

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
