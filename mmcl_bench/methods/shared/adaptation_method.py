"""Methods that adapt a network from source data to a target: everything except the loss that they add.

The last block of a frozen extractor is trained again, with a bottleneck and a classifier, on batches of labelled source
clips and of unlabelled target clips where the method's setting grants any. A method says what it adds to the
classification loss; batches, schedule, the choice of the step, scoring, saving and loading are shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation.choosing import MIXED_SHARE, MOST_CLIPS, Observed, partners, smoothed
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import MethodSettings, ScoringNetwork
from mmcl_bench.methods.shared.adapted_network import AdaptedNetwork, normalise_by
from mmcl_bench.methods.shared.choosing_method import ChoosingMethod, ChoosingSettings
from mmcl_bench.methods.shared.extractor import CHOSEN, Extractor, trained_extractor
from mmcl_bench.methods.shared.feature_method import QUICK_FEATURES
from mmcl_bench.methods.shared.head_method import seeded_draws
from mmcl_bench.methods.shared.saved import SavedModel, read_model, write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, LabelledClips, Problem
from mmcl_bench.skeleton.augmentation import Transform
from mmcl_bench.skeleton.transforms import PreparedTracks
from mmcl_bench.training.loop import DivergedError, Losses

LOOKS = 10
"""How many times, evenly spread, the network is kept and looked at on validation."""
_EXTRACTOR = "extractor."


class AdaptationSettings(ChoosingSettings):
    """The schedule is that of the Transfer-Learning-Library, with fewer steps; defaults are those of preset paper."""

    steps: int = Field(default=4000, ge=1)
    """Steps of training after the extractor is trained."""
    batch_size: int = Field(default=32, ge=2)
    """Clips of each domain in a step."""
    rate: float = Field(default=0.01, gt=0)
    """Falls to ``rate * (1 + steps / 1000) ** -0.75``."""
    block_rate: float = Field(default=0.1, ge=0)
    """The rate of the last block, which is trained already, as a share of the others' rate."""
    weight_decay: float = Field(default=1e-3, ge=0)
    """Weight decay of the optimizer."""
    bottleneck: int = Field(default=256, ge=1)
    """Width of the layer between network and classifier."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """On the bottleneck, in training."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the cross-entropy on source clips."""
    copies: int = Field(default=2, ge=1)
    """Augmented copies of every training clip."""


@dataclass(frozen=True)
class DomainBatch:
    """Some clips of one domain as the network sees them, normalised by their own statistics."""

    features: Tensor
    """(B, W), of the bottleneck."""
    logits: Tensor
    """(B, K)."""
    clips: Tensor
    """(B,) int64, places among the domain's training clips, on the host."""


@dataclass(frozen=True)
class AdaptationBatch:
    """What a loss is computed from."""

    source: DomainBatch
    labels: Tensor
    """(B,) int64, of the source clips."""
    groups: Tensor
    """(B,) int64, the source clips' data set or, where there is one, their subject."""
    target: DomainBatch | None
    """None where the setting grants no target clips."""
    without_augmentation: Callable[[], Tensor]
    """Gives the logits of the target clips as they are scored."""
    progress: float
    """The share of the training that is done, from 0 to 1."""
    step: int
    """From 1."""

    def source_groups(self) -> tuple[Tensor, list[Tensor]]:
        """The source groups in the batch (E,) int64, and the places (B',) of each one's clips."""
        present = self.groups.unique()
        return present, [(self.groups == group).nonzero().squeeze(1) for group in present]

    def group_losses(self) -> Tensor:
        """(E,) cross-entropies of the source groups in the batch."""
        losses = [F.cross_entropy(self.source.logits[at], self.labels[at]) for at in self.source_groups()[1]]
        return torch.stack(losses)

    @property
    def target_clips(self) -> DomainBatch:
        """The target's batch, for methods that are granted one."""
        if self.target is None:
            raise ValueError("no target clips were granted")
        return self.target


