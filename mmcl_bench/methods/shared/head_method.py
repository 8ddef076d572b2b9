"""Zero-shot methods that train a small network, a head, on frozen features: everything except the head itself."""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation.choosing import smoothed
from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import FeatureClips, FeatureMethod, FeatureSettings, Texts
from mmcl_bench.protocols.problem import Context, FitReport, Problem
from mmcl_bench.training.loop import DivergedError, Losses

LOOKS = 20
"""How many times, evenly spread, the head is kept and looked at on validation."""
_SCORED_AT_ONCE = 1024


class HeadSettings(FeatureSettings):
    """Settings of a head's training."""

    steps: int = Field(default=2000, ge=1)
    """Steps of training on the frozen features."""
    batch_size: int = Field(default=64, ge=2)
    """Clips in a step."""
    rate: float = Field(default=1e-3, gt=0)
    """Learning rate after the warm-up."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Adam, AdamW, or SGD with Nesterov momentum 0.9."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of the optimizer."""
    decay: Literal["none", "cosine", "steps"] = "none"
    """How the rate falls to the last step."""
    milestones: tuple[float, ...] = ()
    """Shares of the steps after which the rate falls to a tenth, for ``steps``."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps in which the rate rises from 0."""


@dataclass(frozen=True)
class HeadBatch:
    """Some training clips."""

    features: Tensor
    """float32 (B, D)."""
    labels: Tensor
    """(B,) int64, positions among the seen classes."""
    texts: Mapping[str, Tensor]
    """float32 (S, D) unit rows of the seen classes, by text slot."""
    maps: Tensor | None
    """float32 (B, D, T', V), where the method reads them."""
    step: int
    """From 1."""
    generator: torch.Generator
    at: Tensor
    """(B,) int64, places among all training clips."""


class Head(nn.Module):
    """What a head method trains."""

    slots: tuple[str, ...]
    """The texts that :meth:`stacked` joins, by slot."""

    def losses(self, batch: HeadBatch) -> Losses:
        """Scalars by name; ``loss`` is the one that is minimised."""
        raise NotImplementedError

    def scores(self, features: Tensor, maps: Tensor | None, texts: Mapping[str, Tensor]) -> Tensor:
        """(N, K) of clips against the classes of ``texts``. A clip's scores do not depend on the other clips."""
        raise NotImplementedError

    def stacked(self, texts: Mapping[str, Tensor]) -> Tensor:
        """(K, P, T), the texts of each class, one of each of the P :attr:`slots`."""
        return torch.stack([texts[slot] for slot in self.slots], dim=1)

    def prepare(self, texts: Mapping[str, Tensor]) -> None:
        """Called once before scores are asked for, such as to learn a classifier from texts; its draws are seeded."""


