"""Speed of planning: 10,000 jobs, all stored, in under 2 seconds; and of the start of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import RESULT
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.planning import State, plan, totals
from mmcl_bench.running.runner import RunSite, run_job

HISTORY = [
    {"epoch": float(at), "loss": 2 / at, "accuracy": 1 - 1 / at, "validation": 1 - 1 / at} for at in range(1, 26)
]
BARE = """
import typer
from rich.console import Console
app = typer.Typer()
@app.command()
def greet(name: str = "you") -> None: Console().print(name)
app(["--help"])
"""


@pytest.fixture(scope="module")
def n_jobs(measuring: bool) -> int:
    return 10_000 if measuring else 20


def jobs(count: int) -> list[Job]:
    task = load_task("supervised/nw-ucla[split=x-sub]")
    first = [make_job(task, METHODS.get("chance"), 0, limit=limit) for limit in range(1, 11)]
    return [replace(job, seed=seed) for seed in range(count // 10) for job in first]


@pytest.fixture(scope="module")
def stored(n_jobs: int, toy_data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunSite:
    """Real folders, made from one: each with its own result.json and links to the files of the first."""
    where = RunSite(toy_data_root, tmp_path_factory.mktemp("many"))
    template = run_job(make_job(load_task("supervised/nw-ucla[split=x-sub]"), METHODS.get("chance"), 0), where)[0]
    content = json.loads((template.folder / RESULT).read_text())
    content["history"] = {"selection": HISTORY, "final": HISTORY}
    for job in jobs(n_jobs):
        folder = where.results_root / "jobs" / job.folder
        folder.mkdir()
        for name in content["files"]:
            os.link(template.folder / name, folder / name)
        content["job"], content["job_hash"] = job.canonical(), job.hash
        (folder / RESULT).write_text(json.dumps(content, indent=1))
    return where


@pytest.mark.benchmark(group="plan of 10000 jobs")
@pytest.mark.parametrize("state", ["done", "half of them missing", "none stored"])
def test_planning(benchmark: BenchmarkFixture, stored: RunSite, n_jobs: int, state: str, tmp_path: Path) -> None:
    where = replace(stored, results_root=tmp_path) if state == "none stored" else stored
    shift = n_jobs // 20 if state == "half of them missing" else 0

    def look() -> int:
        wanted = [replace(job, seed=job.seed + shift) for job in jobs(n_jobs)]
        return totals(plan(wanted, where)).by_state[State.DONE]

    done = benchmark.pedantic(look, rounds=3)
    assert done == {"done": n_jobs, "half of them missing": n_jobs // 2, "none stored": 0}[state]


@pytest.mark.benchmark(group="whole commands against a bare typer program with rich")
@pytest.mark.parametrize("line", ["bare", "--help", "run --help", "plan --help", "list tasks", "list methods"])
def test_start(benchmark: BenchmarkFixture, line: str) -> None:
    words = ["-c", BARE] if line == "bare" else ["-m", "mmcl_bench", *line.split()]

    def start() -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    rounds = 7 if benchmark.enabled else 1
    benchmark.pedantic(start, rounds=rounds, warmup_rounds=int(rounds > 1))
