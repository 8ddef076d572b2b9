"""A method that trains a network of a few weights in the common loop: a job with checkpoints that takes an instant."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.methods.base import Method, MethodSettings
from mmcl_bench.methods.shared.joints import joint_features, most_bodies
from mmcl_bench.methods.shared.saved import write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.training.loop import Losses, Schedule, Trainer


class TinyNetwork(Method):
    """One linear layer on joint positions, with dropout, kept epochs and a choice on validation."""

    name: ClassVar[str] = "tiny-network"
    summary: ClassVar[str] = "for tests"
    families: ClassVar[frozenset[str]] = frozenset({"supervised"})

    class Settings(MethodSettings):
        epochs: int = 5

    settings: Settings
    _prepared: tuple[ClipView, Tensor] | None = None

    def selects(self, family: str) -> bool:
        return True

    def may_begin_before_choice(self, n_clips: int) -> bool:
        return True

    def fit(self, problem: Problem, context: Context) -> FitReport:
        clips = problem.train.clips
        self._layout, self._n_bodies = clips.layout, most_bodies(clips)
        features, labels = self._features(clips), torch.from_numpy(problem.train.labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self._network = nn.Sequential(nn.Dropout(0.2), nn.Linear(features.shape[1], len(problem.classes)))
        self._trainer = Trainer(self._network, Schedule(self.settings.epochs, 32, 0.01), context)

        def step(module: nn.Module, batch: Tensor, generator: torch.Generator) -> Losses:
            return {"loss": F.cross_entropy(module(features[batch]), labels[batch])}

        held_out = problem.validation
        if held_out is None:
            return self._trainer.run(len(labels), step, None)
        metric = METRICS.get(problem.metric)
        return self._trainer.run(
            len(labels),
            step,
            lambda: metric(Scored(self.score(held_out.clips), held_out.labels, problem.classes.seen)),
        )

    def score(self, clips: ClipView) -> np.ndarray:
        self._network.eval()
        with torch.inference_mode():
            return np.asarray(self._network(self._features(clips)).numpy())

    def save(self, folder: Path) -> list[str]:
        arrays = {name: value.numpy() for name, value in self._network.state_dict().items()}
        return write_model(folder, self, self._layout, {}, arrays)

    def snapshots(self) -> list[int]:
        return self._trainer.snapshots()

    def restore(self, epoch: int) -> None:
        self._trainer.restore(epoch)

    def _features(self, clips: ClipView) -> Tensor:
        if self._prepared is None or self._prepared[0] is not clips:
            features = np.asarray(joint_features(clips, self._n_bodies), dtype=np.float32)
            self._prepared = clips, torch.from_numpy(features)
        return self._prepared[1]