class HeadMethod(FeatureMethod):
    """A zero-shot method whose subclass gives the head."""

    Settings: ClassVar[type[HeadSettings]] = HeadSettings
    settings: HeadSettings
    choosing = "step"
    """What :meth:`learn` chooses; a method that learns several times names each."""

    @abstractmethod
    def build(self, n_features: int, texts: Texts) -> Head:
        """The head for features (N, D) and class texts; its initial weights are drawn from torch's generator."""

    def unfinished_steps(self) -> int:
        """Steps after which the head cannot score yet, so that none of them is chosen."""
        return 0

    def learn(self, train: FeatureClips, problem: Problem, context: Context) -> FitReport:
        self._device, self._seed = context.device, derive_seed(context.seed, "head")
        self._take_head(train.features.pooled.shape[1])
        total, chosen = self.settings.steps, context.chosen
        skipped = min(self.unfinished_steps(), total - 1)
        looks = {skipped + max(1, round((total - skipped) * share / LOOKS)) for share in range(1, LOOKS + 1)}
        # A fit whose step is chosen already goes on to the last step, so that the oracle sees all that could be chosen.
        best = total if chosen is None else max(1, round(total * chosen["step"] / chosen["of"]))
        looks.add(best)
        self._snapshots: dict[int, dict[str, Tensor]] = {}
        history = []
        for step, losses in self._steps(train, total):
            if step not in looks:
                continue
            row = {"epoch": step, **{name: float(value.detach()) for name, value in losses.items()}}
            self._snapshots[step] = {name: value.cpu().clone() for name, value in self._head.state_dict().items()}
            if self.held_out is not None:
                self._prepared = False
                row["validation"] = self.validation_figure(problem)
            context.progress("steps", step, total, row)
            history.append(row)
        if self.held_out is not None:
            best = self.choose(self.choosing, smoothed(history))
        for each in self.of_draws:
            each.restore(best)
        return FitReport(chosen={"step": best, "of": total}, history=history, snapshot=best)

    def score_features(self, features: Features, texts: Texts) -> np.ndarray:
        self._head.eval()
        rows = {slot: torch.from_numpy(values).to(self._device) for slot, values in texts.items()}
        if not self._prepared:
            with seeded_draws(derive_seed(self._seed, "prepare")):
                self._head.prepare(rows)
            self._prepared = True
        found = []
        with torch.inference_mode():
            for at in range(0, len(features), _SCORED_AT_ONCE):
                some = slice(at, at + _SCORED_AT_ONCE)
                pooled = torch.from_numpy(features.pooled[some]).to(self._device)
                maps = None if features.maps is None else torch.from_numpy(features.maps[some]).to(self._device).float()
                found.append(self._head.scores(pooled, maps, rows).float().cpu())
        return torch.cat(found).numpy()

    def snapshots(self) -> list[int]:
        return sorted(self._snapshots)

    def restore(self, epoch: int) -> None:
        self._head.load_state_dict(self._snapshots[epoch])
        self._prepared = False

    def replace_classes(self, embeddings: np.ndarray) -> None:
        super().replace_classes(embeddings)
        self._prepared = False

    def to_learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays = {name: value.cpu().numpy() for name, value in self._head.state_dict().items()}
        return arrays, {"seed": self._seed, "n_features": self._n_features}

    def take_learned(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], device: str) -> None:
        self._device, self._seed = device, facts["seed"]
        self._take_head(facts["n_features"])
        self._head.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        self._snapshots, self._prepared = {}, False

    def _take_head(self, n_features: int) -> None:
        self._n_features = n_features
        with seeded_draws(derive_seed(self._seed, "weights")):
            self._head = self.build(n_features, self.texts).to(self._device)

    def _steps(self, train: FeatureClips, last: int) -> Iterator[tuple[int, Losses]]:
        """Trains the head, and yields after every step."""
        settings = self.settings
        pooled = torch.from_numpy(train.features.pooled)
        maps = None if train.features.maps is None else torch.from_numpy(train.features.maps)
        labels = torch.from_numpy((np.cumsum(self.seen) - 1)[train.labels])
        texts = {slot: torch.from_numpy(rows[self.seen]).to(self._device) for slot, rows in self.texts.items()}
        optimizer = _optimizer(settings, self._head)
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "batches"))
        waiting: list[Tensor] = []
        for step in range(1, last + 1):
            if not waiting:
                order = torch.randperm(len(labels), generator=generator)
                whole = [part for part in order.split(settings.batch_size) if len(part) > 1]
                waiting, n_batches = list(reversed(whole)), len(whole)
            at = waiting.pop()
            batch = HeadBatch(
                features=pooled[at].to(self._device),
                labels=labels[at].to(self._device),
                texts=texts,
                maps=None if maps is None else maps[at].to(self._device).float(),
                step=step,
                generator=generator,
                at=at,
            )
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * _share_of_rate(settings, step)
            self._head.train()
            with seeded_draws(derive_seed(self._seed, "step", step)):
                losses = self._head.losses(batch)
                optimizer.zero_grad()
                losses["loss"].backward()
            if not torch.isfinite(losses["loss"]):
                epoch, number = divmod(step - 1, n_batches)
                figures = ", ".join(f"{name} {float(value.detach()):g}" for name, value in losses.items())
                raise DivergedError(
                    f"method {self.name} diverged in step {step}, batch {number + 1} of {n_batches} in epoch "
                    f"{epoch + 1}: {figures}; try a lower rate with --set rate=..."
                )
            optimizer.step()
            yield step, losses


def _optimizer(settings: HeadSettings, head: Head) -> torch.optim.Optimizer:
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            head.parameters(),
            lr=settings.rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(head.parameters(), lr=settings.rate, weight_decay=settings.weight_decay, fused=True)


def _share_of_rate(settings: HeadSettings, step: int) -> float:
    """The factor of the rate at a step: a linear warm-up, then the decay over all ``settings.steps``."""
    if step <= settings.warmup_steps:
        return step / (settings.warmup_steps + 1)
    if settings.decay == "none":
        return 1.0
    if settings.decay == "steps":
        return float(0.1 ** sum(step > milestone * settings.steps for milestone in settings.milestones))
    share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


@contextlib.contextmanager
def seeded_draws(seed: int) -> Iterator[None]:
    """Draws of torch's own generator follow from a seed; afterwards the generator is as before."""
    with torch.random.fork_rng(devices=[]):
        # For a device that is not in use, torch.manual_seed writes down where it was called: a third of a millisecond.
        seed_generators = torch.manual_seed if torch.cuda.is_initialized() else torch.default_generator.manual_seed
        seed_generators(seed)
        yield
