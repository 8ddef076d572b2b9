"""Whole jobs against the programs that authors publish: one epoch of CTR-GCN and its test, on the same clips.

``MMCL_BENCH_AUTHORS`` names a folder with a checkout of CTR-GCN; its ``main.py``
needs ``pip install tensorboardX h5py``.
Both commands run with one thread, each in its own process, so that CPU time and peak memory are those of a user.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pytest_benchmark.fixture import BenchmarkFixture

N_CLIPS = 288
"""Two of three cameras train: 192 clips of an epoch, three batches, and 96 of the test."""
BATCH = 64
ON_CPU = """
import numpy, runpy, sys, torch, types, yaml
sys.path[:0] = [".", "torchlight"]
for name in ("torchpack", "torchpack.runner", "torchpack.runner.hooks"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["torchpack.runner.hooks"].PaviLogger = None
torch.Tensor.cuda = lambda tensor, *arguments, **options: tensor
torch.nn.Module.cuda = lambda module, *arguments, **options: module
draw, load = numpy.random.rand, yaml.load
numpy.random.rand = lambda *shape: draw() if shape == (1,) else draw(*shape)
yaml.load = lambda stream, Loader=yaml.SafeLoader: load(stream, Loader)
sys.argv = ["main.py", *sys.argv[1:]]
runpy.run_path("main.py", run_name="__main__")
"""
"""Their program asks for a GPU, older numpy and PyYAML, and a package that it does not use; the rest stays as it is."""
OURS = {
    "backbone": "ctr-gcn",
    "epochs": 1,
    "batch_size": BATCH,
    "n_frames": 64,
    "n_bodies": 2,
    "base_rate": 0.1,
    "warmup_epochs": 5,
    "selection": "fixed",
}


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    cpu_seconds: float
    peak_bytes: int


def cost(command: list[str], folder: Path, log: Path) -> Cost:
    """Runs a command with one thread in a folder; what it prints goes to ``log``."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, log.read_text()[-2000:]
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


@pytest.fixture(scope="module")
def checkout() -> Path:
    """The authors' CTR-GCN."""
    pytest.importorskip("tensorboardX")
    given = os.environ.get("MMCL_BENCH_AUTHORS")
    if given is None or not (found := Path(given) / "CTR-GCN").is_dir():
        pytest.skip("MMCL_BENCH_AUTHORS names no folder with a checkout of CTR-GCN")
    return found


@pytest.fixture(scope="module")
def root(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with an NTU-like set, and the same clips as their feeder reads them."""
    root = tmp_path_factory.mktemp("whole-jobs")
    ours, source = [sys.executable, "-m", "mmcl_bench", "data"], str(root / "source.zip")
    export = ["export", "ntu60", "--format", "ctr-gcn-npz", "--side", "x-view", "--frames", "300"]
    for command in (
        ["synth", "--clips", str(N_CLIPS), "--output", source],
        ["prepare", "ntu60", "--source", source, "--data-root", str(root)],
        [*export, "--data-root", str(root), "--output", str(root / "ntu60.npz")],
    ):
        subprocess.run([*ours, *command], check=True, capture_output=True)
    return root


@pytest.mark.timeout(3600)
def test_one_epoch_of_ctr_gcn(benchmark: BenchmarkFixture, checkout: Path, root: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((checkout / "config/nturgbd-cross-view/default.yaml").read_text())
    config |= {"work_dir": str(tmp_path / "theirs"), "num_epoch": 1, "save_epoch": 0, "num_worker": 0}
    config["train_feeder_args"]["data_path"] = config["test_feeder_args"]["data_path"] = str(root / "ntu60.npz")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "batch_size": BATCH}))
    theirs = [sys.executable, "-c", ON_CPU, "--config", str(tmp_path / "config.yaml")]
    ours = [sys.executable, "-m", "mmcl_bench", "run", "supervised", "--dataset", "ntu60", "--split", "x-view"]
    ours += ["--method", "skeleton-only", "--preset", "paper", "--threads", "1", "--seeds", "1"]
    ours += [part for key, value in OURS.items() for part in ("--set", f"{key}={json.dumps(value).strip(chr(34))}")]
    ours += ["--data-root", str(root), "--results", str(tmp_path / "ours")]
    costs: dict[str, Cost] = {}

    def run_theirs() -> None:
        costs["theirs"] = cost(theirs, checkout, tmp_path / "theirs.txt")

    def run_ours() -> None:
        costs["ours"] = cost(ours, tmp_path, tmp_path / "ours.txt")

    benchmark.pedantic(run_ours, setup=run_theirs, rounds=1)
    ratio = costs["theirs"].cpu_seconds / costs["ours"].cpu_seconds
    memory = costs["ours"].peak_bytes / costs["theirs"].peak_bytes
    benchmark.extra_info["times as fast as the authors' program"] = round(ratio, 2)
    benchmark.extra_info["peak memory, share of the authors' program's"] = round(memory, 2)
    print(f"\none epoch and a test: {ratio:.2f} times as fast in {memory:.2f} of the memory")
