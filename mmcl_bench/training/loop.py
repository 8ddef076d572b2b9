"""The one training loop: epochs, schedule, checkpoints, exact resume, on one device or several processes.

Processes, gradient synchronisation and clipping are those of Hugging Face accelerate. After an epoch everything that
the next one depends on is on disk, and random numbers are derived from the seed and the epoch. So a run that was killed
at any moment and resumed ends with the numbers of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation.choosing import smoothed
from mmcl_bench.protocols.problem import Context, FitReport
from mmcl_bench.training.checkpoints import Checkpoints
from mmcl_bench.training.processes import run_in_processes

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.tensorboard import SummaryWriter

Losses = Mapping[str, Tensor]
"""Scalars by name; ``loss`` is the one that is minimised, the others are reported."""
MAX_SNAPSHOTS = 30
_SECONDS_BETWEEN_CHECKS = 0.5
"""How many seconds apart scalars are read from the device, which has to wait for that."""


class Step(Protocol):
    """Computes the losses of some clips."""

    def __call__(self, module: nn.Module, batch: Tensor, generator: torch.Generator) -> Losses:
        """``module`` is the trained one, perhaps wrapped: gradients flow where its ``forward`` is called. ``batch`` has
        the clips' positions in the training set, ``generator`` is for augmentation."""
        ...


class DivergedError(UserError):
    """A loss that is not finite."""


@dataclass(frozen=True)
class Schedule:
    """The schedule of a training: epochs, learning rate, batches, precision, processes."""

    epochs: int
    batch_size: int
    base_rate: float
    min_steps: int = 0
    """A set with few batches gets more epochs, until it has this many steps."""
    warmup_epochs: int = 0
    decay: Literal["cosine", "steps"] = "cosine"
    steps: tuple[int, ...] = ()
    """Epochs after which the rate falls to a tenth, for ``steps``."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 4e-4
    momentum: float = 0.9
    clip_norm: float | None = None
    """Maximum norm of the gradient."""
    average: float = 0.0
    """Decay, a step, of a moving average of the weights, which is validated and kept in their place; smaller in the
    first steps. 0: none."""
    accumulate: int = 1
    """Parts in which a batch is computed, one after the other; batch statistics are then computed per part."""
    patience: int | None = None
    """Epochs without a better validation figure after which it stops; None: it never does."""
    precision: Literal["fp32", "bf16"] = "fp32"
    processes: int = 1
    """Processes that share a batch, one per GPU; batch statistics are then computed per process."""

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


def in_precision(precision: str, device: str) -> contextlib.AbstractContextManager[object]:
    """A context in which products are in bfloat16 if ``precision`` is; weights and statistics stay in float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")


