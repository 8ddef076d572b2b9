"""Our networks against the code that their authors publish, on one thread, with equal weights.

``MMCL_BENCH_AUTHORS`` names a folder with checkouts of their repositories, called as in :data:`AUTHORS`; without it
nothing runs. Run ``MMCL_BENCH_AUTHORS=... nox -s bench -- tests/bench/test_bench_authors.py``. Each case times both in
turn, in CPU time, and keeps the ratio of their medians in ``extra_info``.
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from mmcl_bench.nn import BACKBONES
from mmcl_bench.nn.backbone import Backbone
from mmcl_bench.skeleton.layouts import KINECT_V2

pytestmark = pytest.mark.usefixtures("one_thread")
ROUNDS = 7
CLASSES = 60
CLIPS = 8


@dataclass(frozen=True)
class Published:
    """Where a network is in its authors' repository."""

    repository: str
    """The folder of the checkout, as on GitHub."""
    module: str
    arguments: Mapping[str, Any]


AUTHORS = {
    "ctr-gcn": Published(
        "CTR-GCN", "model.ctrgcn", {"graph": "graph.ntu_rgb_d.Graph", "graph_args": {"labeling_mode": "spatial"}}
    ),
    "hd-gcn": Published(
        "HD-GCN",
        "model.HDGCN",
        {"graph": "graph.ntu_rgb_d_hierarchy.Graph", "graph_args": {"labeling_mode": "spatial", "CoM": 21}},
    ),
    "st-gcn": Published(
        "st-gcn",
        "net.st_gcn",
        {
            "in_channels": 3,
            "graph_args": {"layout": "ntu-rgb+d", "strategy": "spatial"},
            "edge_importance_weighting": True,
        },
    ),
}


@contextmanager
def imports_from(folder: Path, graph: str) -> Iterator[None]:
    """Imports from a checkout; repositories call their packages by the same names. The package of graphs itself is
    left out, as it imports modules that one repository lacks."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    if graph:
        sys.modules["graph"] = package = ModuleType("graph")
        package.__path__ = [str(folder / "graph")]
        importlib.import_module(graph.rpartition(".")[0])
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            del sys.modules[name]


def pair(name: str) -> tuple[nn.Module, Backbone]:
    """The authors' network and ours, with the same weights."""
    given = os.environ.get("MMCL_BENCH_AUTHORS")
    published = AUTHORS[name]
    if given is None or not (folder := Path(given) / published.repository).is_dir():
        pytest.skip(f"MMCL_BENCH_AUTHORS names no folder with a checkout of {published.repository}")
    ours = BACKBONES.get(name)(KINECT_V2, CLASSES, generator=torch.Generator().manual_seed(0))
    with imports_from(folder, published.arguments.get("graph", "")):
        # Some need packages of their own, such as einops.
        theirs: nn.Module = pytest.importorskip(published.module).Model(num_class=CLASSES, **published.arguments)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def clips(share_of_one_body: float) -> Tensor:
    """(N, 3, 64, 25, 2): like NTU RGB+D, where four of five clips show one body."""
    x = torch.randn(CLIPS, 3, 64, 25, 2, generator=torch.Generator().manual_seed(0))
    x[: round(share_of_one_body * CLIPS), ..., 1] = 0
    return x


def evaluate(network: nn.Module, x: Tensor) -> Tensor:
    network.eval()
    with torch.inference_mode():
        found: Tensor = network(x)
    return found


def train(network: nn.Module, x: Tensor) -> None:
    network.train()
    network.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(network(x), torch.arange(len(x)) % CLASSES).backward()


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time, which other work on the machine changes less than the time on the clock."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def in_form(form: str, network: Backbone, x: Tensor) -> Callable[[Callable[[nn.Module, Tensor], object]], object]:
    """How ours runs: as it is, in bfloat16, or compiled."""
    if form == "bfloat16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no instructions for bfloat16")
    if form == "compiled":
        if shutil.which("g++") is None:
            pytest.skip("torch.compile needs a C++ compiler on CPUs")
        network.encode = torch.compile(network.encode, dynamic=True)  # type: ignore[method-assign]

    def ours(run: Callable[[nn.Module, Tensor], object]) -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=form == "bfloat16"):
            return run(network, x)

    return ours


@pytest.mark.parametrize("form", ["float32", "bfloat16", "compiled"])
@pytest.mark.parametrize("share_of_one_body", [0.8, 0.0], ids=["ntu-like-mix", "two-bodies"])
@pytest.mark.parametrize("run", [evaluate, train])
@pytest.mark.parametrize("name", AUTHORS)
def test_against_the_authors_code(
    benchmark: BenchmarkFixture,
    name: str,
    run: Callable[[nn.Module, Tensor], object],
    share_of_one_body: float,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # HD-GCN takes the number of a GPU for a device, which is -1 on CPUs.
    monkeypatch.setattr(Tensor, "get_device", lambda tensor: tensor.device)
    theirs, network = pair(name)
    x = clips(share_of_one_body)
    ours = in_form(form, network, x)
    expected, found = evaluate(theirs, x), ours(evaluate)
    assert isinstance(found, Tensor)
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error < (1e-3 if form != "bfloat16" else 0.1)
    run(theirs, x), ours(run)
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}

    def once() -> None:
        seconds["ours"].append(cpu_seconds(lambda: ours(run)))

    def before() -> None:
        seconds["theirs"].append(cpu_seconds(lambda: run(theirs, x)))

    benchmark.pedantic(once, setup=before, rounds=ROUNDS)
    ratio = statistics.median(seconds["theirs"]) / statistics.median(seconds["ours"])
    benchmark.extra_info["times as fast as the authors' code"] = round(ratio, 2)
    benchmark.extra_info["largest error of a logit, share of the largest"] = f"{error:.0e}"
    print(f"\n{benchmark.name}: {ratio:.2f} times as fast as the authors' code, logits within {error:.0e}")
