"""The one training loop: epochs, schedule, checkpoints, exact resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmcl_bench.atomic import write_atomically
from mmcl_bench.errors import UserError
from mmcl_bench.methods.base import Context, FitReport
from mmcl_bench.seeds import derive_seed

Losses = Mapping[str, Tensor]
"""Scalar losses by name; ``loss`` is the one that is minimised."""
Step = Callable[[Tensor, torch.Generator], Losses]
"""From the positions of a batch in the training set, and a generator for augmentation, to its losses."""
MAX_SNAPSHOTS = 30


class DivergedError(UserError):
    """A loss that is not finite."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns."""

    epochs: int
    batch_size: int
    base_rate: float
    min_steps: int = 0
    """A set with few batches gets as many epochs as give it this many steps."""
    warmup_epochs: int = 0
    decay: Literal["cosine", "steps"] = "cosine"
    steps: tuple[int, ...] = ()
    """Epochs after which the rate falls to a tenth, for ``steps``."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 4e-4
    momentum: float = 0.9
    clip_norm: float | None = None

    def for_clips(self, n_clips: int) -> Schedule:
        """The schedule with the number of epochs that a training set of ``n_clips`` gets."""
        steps = math.ceil(n_clips / self.batch_size)
        return replace(self, epochs=max(self.epochs, math.ceil(self.min_steps / steps)))

    def rate(self, epoch: float) -> float:
        """The learning rate at a moment, in epochs since the start."""
        if epoch < self.warmup_epochs:
            return self.base_rate * (epoch + 1) / (self.warmup_epochs + 1)
        if self.decay == "steps":
            return self.base_rate * 0.1 ** sum(epoch >= step for step in self.steps)
        share = (epoch - self.warmup_epochs) / max(1e-9, self.epochs - self.warmup_epochs)
        return self.base_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=self.base_rate, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            parameters, lr=self.base_rate, momentum=self.momentum, nesterov=True, weight_decay=self.weight_decay
        )


class Trainer:
    """Trains a module and keeps what is needed to go on after a kill and to go back to an epoch.

    ``validate`` gives the figure by which the best epoch is chosen, which ``chosen`` then states as an epoch ``of`` so
    many. Without it the schedule is run to the end, or to the same share of it as ``context.chosen`` says, and the
    last epoch stays.
    """

    def __init__(self, module: nn.Module, schedule: Schedule, context: Context) -> None:
        self.module = module
        self.schedule = schedule
        self.context = context
        self.optimizer = schedule.make_optimizer(module)
        self.history: list[dict[str, float]] = []

    def run(self, n_clips: int, step: Step, validate: Callable[[], float] | None) -> FitReport:
        """Runs what is left of the schedule. Raises :class:`DivergedError` with the batch when a loss is not finite."""
        self.schedule = self.schedule.for_clips(n_clips)
        total = self.schedule.epochs
        chosen = self.context.chosen
        last = total if chosen is None else max(1, round(total * chosen["epoch"] / chosen["of"]))
        self._resume()
        for epoch in range(len(self.history) + 1, last + 1):
            row = self._epoch(epoch, last, n_clips, step)
            if validate is not None:
                row["validation"] = validate()
            self.history.append(row)
            self._checkpoint(epoch, last)
        best = self._best_epoch() if validate is not None else last
        self.restore(best)
        return FitReport(chosen={"epoch": best, "of": total}, history=self.history)

    def snapshots(self) -> list[int]:
        """Epochs whose weights are kept, in order."""
        return sorted(int(path.stem.rpartition("-")[2]) for path in self.context.folder.glob("epoch-*.pt"))

    def restore(self, epoch: int) -> None:
        """Puts the weights after ``epoch`` back into the module."""
        self.module.load_state_dict(_load(self._snapshot(epoch), self.context.device))

    def _epoch(self, epoch: int, last: int, n_clips: int, step: Step) -> dict[str, float]:
        seed = derive_seed(self.context.seed, "epoch", epoch)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(n_clips, generator=generator)
        batches = order.split(self.schedule.batch_size)
        if len(batches) > 1 and len(batches[-1]) == 1:
            # Batch norm over one short clip is noise, and one clip has no negative to contrast with.
            batches = batches[:-1]
        sums: dict[str, float] = {}
        self.module.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for at, batch in enumerate(batches):
                self._set_rate(self.schedule.rate(epoch - 1 + at / len(batches)))
                losses = step(batch, generator)
                self._descend(losses, epoch, at)
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach())
                done = (epoch - 1) * len(batches) + at + 1
                self.context.progress("training", done, last * len(batches), {"loss": sums["loss"] / (at + 1)})
        return {"epoch": float(epoch), **{name: total / len(batches) for name, total in sums.items()}}

    def _descend(self, losses: Losses, epoch: int, batch: int) -> None:
        loss = losses["loss"]
        if not torch.isfinite(loss):
            figures = ", ".join(f"{name} {float(value.detach()):g}" for name, value in losses.items())
            raise DivergedError(
                f"training diverged in epoch {epoch}, batch {batch}: {figures}; try a lower base_rate with --set"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.schedule.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.schedule.clip_norm)
        self.optimizer.step()

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _best_epoch(self) -> int:
        """The kept epoch whose validation figure, averaged with its neighbours', is best; the later of equals.

        Validation sets are small, and a single epoch's figure on one is mostly luck.
        """
        figures = [row["validation"] for row in self.history]
        smooth = {at + 1: fmean(figures[max(0, at - 1) : at + 2]) for at in range(len(figures))}
        return max(self.snapshots(), key=lambda epoch: (smooth[epoch], epoch))

    def _checkpoint(self, epoch: int, last: int) -> None:
        every = math.ceil(self.schedule.epochs / MAX_SNAPSHOTS)
        if epoch % every == 0 or epoch == last:
            _save(self._snapshot(epoch), self.module.state_dict())
        state = {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "history": self.history}
        _save(self._state, state)

    def _resume(self) -> None:
        self.context.folder.mkdir(parents=True, exist_ok=True)
        if not self._state.is_file():
            return
        state = _load(self._state, self.context.device)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = state["history"]

    @property
    def _state(self) -> Path:
        return self.context.folder / "state.pt"

    def _snapshot(self, epoch: int) -> Path:
        return self.context.folder / f"epoch-{epoch:04d}.pt"


def _save(path: Path, state: Mapping[str, Any]) -> None:
    write_atomically(path, lambda draft: torch.save(state, draft))


def _load(path: Path, device: str) -> Any:
    return torch.load(path, map_location=device, weights_only=True)
