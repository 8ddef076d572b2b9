"""Speed of what feeds the network: 8 clips of two bodies, 64 frames and 25 joints, against training on them."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from mmcl_bench.nn.ctr_gcn import CTRGCN, TinyCTRGCN
from mmcl_bench.skeleton.augmentation import (
    Compose,
    CropResize,
    Jitter,
    RandomFlip,
    RandomRotation,
    RandomScale,
)
from mmcl_bench.skeleton.layouts import KINECT_V2
from mmcl_bench.skeleton.streams import STREAMS, stack
from mmcl_bench.skeleton.transforms import PreparedTracks, bodies_last

N_CLIPS, BATCH = 2000, 8
CTR_GCN = Compose((CropResize(64), RandomRotation(0.3)))
EVERY_PIECE = Compose(
    (
        *CTR_GCN.pieces,
        RandomScale(0.9, 1.1),
        RandomFlip(0.5, KINECT_V2),
        Jitter(0.01),
    )
)


@pytest.fixture(scope="module")
def prepared() -> PreparedTracks:
    """4,000 synthetic tracks, 77 MB: more than processors cache."""
    tracks = torch.randn(2 * N_CLIPS, 3, 64, 25, generator=torch.Generator().manual_seed(0))
    return PreparedTracks(tracks, torch.arange(N_CLIPS).repeat_interleave(2), N_CLIPS)


def loader(prepared: PreparedTracks, vary: Compose, streams: tuple[str, ...]) -> Callable[[], Tensor]:
    """Loads a random batch, (BATCH, C, 64, 25, 2)."""
    generator = torch.Generator().manual_seed(0)

    def load() -> Tensor:
        tracks, place = prepared.batch(torch.randint(N_CLIPS, (BATCH,), generator=generator))
        return bodies_last(stack(vary(tracks, place, generator), streams, KINECT_V2), place, BATCH)

    return load


def training_step(clips: Tensor, tiny: bool = False) -> Callable[[], None]:
    """One forward and backward pass."""
    network = (TinyCTRGCN if tiny else CTRGCN)(KINECT_V2, 60, in_channels=clips.shape[1])

    def train() -> None:
        network.zero_grad()
        network(clips).sum().backward()

    return train


@pytest.mark.benchmark(group="8 clips of 64 frames")
@pytest.mark.parametrize("streams", [("joint",), tuple(STREAMS)], ids=["joint", "four streams"])
@pytest.mark.parametrize("vary", [CTR_GCN, EVERY_PIECE], ids=["variation of CTR-GCN", "every piece"])
def test_loading(
    benchmark: BenchmarkFixture, prepared: PreparedTracks, vary: Compose, streams: tuple[str, ...]
) -> None:
    benchmark.pedantic(loader(prepared, vary, streams), rounds=100, warmup_rounds=5)


@pytest.mark.benchmark(group="8 clips of 64 frames")
@pytest.mark.parametrize("tiny", [True, False], ids=["tiny", "paper"])
def test_training(benchmark: BenchmarkFixture, prepared: PreparedTracks, tiny: bool) -> None:
    clips = loader(prepared, CTR_GCN, ("joint",))()
    benchmark.pedantic(training_step(clips[: BATCH if benchmark.enabled else 1], tiny), rounds=5, warmup_rounds=1)


def test_the_loader_is_at_least_5_times_as_fast_as_training(prepared: PreparedTracks) -> None:
    load = loader(prepared, EVERY_PIECE, tuple(STREAMS))
    # The fastest of a few, so that a busy machine does not decide; it is hundreds of times as fast.
    loading = min(_seconds(load) for _ in range(5)) / BATCH
    step = training_step(load()[:1])
    assert 5 * loading < min(_seconds(step) for _ in range(2))


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start
