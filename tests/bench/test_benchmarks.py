"""Speed: ``nox -s bench`` times these and prints medians; a plain test run calls each once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from mmcl_bench.metrics import METRICS, Scored
from mmcl_bench.nn.ctr_gcn import CTRGCN, PAPER_BLOCKS, TINY_BLOCKS
from mmcl_bench.skeleton.layouts import KINECT_V2
from mmcl_bench.skeleton.synth.scene import make_clip
from mmcl_bench.skeleton.transforms import Augmentation, augment, prepare_clips
from mmcl_bench.stats import bootstrap_interval


@pytest.mark.benchmark(group="start")
@pytest.mark.parametrize("code", ["import typer, rich", "from mmcl_bench.cli import app"])
def test_start_of_the_command_line(benchmark: BenchmarkFixture, code: str) -> None:
    """Against a bare typer program with rich, the floor."""
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", code], check=True), rounds=7, warmup_rounds=1)


@pytest.mark.benchmark(group="train 32 body tracks")
@pytest.mark.parametrize("blocks", ["tiny", "paper"])
def test_training_step(benchmark: BenchmarkFixture, blocks: str) -> None:
    network = CTRGCN(KINECT_V2, 60, n_bodies=1, blocks=TINY_BLOCKS if blocks == "tiny" else PAPER_BLOCKS)
    clips = torch.randn(32, 3, 24, 25, 1)

    def step() -> None:
        network.zero_grad()
        network(clips).sum().backward()

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="data")
def test_generating_clips(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(lambda: [make_clip(label, 1, 1) for label in range(60)], rounds=3)


@pytest.mark.benchmark(group="data")
def test_augmenting_a_batch(benchmark: BenchmarkFixture) -> None:
    tracks, clip = torch.randn(32, 3, 64, 25), torch.arange(32)
    benchmark(lambda: augment(tracks, clip, torch.Generator().manual_seed(0), Augmentation()))


@pytest.mark.benchmark(group="data")
def test_preparing_clips(benchmark: BenchmarkFixture, toy_data_root: Path) -> None:
    from mmcl_bench.protocols.base import ClipView
    from mmcl_bench.skeleton.store import SkeletonDataset

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
