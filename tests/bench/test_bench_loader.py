"""Speed of what feeds the network: 8 clips of two bodies, 64 frames and 25 joints, against training on them.

``MMCL_BENCH_AUTHORS`` names a folder with a checkout of pyskl, against whose loading ours is timed; it needs
mmcv 1.7, opencv, addict and yapf to be importable.
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.utils.data import default_collate

from mmcl_bench.nn.ctr_gcn import CTRGCN, TinyCTRGCN
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.augmentation import (
    Compose,
    CropResize,
    Jitter,
    RandomFlip,
    RandomRotation,
    RandomScale,
)
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.layouts import KINECT_V2
from mmcl_bench.skeleton.streams import STREAMS, stack
from mmcl_bench.skeleton.transforms import PreparedTracks, bodies_last, prepare_clips

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


PYSKL_STEPS: list[dict[str, Any]] = [
    {"type": "PreNormalize3D"},
    {"type": "GenSkeFeat", "dataset": "nturgb+d", "feats": ["j"]},
    {"type": "UniformSample", "clip_len": 64},
    {"type": "PoseDecode"},
    {"type": "FormatGCNInput", "num_person": 2},
    {"type": "Collect", "keys": ["keypoint", "label"], "meta_keys": []},
    {"type": "ToTensor", "keys": ["keypoint"]},
]
"""What pyskl's settings of ST-GCN++ do with a training clip, at 64 frames."""


def pyskl_loading() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """pyskl's own steps. Its package as a whole wants detectors and video readers, which these do not use."""
    given = os.environ.get("MMCL_BENCH_AUTHORS")
    if given is None or not (checkout := Path(given) / "pyskl").is_dir():
        pytest.skip("MMCL_BENCH_AUTHORS names no folder with a checkout of pyskl")
    pytest.importorskip("mmcv")
    for name in ("pyskl", "pyskl.utils", "pyskl.datasets", "pyskl.datasets.pipelines"):
        sys.modules[name] = package = ModuleType(name)
        package.__path__ = [str(checkout / name.replace(".", "/"))]
    sys.modules["pyskl.utils"].__dict__["warning_r0"] = print
    for module in ("pose_related", "sampling", "formatting"):
        importlib.import_module(f"pyskl.datasets.pipelines.{module}")
    made: Callable[[dict[str, Any]], dict[str, Any]]
    made = importlib.import_module("pyskl.datasets.pipelines.compose").Compose(PYSKL_STEPS)
    return made


def test_an_epoch_of_loading_against_pyskl(benchmark: BenchmarkFixture) -> None:
    load, generator, batch = pyskl_loading(), np.random.default_rng(0), 16
    # One clip in five shows two bodies, as about in NTU RGB+D.
    raw = [generator.normal(size=(1 + (n % 5 == 0), 80, 25, 3)).astype(np.float32) for n in range(400)]
    view = ClipView([[BodyTrack(0, body) for body in clip] for clip in raw], [80] * len(raw), KINECT_V2)
    seconds: dict[str, list[float]] = {"theirs": [], "ours": [], "preparing": []}

    def theirs() -> None:
        for at in range(0, len(raw), batch):
            some = [{"keypoint": clip, "label": 0, "total_frames": 80, "start_index": 0} for clip in raw[at:][:batch]]
            default_collate([load(clip) for clip in some])

    def ours() -> None:
        draws = torch.Generator().manual_seed(0)
        for some in torch.randperm(len(raw), generator=draws).split(batch):
            tracks, place = prepared[0].batch(some)
            bodies_last(stack(CTR_GCN(tracks, place, draws), ("joint",), KINECT_V2), place, len(some))

    prepared = [prepare_clips(view)]

    def before() -> None:
        seconds["theirs"].append(_seconds(theirs))
        seconds["preparing"].append(_seconds(lambda: prepare_clips(view)))

    def once() -> None:
        seconds["ours"].append(_seconds(ours))

    benchmark.pedantic(once, setup=before, rounds=5)
    of = {name: statistics.median(each) for name, each in seconds.items()}
    benchmark.extra_info["times as fast as pyskl"] = round(of["theirs"] / of["ours"], 1)
    benchmark.extra_info["preparing once, in epochs of pyskl"] = round(of["preparing"] / of["theirs"], 2)
    print(f"\n{of['theirs'] / of['ours']:.1f} times as fast as pyskl; preparing: {of['preparing'] / of['theirs']:.2f}")


def _seconds(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return process_time() - start
