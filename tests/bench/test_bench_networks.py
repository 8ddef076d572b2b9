"""CTR-GCN against its plain form: clips a second side by side on one thread, and the memory of a training step.

Run ``nox -s bench -- tests/bench/test_bench_networks.py``. Each case times both forms in turn and keeps the ratio of
their medians in ``extra_info``; on a GPU, where there is one, in bfloat16 and compiled as well.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from mmcl_bench.nn.ctr_gcn import CTRGCN, spatial_graph
from mmcl_bench.skeleton.layouts import KINECT_V2
from plain_ctr_gcn import PlainCTRGCN

pytestmark = pytest.mark.usefixtures("one_thread")
ROUNDS = 5
CLASSES = 60


@pytest.fixture
def count(benchmark: BenchmarkFixture) -> int:
    """Clips of a batch; few where nothing is timed."""
    return 20 if benchmark.enabled else 2


@pytest.fixture
def frames(benchmark: BenchmarkFixture) -> int:
    return 64 if benchmark.enabled else 8


def clips(share_of_one_body: float, count: int, device: str = "cpu", frames: int = 64) -> Tensor:
    """(N, 3, frames, 25, 2): like NTU RGB+D, where four of five clips show one body."""
    x = torch.randn(count, 3, frames, 25, 2, generator=torch.Generator().manual_seed(0))
    x[: round(share_of_one_body * count), ..., 1] = 0
    return x.to(device)


def networks(device: str = "cpu") -> tuple[PlainCTRGCN, CTRGCN]:
    fast = CTRGCN(KINECT_V2, CLASSES, generator=torch.Generator().manual_seed(0))
    plain = PlainCTRGCN(spatial_graph(KINECT_V2), CLASSES)
    plain.load_state_dict(fast.state_dict())
    return plain.to(device), fast.to(device)


def evaluate(network: nn.Module, x: Tensor) -> None:
    network.eval()
    with torch.inference_mode():
        network(x)


def train(network: nn.Module, x: Tensor) -> None:
    network.train()
    network.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(network(x), torch.arange(len(x), device=x.device) % CLASSES).backward()


def timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def side_by_side(benchmark: BenchmarkFixture, run: Callable[[nn.Module], None], pair: tuple[nn.Module, ...]) -> None:
    """Times ``run`` of both networks in turn; the benchmark's own figure is the fast one's."""
    plain, fast = pair
    if benchmark.enabled:
        run(plain), run(fast)
    seconds: dict[str, list[float]] = {"plain": [], "fast": []}

    def once() -> None:
        seconds["fast"].append(timed(lambda: run(fast)))

    def before() -> None:
        seconds["plain"].append(timed(lambda: run(plain)))

    benchmark.pedantic(once, setup=before, rounds=ROUNDS)
    medians = {name: statistics.median(values) for name, values in seconds.items() if values}
    if "plain" in medians:
        benchmark.extra_info["times as fast as the plain form"] = round(medians["plain"] / medians["fast"], 2)
        print(f"\n{benchmark.name}: {medians['plain'] / medians['fast']:.2f} times as fast as the plain form")


@pytest.mark.parametrize("share_of_one_body", [0.8, 0.0], ids=["ntu-like-mix", "two-bodies"])
def test_evaluation(benchmark: BenchmarkFixture, count: int, frames: int, share_of_one_body: float) -> None:
    x = clips(share_of_one_body, count, frames=frames)
    side_by_side(benchmark, lambda network: evaluate(network, x), networks())


@pytest.mark.parametrize("share_of_one_body", [0.8, 0.0], ids=["ntu-like-mix", "two-bodies"])
def test_training(benchmark: BenchmarkFixture, count: int, frames: int, share_of_one_body: float) -> None:
    x = clips(share_of_one_body, max(2, count // 2), frames=frames)
    side_by_side(benchmark, lambda network: train(network, x), networks())


def _peak_of_training(which: int) -> int:
    """Bytes that a few training steps of one of the two networks take at most, in a process of its own."""
    torch.set_num_threads(1)
    network, x = networks()[which], clips(0.8, 10)
    before = _resident("VmRSS")
    for _ in range(2):
        train(network, x)
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    """Bytes of resident memory of this process; what getrusage gives holds the peak of the parent as well."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the memory of a process from /proc")
def test_memory_of_training(benchmark: BenchmarkFixture) -> None:
    """What training takes of memory at most, both forms; the time is of no interest."""
    if not benchmark.enabled:
        pytest.skip("measures memory where benchmarks are on")
    peaks = {}
    for which, name in enumerate(("plain", "fast")):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            peaks[name] = pool.submit(_peak_of_training, which).result()
    benchmark.extra_info["memory, share of the plain form's"] = round(peaks["fast"] / peaks["plain"], 2)
    print(f"\npeak memory of training: {peaks['fast'] / peaks['plain']:.2f} of the plain form's")
    benchmark.pedantic(lambda: None, rounds=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("run", [evaluate, train])
def test_on_a_gpu(benchmark: BenchmarkFixture, run: Callable[[nn.Module, Tensor], None]) -> None:
    """The plain form in float32 against ours in bfloat16, compiled."""
    x = clips(0.8, 256, "cuda")
    plain, fast = networks("cuda")
    fast.encode = torch.compile(fast.encode, dynamic=True)  # type: ignore[method-assign]

    def once(network: nn.Module) -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=network is fast):
            run(network, x)

    side_by_side(benchmark, once, (plain, fast))