class AdaptationMethod(ChoosingMethod):
    """A method that adds a loss to the classification of source clips."""

    # Those that were measured took from one minute to four; the others train the same network for as many steps.
    cost: ClassVar[str] = "minutes"
    families: ClassVar[frozenset[str]] = frozenset({"transfer"})
    Settings: ClassVar[type[AdaptationSettings]] = AdaptationSettings
    settings: AdaptationSettings
    scores_with_parts: ClassVar[bool] = False
    """Whether scoring needs ``self.parts``, which are then saved."""
    groups_per_batch: ClassVar[int | None] = None
    """How many groups of source clips are in a batch, as many clips of each; None: clips are drawn from all alike."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._snapshots: dict[int, dict[str, Tensor]] = {}

    def added_losses(self, batch: AdaptationBatch) -> Mapping[str, tuple[float, Tensor]]:
        """Losses beside that of classification, each with its weight."""
        return {}

    def classification_loss(self, batch: AdaptationBatch) -> Tensor:
        """Cross-entropy of the source clips."""
        return F.cross_entropy(batch.source.logits, batch.labels, label_smoothing=self.settings.label_smoothing)

    def build_parts(self, width: int, n_classes: int, n_groups: int) -> nn.Module:
        """What is trained beside the network, for features of a ``width``: kept as ``self.parts``."""
        return nn.Identity()

    def logits_of(self, features: Tensor) -> Tensor:
        """(N, K) of bottleneck features (N, W)."""
        logits: Tensor = self.network.classifier(features)
        return logits

    @classmethod
    def usual_presets(cls) -> dict[str, MethodSettings]:
        quick = {**QUICK_FEATURES, "steps": 300}
        return {"quick": cls.Settings.model_validate(quick), "paper": cls.Settings()}

    def selects(self, family: str) -> bool:
        return True

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self.check_problem(problem)
        begin = time.monotonic()
        self.extractor, chosen = trained_extractor(problem, context, self.settings.network())
        shared = time.monotonic() - begin
        self._seed = derive_seed(context.seed, "adaptation")
        self._take_network(len(problem.classes), 1 + int(groups_of(problem.train).max()), context.device)
        report = self._learn(problem, context)
        report.chosen[CHOSEN] = chosen
        report.shared_seconds = shared
        return report

    def score(self, clips: ClipView) -> np.ndarray:
        return self._scores(self.extractor.to_last_block(clips))

    def embed_domains(self, source: ClipView, target: ClipView) -> tuple[np.ndarray, np.ndarray]:
        of_target = self._embedded(target)
        whole = nn.ModuleList([self.extractor.network, self._models])
        fitted = deepcopy(whole.state_dict())
        self.normalise_domain(source)
        of_source = self._embedded(source)
        whole.load_state_dict(fitted)
        return of_source, of_target

    def snapshots(self) -> list[int]:
        return sorted(self._snapshots)

    def restore(self, epoch: int) -> None:
        self._scoring().load_state_dict(self._snapshots[epoch])
        self.normalise_by(self._scored_domain)

    def save(self, folder: Path) -> list[str]:
        extractor = self.extractor.to_saved()
        state = {name: value.cpu().numpy() for name, value in self._scoring().state_dict().items()}
        arrays = {**{_EXTRACTOR + name: array for name, array in extractor.arrays.items()}, **state}
        facts = {"extractor": dict(extractor.facts), "n_classes": self._n_classes, "seed": self._seed}
        return write_model(folder, self, extractor.layout, facts, arrays)

    def load(self, folder: Path, device: str = "cpu") -> None:
        saved = read_model(folder, type(self))
        self.extractor = Extractor(**self.settings.network().as_json())
        of_extractor = saved.part(_EXTRACTOR)
        self.extractor.take_saved(SavedModel(saved.layout, saved.facts["extractor"], of_extractor), device)
        self._seed = saved.facts["seed"]
        self._take_network(saved.facts["n_classes"], 1, device)
        state = {name: array for name, array in saved.arrays.items() if not name.startswith(_EXTRACTOR)}
        self._scoring().load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})

    def fitted_network(self) -> ScoringNetwork:
        return self.extractor.fitted_network()

    def _take_network(self, n_classes: int, n_groups: int, device: str) -> None:
        """A new network on the extractor, whose initial weights depend only on the seed."""
        self._n_classes, settings = n_classes, self.settings
        self.extractor.folder = None  # its features change with the last block
        with seeded_draws(derive_seed(self._seed, "weights")):
            self.network = AdaptedNetwork(self.extractor.network, n_classes, settings.bottleneck, settings.dropout)
            self.parts = self.build_parts(settings.bottleneck, n_classes, n_groups)
        self._models = nn.ModuleDict({"network": self.network, "parts": self.parts}).to(device)

    def _scoring(self) -> nn.ModuleDict:
        """What scoring needs of the models."""
        return self._models if self.scores_with_parts else nn.ModuleDict({"network": self.network})

    def _learn(self, problem: Problem, context: Context) -> FitReport:
        total, chosen = self.settings.steps, context.chosen
        # A fit whose step is chosen already goes on to the last step, so that the oracle sees all that could be chosen.
        best = total if chosen is None else max(1, round(total * chosen["step"] / chosen["of"]))
        looks = {best, *(max(1, round(total * share / LOOKS)) for share in range(1, LOOKS + 1))}
        source = self.varied(problem.train.clips, "source")
        granted = problem.target if self.setting is Setting.UNLABELLED else None
        target = None if granted is None else self.varied(granted, "target")
        held_out = problem.validation
        validation = None if held_out is None else self.extractor.to_last_block(held_out.clips)
        # The first fit is there to be scored on source clips, and the final one on the target's.
        self._scored_domain = source[0] if target is None or validation is not None else target[0]
        self._snapshots = {}
        history = []
        for step, losses in self._steps(problem.train, source, target, total):
            if step not in looks:
                continue
            row = {"epoch": step, **{name: float(value.detach()) for name, value in losses.items()}}
            self._snapshots[step] = {name: value.cpu().clone() for name, value in self._scoring().state_dict().items()}
            if held_out is not None and validation is not None:
                self.normalise_by(source[0])
                features = self.network.all_features(validation)
                scored = Scored(self._classified(features), held_out.labels, problem.classes.seen)
                row["validation"] = METRICS.get(problem.metric)(scored)
                if target is not None:
                    row |= self._observed(source[0], target[0], features, scored).scores()
            context.progress("steps", step, total, row)
            history.append(row)
        if held_out is not None:
            figures = smoothed(history, self.settings.choose_by)
            best = max(figures, key=lambda step: figures[step])
        self.restore(best)
        return FitReport(chosen={"step": best, "of": total}, history=history, snapshot=best)

    def normalise_by(self, prepared: PreparedTracks) -> None:
        """Makes the statistics that scoring normalises by those of some clips."""
        forward = partial(self._domain, prepared)
        normalise_by(self._scoring(), forward, prepared.n_clips)

    def normalise_domain(self, clips: ClipView) -> None:
        """Makes the statistics that the method takes of a domain those of some clips."""
        self.normalise_by(self.extractor.to_last_block(clips))

    def normalise_all_by(self, clips: ClipView) -> None:
        """As :meth:`normalise_by`, of all layers and not only of those that are adapted."""
        prepared = self.extractor.settings.prepare(clips)
        normalise_by(self.extractor.network, partial(self.extractor.features_of, prepared), prepared.n_clips)
        self.normalise_by(self.extractor.to_last_block(clips))

    def varied(self, clips: ClipView, side: str) -> list[PreparedTracks]:
        """What the last block takes of clips: as they are scored, and of augmented copies."""
        if len(clips) < 2:
            raise UserError(f"method {self.name} needs two {side} clips to train on; raise --limit")
        return [self.extractor.to_last_block(clips), *self.augmented(clips, side)]

    def augmented(self, clips: ClipView, side: str, augment: Transform | None = None) -> list[PreparedTracks]:
        """What the last block takes of ``copies`` of clips, augmented as in the extractor's training or otherwise."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "augmentation", side))
        return [self.extractor.to_last_block(clips, generator, augment) for _ in range(self.settings.copies)]

    def _embedded(self, clips: ClipView) -> np.ndarray:
        """(N, W) bottleneck features."""
        return self.network.all_features(self.extractor.to_last_block(clips)).float().cpu().numpy()

    def _scores(self, prepared: PreparedTracks) -> np.ndarray:
        return self._classified(self.network.all_features(prepared))

    @torch.no_grad()
    def _classified(self, features: Tensor) -> np.ndarray:
        """(N, K), as scored, of bottleneck features (N, W)."""
        self._models.eval()
        return self.logits_of(features).float().cpu().numpy()

    @torch.no_grad()
    def _observed(self, source: PreparedTracks, target: PreparedTracks, held_out: Tensor, scored: Scored) -> Observed:
        """What the label-free scores take of the network, which is normalised by the source and then by the target.

        Of the held-out clips there are bottleneck features (H, W), and scores and labels. Mixed are pooled features, as
        clips differ in their number of bodies.
        """
        network = self.network
        of_source = network.bottleneck(network.first_pooled(source, MOST_CLIPS))
        self.normalise_by(target)
        pooled = network.first_pooled(target, MOST_CLIPS)
        others = partners(len(pooled))
        of_target, mixed = network.bottleneck(pooled), torch.lerp(pooled[others], pooled, MIXED_SHARE)
        return Observed(
            source=of_source.cpu().numpy(),
            held_out=held_out[:MOST_CLIPS].cpu().numpy(),
            held_out_logits=scored.scores[:MOST_CLIPS],
            held_out_labels=scored.labels[:MOST_CLIPS],
            target=of_target.cpu().numpy(),
            logits=self._classified(of_target),
            partners=others,
            mixed_logits=self._classified(network.bottleneck(mixed)),
        )

    def _steps(
        self, train: LabelledClips, source: list[PreparedTracks], target: list[PreparedTracks] | None, last: int
    ) -> Iterator[tuple[int, Losses]]:
        """Trains the models, and yields after every step."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "batches"))
        n_target = len(train) if target is None else target[0].n_clips
        size = min(self.settings.batch_size, len(train), n_target)
        labels, groups = torch.from_numpy(train.labels), torch.from_numpy(groups_of(train))
        of_source = batches(len(train), size, generator)
        if self.groups_per_batch is not None:
            of_source = by_group(groups, self.groups_per_batch, size, generator)
        of_target, device = batches(n_target, size, generator), self.network.device

        def compute(step: int) -> Losses:
            at, other = next(of_source), next(of_target)
            batch = AdaptationBatch(
                source=self._domain(source[self._copy(generator)], at),
                labels=labels[at].to(device),
                groups=groups[at].to(device),
                target=None if target is None else self._domain(target[self._copy(generator)], other),
                without_augmentation=partial(self._plain_logits, target, other),
                progress=(step - 1) / self.settings.steps,
                step=step,
            )
            classification = self.classification_loss(batch)
            added = self.added_losses(batch)
            total = classification + sum(weight * loss for weight, loss in added.values())
            return {
                "loss": total,
                "classification": classification,
                **{name: loss for name, (_, loss) in added.items()},
            }

        yield from self.optimise(compute, last)

    def optimise(
        self, compute: Callable[[int], Losses], last: int, frozen: nn.Module | None = None
    ) -> Iterator[tuple[int, Losses]]:
        """Takes ``last`` steps down the loss that ``compute`` gives for a step, and yields after every one."""
        settings = self.settings
        kept = set() if frozen is None else set(frozen.parameters())
        block = [each for each in self.network.block.parameters() if each not in kept]
        others = [each for each in self._models.parameters() if each not in kept.union(block)]
        optimizer = torch.optim.SGD(
            [{"params": others, "share": 1.0}, {"params": block, "share": settings.block_rate}],
            lr=settings.rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=settings.weight_decay,
        )
        for step in range(1, last + 1):
            for group in optimizer.param_groups:
                group["lr"] = group["share"] * settings.rate * (1 + 0.001 * (step - 1)) ** -0.75
            self._models.train()
            with seeded_draws(derive_seed(self._seed, "step", step)):
                losses = compute(step)
                optimizer.zero_grad()
                losses["loss"].backward()
            if not torch.isfinite(losses["loss"]):
                figures = ", ".join(f"{name} {float(value.detach()):g}" for name, value in losses.items())
                raise DivergedError(
                    f"method {self.name} diverged in step {step}: {figures}; try a lower rate with --set rate=..."
                )
            optimizer.step()
            yield step, losses

    def _copy(self, generator: torch.Generator) -> int:
        """One of the augmented copies."""
        return 1 + int(torch.randint(self.settings.copies, (1,), generator=generator))

    def _domain(self, prepared: PreparedTracks, clips: Tensor) -> DomainBatch:
        features = self.network.features(prepared, clips)
        return DomainBatch(features, self.logits_of(features), clips)

    def _plain_logits(self, target: list[PreparedTracks] | None, clips: Tensor) -> Tensor:
        if target is None:
            raise ValueError("no target clips were granted")
        return self._domain(target[0], clips).logits


def groups_of(clips: LabelledClips) -> np.ndarray:
    """(N,) int64 from 0 on: the clips' data sets, or their subjects where there is one data set."""
    given = clips.subjects if clips.domains is None else clips.domains
    numbered: np.ndarray = np.unique(given, return_inverse=True)[1]
    return numbered.astype(np.int64)


def batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Places of clips without end: all of them in random order, then again, without what is left of a round."""
    while True:
        yield from torch.randperm(n, generator=generator)[: n // size * size].split(size)


def by_group(groups: Tensor, n_groups: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Places of clips without end: as many of each of some random groups, drawn with replacement."""
    members = [(groups == group).nonzero().squeeze(1) for group in range(int(groups.max()) + 1)]
    each = max(2, size // min(n_groups, len(members)))
    while True:
        some = torch.randperm(len(members), generator=generator)[:n_groups].tolist()
        drawn = [members[group][torch.randint(len(members[group]), (each,), generator=generator)] for group in some]
        yield torch.cat(drawn)