class Trainer:
    """Trains a module and stores what is needed to resume after a kill and to go back to an epoch.

    ``validate`` gives the figure by which the best epoch is chosen; ``chosen`` then has this epoch and the number
    ``of`` epochs. Without it the schedule is run to its end, or to the fraction of it in ``context.chosen``, and the
    last epoch is used. With ``context.choice`` that fraction may become known while it runs.
    """

    def __init__(self, module: nn.Module, schedule: Schedule, context: Context) -> None:
        self.module = module
        self.schedule = schedule
        self.context = context
        self.history: list[dict[str, float]] = []
        self.averaged: AveragedModel | None = None
        """In the processes that train."""

    def run(self, n_clips: int, step: Step, validate: Callable[[], float] | None) -> FitReport:
        """Runs the rest of the schedule. Raises :class:`DivergedError` with the batch when a loss is not finite."""
        self.schedule = self.schedule.for_clips(n_clips)
        total = self.schedule.epochs
        last = self._last_epoch(self.context.chosen)
        every, open_end = math.ceil(total / MAX_SNAPSHOTS), self.context.choice is not None
        self._checkpoints = Checkpoints(
            self.context.folder, lambda epoch: open_end or epoch % every == 0 or epoch == last
        )
        self._checkpoints.mend(last)
        if self.schedule.processes > 1:
            run_in_processes(
                self.schedule.processes,
                self.context.device,
                lambda accelerator, report: self._train(accelerator, last, n_clips, step, validate, report),
                lambda figures: self.context.progress(*figures),
            )
            self._resume(None)
        else:
            self._train(_accelerator(), last, n_clips, step, validate, lambda figures: self.context.progress(*figures))
        if not self.snapshots():  # stopped before the first
            self._checkpoints.keep_last(len(self.history))
        self.module.to(self.context.device)
        best = self._best_epoch() if validate is not None else len(self.history)
        if self.schedule.average or best != len(self.history):  # else its weights are those in the module
            self.restore(best)
        return FitReport(chosen={"epoch": best, "of": total}, history=self.history, snapshot=best)

    def snapshots(self) -> list[int]:
        """Epochs whose weights are kept, in order."""
        return self._checkpoints.epochs()

    def restore(self, epoch: int) -> None:
        """Puts the weights after ``epoch`` back into the module.

        Raises :class:`DamagedError` if they were deleted or changed since training ended.
        """
        self.module.load_state_dict(_scored_weights(self._checkpoints.snapshot(epoch)))

    def _train(
        self,
        accelerator: Accelerator,
        last: int,
        n_clips: int,
        step: Step,
        validate: Callable[[], float] | None,
        report: Callable[[tuple[str, int, int, dict[str, float]]], None],
    ) -> None:
        self.module.to(accelerator.device if self.schedule.processes > 1 else self.context.device)
        optimizer = self.schedule.make_optimizer(self.module)
        if self.schedule.average:
            self.averaged = AveragedModel(
                self.module, multi_avg_fn=_moving_average(decay=self.schedule.average), use_buffers=True
            )
        self._resume(optimizer)
        module, optimizer = accelerator.prepare(self.module, optimizer, device_placement=[False, False])
        epochs = _Epochs(self, accelerator, module, optimizer, report)
        with _scalars(self.context.scalars if accelerator.is_main_process else None, len(self.history)) as scalars:
            for epoch in range(len(self.history) + 1, last + 1):
                if self.context.choice is not None:
                    last = self._last_epoch(self.context.choice())
                if epoch > last or (validate is not None and self._stalls()):
                    break
                row = epochs.run(epoch, last, n_clips, step)
                if validate is not None:
                    with self._averaged_weights():
                        row["validation"] = _from_main(accelerator, validate)
                self.history.append(row)
                if accelerator.is_main_process:
                    self._save(epoch, optimizer)
                    for name, value in row.items():
                        scalars(name, value, epoch)
                accelerator.wait_for_everyone()

    def _last_epoch(self, chosen: Mapping[str, Any] | None) -> int:
        """That of the schedule, or of the fraction of it that was chosen."""
        total = self.schedule.epochs
        return total if chosen is None else max(1, round(total * chosen["epoch"] / chosen["of"]))

    def _resume(self, optimizer: torch.optim.Optimizer | None) -> None:
        state = self._checkpoints.state()
        if state is None:
            return
        self.module.load_state_dict(state["module"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if optimizer is not None:
            optimizer.load_state_dict(state["optimizer"])
        self.history = state["history"]

    def _save(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        state = {
            "module": self.module.state_dict(),
            "averaged": {} if self.averaged is None else self.averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": self.history,
        }
        self._checkpoints.save(epoch, state)

    @contextlib.contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Inside, the module has the averaged weights, where there are such."""
        if self.averaged is None:
            yield
            return
        trained = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.module.load_state_dict(self.averaged.module.state_dict())
        try:
            yield
        finally:
            self.module.load_state_dict(trained)

    def _stalls(self) -> bool:
        """Whether validation has not improved for ``patience`` epochs."""
        figures = [row["validation"] for row in self.history]
        if self.schedule.patience is None or not figures:
            return False
        return len(figures) - 1 - figures.index(max(figures)) >= self.schedule.patience

    def _best_epoch(self) -> int:
        """The kept epoch whose validation figure, averaged with its neighbours', is best; the later of equals.

        Validation sets are small, so the figure of a single epoch is noisy.
        """
        smooth = smoothed(self.history)
        return max(self.snapshots(), key=lambda epoch: (smooth[epoch], epoch))


class _Epochs:
    """Runs epochs of a trainer in one of its processes."""

    def __init__(
        self,
        trainer: Trainer,
        accelerator: Accelerator,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        report: Callable[[tuple[str, int, int, dict[str, float]]], None],
    ) -> None:
        self.schedule = trainer.schedule
        self.context = trainer.context
        self.trained = trainer.module
        self.averaged = trainer.averaged
        self.accelerator = accelerator
        self.module = module
        self.optimizer = optimizer
        self.report = report

    def run(self, epoch: int, last: int, n_clips: int, step: Step) -> dict[str, float]:
        """The means of the scalars over an epoch's batches."""
        seed = derive_seed(self.context.seed, "epoch", epoch)
        generator = torch.Generator().manual_seed(seed)
        batches = self._batches(torch.randperm(n_clips, generator=generator))
        if self.accelerator.process_index:
            seed = derive_seed(seed, "process", self.accelerator.process_index)
            generator = torch.Generator().manual_seed(seed)
        means = _Means(epoch)
        self.module.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for at, batch in enumerate(batches):
                for group in self.optimizer.param_groups:
                    group["lr"] = self.schedule.rate(epoch - 1 + at / len(batches))
                means.add(self._descend(batch, step, generator))
                if means.due or at + 1 == len(batches):
                    figures = means.take()
                    if self.accelerator.is_main_process:
                        done = (epoch - 1) * len(batches) + at + 1
                        self.report(("training", done, last * len(batches), figures))
        return {"epoch": float(epoch), **means.values()}

    def _batches(self, order: Tensor) -> list[Tensor]:
        """Clips by batch; a rest too small for batch statistics or contrastive negatives is left out."""
        batches = list(order.split(self.schedule.batch_size))
        smallest = 2 * self.schedule.accumulate * self.accelerator.num_processes
        if len(batches) > 1 and len(batches[-1]) < smallest:
            batches.pop()
        return batches

    def _descend(self, batch: Tensor, step: Step, generator: torch.Generator) -> dict[str, Tensor]:
        """One step of the optimizer; returns the batch's scalars."""
        share = batch.tensor_split(self.accelerator.num_processes)[self.accelerator.process_index]
        parts = [part for part in share.tensor_split(self.schedule.accumulate) if len(part)]
        scalars: dict[str, Tensor] = {}
        self.optimizer.zero_grad(set_to_none=True)
        for number, part in enumerate(parts, 1):
            weight = len(part) / len(share)
            apart = self.accelerator.no_sync(self.module) if number < len(parts) else contextlib.nullcontext()
            with apart:
                with in_precision(self.schedule.precision, self.accelerator.device.type):
                    losses = step(self.module, part, generator)
                self.accelerator.backward(losses["loss"] * weight)
            for name, value in losses.items():
                scalars[name] = scalars.get(name, 0) + value.detach().float() * weight
        if self.schedule.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.module.parameters(), self.schedule.clip_norm)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.trained)
        return scalars


class _Means:
    """Running means of an epoch's scalars, which are read from the device only now and then.

    :meth:`take` raises :class:`DivergedError` for the first batch whose loss was not finite.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._sums: dict[str, float] = {}
        self._n = 0
        self._waiting: list[dict[str, Tensor]] = []
        self._since = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to read the scalars from the device."""
        return time.monotonic() - self._since > _SECONDS_BETWEEN_CHECKS

    def add(self, scalars: dict[str, Tensor]) -> None:
        self._waiting.append(scalars)

    def take(self) -> dict[str, float]:
        """The means so far."""
        for scalars in self._waiting:
            figures = {name: float(value) for name, value in scalars.items()}
            if not math.isfinite(figures["loss"]):
                message = ", ".join(f"{name} {value:g}" for name, value in figures.items())
                raise DivergedError(
                    f"training diverged in epoch {self._epoch}, batch {self._n}: {message}; "
                    "try a lower base_rate with --set"
                )
            for name, value in figures.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._n += 1
        self._waiting.clear()
        self._since = time.monotonic()
        return self.values()

    def values(self) -> dict[str, float]:
        return {name: total / self._n for name, total in self._sums.items()}


_Tensors = tuple[Tensor, ...] | list[Tensor]


def _moving_average(decay: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """An exponential moving average that forgets faster at first, as TensorFlow's does: else it would still hold the
    first steps at the end of a short training."""

    def average(averaged: _Tensors, current: _Tensors, n_averaged: Tensor | int) -> None:
        steps = int(n_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averaged, current, n_averaged)

    return average


def _scored_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Those of the module in a checkpoint, averaged where they were."""
    averaged = {name.removeprefix("module."): value for name, value in state["averaged"].items()}
    averaged.pop("n_averaged", None)
    return averaged or state["module"]


def _accelerator() -> Accelerator:
    from accelerate import Accelerator

    # The context sets the device; accelerate would choose one by itself.
    return Accelerator(device_placement=False)


def _from_main(accelerator: Accelerator, figure: Callable[[], float]) -> float:
    """The figure of the first process, in all of them."""
    if accelerator.num_processes == 1:
        return figure()
    from accelerate.utils import broadcast_object_list

    found: list[float] = broadcast_object_list([figure() if accelerator.is_main_process else None])
    return found[0]


@contextlib.contextmanager
def _scalars(folder: Path | None, epochs_done: int) -> Iterator[Callable[[str, float, int], None]]:
    """Yields a function of a scalar's name, value and epoch, which writes to TensorBoard if there is a folder."""
    if folder is None:
        yield lambda name, value, epoch: None
        return
    writer = _summary_writer(folder, epochs_done)
    try:
        yield writer.add_scalar
    finally:
        writer.close()


def _summary_writer(folder: Path, epochs_done: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("--tensorboard needs TensorBoard; pip install 'mmcl-bench[tensorboard]'") from error
    return SummaryWriter(str(folder), purge_step=epochs_done + 1)
