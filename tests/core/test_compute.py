"""Threads: one for each usable core, and waiting ones give their core away; torch repeats itself where it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmcl_bench.core import compute
from mmcl_bench.core.compute import deterministic, threads_alone, usable_cores

WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.parametrize(
    ("own", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_waiting_threads_spin_for_a_moment_unless_the_user_says_otherwise(own: dict[str, str], spins: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in WAITING} | own
    code = "import os, sys, mmcl_bench; assert 'torch' not in sys.modules; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == spins


@pytest.mark.parametrize("before", [(False, False), (True, False), (True, True)])
def test_torch_is_left_as_it_was(before: tuple[bool, bool]) -> None:
    def switches() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    usual = switches()
    try:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        with deterministic("cuda"):
            assert switches() == (True, True)
        assert switches() == before
    finally:
        torch.use_deterministic_algorithms(usual[0], warn_only=usual[1])


@pytest.fixture
def of_eight_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of control groups, on a machine where a process may run on eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(compute, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(compute, "_GROUPS_OF_PROCESS", tmp_path / "groups-of-process")
    return tmp_path


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {}, 8),
        ("0::/job\n", {"job/cpu.max": "max 100000"}, 8),
        ("0::/job\n", {"job/cpu.max": "300000 100000"}, 3),
        ("0::/job\n", {"job/cpu.max": "150000 100000"}, 2),
        ("0::/job\n", {"job/cpu.max": "5000 100000"}, 1),
        ("0::/job\n", {"job/cpu.max": "1600000 100000"}, 8),
        ("0::/users/ann/job\n", {"users/cpu.max": "max 100000", "users/ann/cpu.max": "200000 100000"}, 2),
        ("0::/path/of/the/host\n", {"cpu.max": "400000 100000"}, 4),
        (
            "4:memory:/\n3:cpu,cpuacct:/job\n0::/\n",
            {"cpu/job/cpu.cfs_quota_us": "50000", "cpu/job/cpu.cfs_period_us": "20000"},
            3,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("2:cpuset:/job\n", {"cpu/job/cpu.cfs_quota_us": "1", "cpu/job/cpu.cfs_period_us": "1"}, 8),
    ],
)
def test_a_quota_of_a_control_group_limits_the_cores(
    groups: str, files: dict[str, str], cores: int, of_eight_cores: Path
) -> None:
    (of_eight_cores / "groups-of-process").write_text(groups)
    for name, content in files.items():
        path = of_eight_cores / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    assert usable_cores() == cores


def test_without_control_groups_all_cores_of_the_affinity_count(of_eight_cores: Path) -> None:
    assert usable_cores() == 8


def test_a_job_alone_takes_as_many_threads_as_torch_within_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for cores, threads in ((8, 4), (3, 3)):
        monkeypatch.setattr(compute, "usable_cores", lambda cores=cores: cores)
        assert threads_alone() == threads
