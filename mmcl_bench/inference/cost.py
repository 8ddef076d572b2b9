"""What a network costs: parameters, FLOPs, clips per second and memory.

FLOPs are what :class:`torch.utils.flop_counter.FlopCounterMode` counts: matrix products and convolutions, two
operations per multiply-accumulate. Sums, normalisation and activations are left out, as in published tables, which
mostly give multiply-accumulates and call them FLOPs.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmcl_bench.core.errors import UserError
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import ScoringNetwork
from mmcl_bench.results.provenance import peak_memory_bytes
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import Layout, get_layout

WARM_UP, REPEATS = 1, 5


@dataclass(frozen=True)
class Complexity:
    """Parameters and FLOPs of a network that scores one clip."""

    parameters: int
    """Parameters used to score."""
    training_parameters: int
    """Further parameters, used only in training."""
    flops: int
    """Floating-point operations to score one clip."""
    macs: int
    """Multiply-accumulates to score one clip."""
    n_frames: int
    n_bodies: int
    """Bodies present in that clip."""
    n_joints: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Speed:
    """Clips per second, the median of a few batches that are already in memory, in the precision of the settings."""

    scoring: float
    training: float
    """With backward pass and optimizer step; augmentation and reading left out."""
    batch_size: int
    repeats: int
    device: str
    threads: int


@dataclass(frozen=True)
class PeakMemory:
    """Peak bytes beyond those in use with the network built and a batch made."""

    scoring: int
    training: int
    batch_size: int
    measured_by: str


@dataclass(frozen=True)
class Blueprint:
    """Everything needed to build a network, small enough to send to another process."""

    method: str
    layout: str | Layout
    n_classes: int
    settings: Mapping[str, Any]
    feature_dims: Mapping[Modality, int]
    n_frames: int | None = None
    """Frames at its input; None: those of its settings."""
    n_bodies: int | None = None
    """Bodies present in a clip; None: as many as the network takes."""

    def build(self, device: str = "cpu") -> ScoringNetwork:
        """The network, untrained. Raises :class:`UserError` where the method has none."""
        network = METHODS.get(self.method)(**self.settings).scoring_network(
            get_layout(self.layout), self.n_classes, self.feature_dims
        )
        if network is None:
            raise UserError(f"method {self.method} has no network of its own; choose one that has, such as mmcl")
        network.module.to(device)
        return network


@dataclass(frozen=True)
class Cost:
    """What ``mmcl-bench info`` tells of a network."""

    complexity: Complexity
    speed: Speed
    memory: PeakMemory

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def complexity(network: ScoringNetwork, n_frames: int | None = None, n_bodies: int | None = None) -> Complexity:
    """Parameters, and the arithmetic of scoring one clip of random poses with ``n_bodies`` bodies."""
    batch = _Batch.of(network, 1, n_frames, n_bodies)
    network.module.eval()
    with _frozen(network.module), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.score(*batch)
    flops = counter.get_total_flops()
    beside = _n_parameters(network.training_only)
    return Complexity(
        parameters=_n_parameters([network.module]) - beside,
        training_parameters=beside,
        flops=flops,
        macs=flops // 2,
        n_frames=batch.tracks.shape[2],
        n_bodies=len(batch.tracks),
        n_joints=batch.tracks.shape[3],
    )


def speed(network: ScoringNetwork, batch_size: int, n_frames: int | None = None, n_bodies: int | None = None) -> Speed:
    """Scoring and training speed of the network on the device that it is on."""
    batch = _Batch.of(network, batch_size, n_frames, n_bodies)
    device = batch.tracks.device
    scoring = _median_seconds(lambda: _score(network, batch), device)
    optimizer = network.optimizer(network.module)
    training = _median_seconds(lambda: _descend(network, batch, optimizer), device)
    return Speed(
        scoring=batch_size / scoring,
        training=batch_size / training,
        batch_size=batch_size,
        repeats=REPEATS,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=torch.get_num_threads(),
    )


def peak_memory(blueprint: Blueprint, batch_size: int, device: str = "cpu") -> PeakMemory:
    """How much memory scoring and training take. On CPUs it is measured in a separate process, whose peak memory has no
    other cause."""
    if device.startswith("cuda"):
        scoring, training = _cuda_peaks(blueprint, batch_size, device)
        measured_by = "torch.cuda.max_memory_allocated"
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            scoring, training = pool.submit(_resident_peaks, blueprint, batch_size, torch.get_num_threads()).result()
        measured_by = "peak resident memory of a process of its own"
    return PeakMemory(scoring, training, batch_size, measured_by)


def measure(blueprint: Blueprint, batch_size: int, device: str = "cpu") -> Cost:
    """All costs of an untrained network; they do not depend on the weights."""
    network = blueprint.build(device)
    frames, bodies = blueprint.n_frames, blueprint.n_bodies
    return Cost(
        complexity(network, frames, bodies),
        speed(network, batch_size, frames, bodies),
        peak_memory(blueprint, batch_size, device),
    )


class _Batch(NamedTuple):
    """Clips of random poses with all their bodies."""

    tracks: Tensor
    clip: Tensor
    n_clips: int

    @classmethod
    def of(cls, network: ScoringNetwork, n_clips: int, n_frames: int | None, n_bodies: int | None) -> _Batch:
        bodies = n_bodies or network.n_bodies
        shape = n_clips * bodies, 3, n_frames or network.n_frames, len(network.layout)
        device = next(network.module.parameters()).device
        tracks = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
        return cls(tracks, torch.arange(n_clips).repeat_interleave(bodies), n_clips)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Turns gradients of parameters off: the counter would hook those that one module passes to another."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _n_parameters(modules: Iterable[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _score(network: ScoringNetwork, batch: _Batch) -> None:
    network.module.eval()
    with torch.inference_mode():
        network.score(*batch)


def _descend(network: ScoringNetwork, batch: _Batch, optimizer: torch.optim.Optimizer) -> None:
    network.module.train()
    optimizer.zero_grad(set_to_none=True)
    network.loss(*batch).backward()
    optimizer.step()


def _median_seconds(work: Callable[[], None], device: torch.device) -> float:
    for _ in range(WARM_UP):
        work()
    seconds = []
    for _ in range(REPEATS):
        _wait_for(device)
        start = time.perf_counter()
        work()
        _wait_for(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cuda_peaks(blueprint: Blueprint, batch_size: int, device: str) -> tuple[int, int]:
    network = blueprint.build(device)
    batch = _Batch.of(network, batch_size, blueprint.n_frames, blueprint.n_bodies)

    def peak(work: Callable[[], None]) -> int:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before

    scoring = peak(lambda: _score(network, batch))
    return scoring, peak(lambda: _descend(network, batch, network.optimizer(network.module)))


def _resident_peaks(blueprint: Blueprint, batch_size: int, threads: int) -> tuple[int, int]:
    """Runs in a process of its own. The peak never falls, but training takes more than scoring, which comes first."""
    torch.set_num_threads(threads)
    network = blueprint.build()
    batch = _Batch.of(network, batch_size, blueprint.n_frames, blueprint.n_bodies)
    # The first optimizer of a process loads modules of torch that take more than a small network.
    optimizer = network.optimizer(network.module)
    before = _resident("VmRSS")
    _score(network, batch)
    scoring = _resident("VmHWM") - before
    _descend(network, batch, optimizer)
    return max(0, scoring), max(0, _resident("VmHWM") - before)


def _resident(field: str) -> int:
    """Bytes of resident memory of this process: now (``VmRSS``) or at most (``VmHWM``).

    Where the system has no /proc, the peak so far is used for both: that of building the network.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024
    return peak_memory_bytes()
