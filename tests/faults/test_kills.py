"""A run that is killed at random moments, again and again, ends with the numbers of an undisturbed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = {1: 35, 2: 15}
"""By number of threads: with two, both fits run at once."""


@pytest.mark.parametrize("threads", KILLS)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, so that a start costs no imports")
def test_kills_at_random_moments_change_no_number(toy_data_root: Path, tmp_path: Path, threads: int) -> None:
    script, kills = Path(__file__).with_name("nursery.py"), KILLS[threads]
    words = [sys.executable, str(script), "0", str(kills), str(threads), str(toy_data_root), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["kills"] == kills
    assert seen["same"] == seen["finished"] >= 1
    assert seen["left behind"] == 0, "no draft, no checkpoint"
    assert seen["with checkpoints"] >= 1, "some kills came between two epochs"
    assert seen["starts"] >= 2, "some job went on after a kill"
    # With two threads it depends on what else the machine does whether a kill meets both fits.
    assert threads > 1 or not seen["both fits at once"]
