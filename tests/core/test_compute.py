"""Threads that wait give their core away, unless the user says otherwise; torch repeats itself where it should."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from mmcl_bench.core.compute import deterministic

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
