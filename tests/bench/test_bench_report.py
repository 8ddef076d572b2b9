"""Speed of the report: a thousand jobs in under 30 seconds and 1 GB; a hundred jobs of NTU RGB+D 120's size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mmcl_bench.cli import app
from stored_jobs import stored_job

HISTORY = {
    phase: [{"epoch": float(epoch), "loss": 2 / epoch, "validation": 1 - 1 / epoch} for epoch in range(1, 26)]
    for phase in ("selection", "final")
}
REPORT = """
import json, re, resource, sys
from pathlib import Path
from mmcl_bench.report.page import build_report
summary = build_report(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
# A process's own ru_maxrss counts what its parent had before exec.
own = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1))
peak = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(json.dumps({"jobs": summary.n_jobs, "figures": len(summary.figures), "peak_kib": peak}))
"""


@pytest.fixture(scope="module")
def large_results(measuring: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 jobs with scores of 50,000 clips and 120 classes: 2 tasks of 10 methods with 5 seeds. 2.5 GB."""
    root = tmp_path_factory.mktemp("large")
    metrics = ("zsl_top1", "zsl_macro_top1", "gzsl_seen", "gzsl_unseen", "gzsl_h", "ausuc")
    facts = {"family": "zero-shot", "history": HISTORY, "metrics": metrics, "synthetic": True}
    n_classes = 120 if measuring else 12
    facts |= {"classes": tuple(f"class {k}" for k in range(n_classes)), "n_test": 50_000 if measuring else 60}
    for n_unseen in (10, 24) if measuring else (10,):
        for method in range(10 if measuring else 2):
            for seed in range(5 if measuring else 1):
                own = {"name": f"unseen-{n_unseen}", "n_unseen": n_unseen, "skill": 0.2 + method / 30}
                stored_job(root, method=f"method-{method}", seed=seed, **facts, **own)
    return root


@pytest.fixture(scope="module")
def results(measuring: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 tasks of 10 methods with 5 seeds; one job where benchmarks are off."""
    root = tmp_path_factory.mktemp("thousand")
    classes = tuple(f"class {k}" for k in range(20 if measuring else 6))
    for task in range(20 if measuring else 1):
        family = "zero-shot" if task % 2 == 0 else "supervised"
        for method in range(10 if measuring else 1):
            for seed in range(5 if measuring else 1):
                facts = {"name": f"task-{task}", "method": f"method-{method}", "seed": seed, "skill": method / 10}
                stored_job(root, family=family, classes=classes, n_unseen=5, n_test=300, history=HISTORY, **facts)
    return root


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads its memory from /proc")
@pytest.mark.benchmark(group="report of 1000 jobs")
@pytest.mark.parametrize("state", ["first", "again"])
def test_report(benchmark: BenchmarkFixture, results: Path, measuring: bool, state: str) -> None:
    """In a process of its own, its start included. ``again`` finds the figures of ``first``."""
    told: list[str] = []

    def report() -> None:
        words = [sys.executable, "-c", REPORT, str(results), str(results / "reports"), "auto" if measuring else "none"]
        told.append(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    benchmark.pedantic(report, rounds=1)
    summary = json.loads(told[-1])
    benchmark.extra_info.update(summary)
    assert summary["jobs"] == (1000 if measuring else 1)
    assert summary["peak_kib"] < 2**20


@pytest.mark.benchmark(group="100 jobs of 50,000 clips and 120 classes")
@pytest.mark.parametrize(
    "words", [["report", "--figures", "none"], ["compare", "method-1", "method-0"]], ids=lambda words: words[0]
)
def test_large_results(
    benchmark: BenchmarkFixture,
    large_results: Path,
    words: list[str],
    measuring: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # a report is written to the working directory
    line = [*words, "--results", str(large_results)]
    if measuring:
        command = [sys.executable, "-m", "mmcl_bench", *line]
        benchmark.pedantic(subprocess.run, [command], {"check": True, "capture_output": True}, rounds=1)
    else:
        benchmark.pedantic(app, [line], {"standalone_mode": False}, rounds=1)
