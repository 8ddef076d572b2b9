"""Speed: ``nox -s bench`` times these and prints medians; a plain test run calls each once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from mmcl_bench.datasets.synth.scene import make_clip
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.evaluation.statistics import bootstrap_interval
from mmcl_bench.nn.ctr_gcn import CTRGCN, TinyCTRGCN
from mmcl_bench.skeleton.augmentation import Compose, CropResize, RandomRotation
from mmcl_bench.skeleton.layouts import KINECT_V2
from mmcl_bench.skeleton.transforms import PreparedTracks, bodies_last, prepare_clips


@pytest.mark.benchmark(group="start")
@pytest.mark.parametrize("code", ["import typer, rich", "from mmcl_bench.cli import app"])
def test_start_of_the_command_line(benchmark: BenchmarkFixture, code: str) -> None:
    """Against a bare typer program with rich, the floor."""
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", code], check=True), rounds=7, warmup_rounds=1)


@pytest.mark.benchmark(group="train 32 body tracks")
@pytest.mark.parametrize("blocks", ["tiny", "paper"])
def test_training_step(benchmark: BenchmarkFixture, blocks: str) -> None:
    network = (TinyCTRGCN if blocks == "tiny" else CTRGCN)(KINECT_V2, 60, n_bodies=1)
    clips = torch.randn(32 if benchmark.enabled else 2, 3, 24, 25, 1)

    def step() -> None:
        network.zero_grad()
        network(clips).sum().backward()

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="data")
def test_generating_clips(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(lambda: [make_clip(label, 1, 1) for label in range(60)], rounds=3)


@pytest.mark.benchmark(group="16 clips of 64 frames: loader against network")
@pytest.mark.parametrize("part", ["loader with augmentation", "training step of CTR-GCN"])
def test_the_loader_feeds_the_network(benchmark: BenchmarkFixture, part: str) -> None:
    """CTR-GCN of the paper, two bodies. The second case over the first is how much faster the loader is."""
    clip = torch.arange(200).repeat_interleave(2)
    prepared = PreparedTracks(torch.randn(400, 3, 100, 25), clip, n_clips=200)
    vary = Compose((CropResize(64), RandomRotation(0.3)))
    network = CTRGCN(KINECT_V2, 60, n_bodies=2)
    generator = torch.Generator().manual_seed(0)
    batch = 16 if benchmark.enabled else 2

    def load() -> torch.Tensor:
        tracks, place = prepared.batch(torch.randint(200, (batch,), generator=generator))
        return bodies_last(vary(tracks, place, generator), place, batch)

    clips = load()

    def train() -> None:
        network.zero_grad()
        network(clips).sum().backward()

    benchmark.pedantic(load if part.startswith("loader") else train, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="data")
def test_preparing_clips(benchmark: BenchmarkFixture, toy_data_root: Path) -> None:
    from mmcl_bench.datasets.store import SkeletonDataset
    from mmcl_bench.protocols.problem import ClipView

    dataset = SkeletonDataset.open(toy_data_root / "nw-ucla")
    view = ClipView([dataset.bodies(row) for row in range(180)], [14] * 180, "kinect-v1")
    benchmark(lambda: prepare_clips(view))


@pytest.mark.benchmark(group="statistics")
@pytest.mark.parametrize("name", ["zsl_top1", "gzsl_h", "ausuc"])
def test_2000_resamples(benchmark: BenchmarkFixture, name: str) -> None:
    generator = np.random.default_rng(0)
    seen = np.arange(60) < 55
    scored = Scored(generator.random((2400, 60), dtype=np.float32), generator.integers(0, 60, 2400), seen)
    benchmark.pedantic(
        lambda: bootstrap_interval(METRICS.get(name), [scored], 2000, generator=np.random.default_rng(1)), rounds=3
    )
