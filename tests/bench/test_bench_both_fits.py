"""Both fits of a network at once, each on half of the threads, against one after the other on all of them.

Needs two idle cores.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mmcl_bench.core.compute import usable_cores
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.running import runner
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.runner import RunSite, run_job
from small_backbone import SMALL
from torch_threads import threads

pytestmark = [pytest.mark.usefixtures("small_backbone"), pytest.mark.skipif(usable_cores() < 2, reason="one core")]

ROUNDS = 3
STEPS = {True: "80", False: "2"}
"""Of each fit, where benchmarks are on and off."""


@pytest.mark.timeout(1800)
def test_both_fits_at_once(
    benchmark: BenchmarkFixture,
    measuring: bool,
    toy_data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path if measuring else toy_data_root
    task = load_task("zero-shot/synth60[split=55/5]" if measuring else "zero-shot/nw-ucla[split=8/2]")
    short = {"epochs": "1", "min_steps": STEPS[measuring]} | ({} if measuring else {"backbone": SMALL, "n_frames": "8"})
    wanted: Job = make_job(task, METHODS.get("skeleton-only"), 0, overrides=short)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    started: list[runner.FitAhead] = []
    start = runner.FitAhead.start
    monkeypatch.setattr(runner.FitAhead, "start", lambda self: (started.append(self), start(self)))
    monkeypatch.setattr(METHODS.get("skeleton-only"), "may_begin_before_choice", lambda self, n_clips: may_begin)
    may_begin = True

    def run(at_once: bool) -> None:
        nonlocal may_begin
        may_begin = at_once
        begin = time.perf_counter()
        with threads(2):
            run_job(wanted, RunSite(root, tmp_path / "results"), fresh=True)
        seconds[at_once].append(time.perf_counter() - begin)
        assert len(started) == len(seconds[True])

    run(True)  # prepares the data, loads what is loaded once
    seconds[True].clear()
    started.clear()
    benchmark.pedantic(lambda: run(True), setup=lambda: run(False), rounds=ROUNDS if measuring else 1)
    ratio = statistics.median(seconds[False]) / statistics.median(seconds[True])
    benchmark.extra_info["times as fast as one fit after the other"] = round(ratio, 2)
    print(f"\nboth fits at once: {ratio:.2f} times as fast as one after the other")
