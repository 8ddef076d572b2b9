"""Threads that wait give their core away, unless the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
