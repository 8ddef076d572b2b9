"""A run that is killed at random moments, again and again, ends with the numbers of an undisturbed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, so that a start costs no imports")
def test_fifty_kills_at_random_moments_change_no_number(toy_data_root: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(Path(__file__).with_name("nursery.py")), "0", str(KILLS), toy_data_root, tmp_path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["kills"] == KILLS
    assert seen["same"] == seen["finished"] >= 1
    assert seen["left behind"] == 0, "no draft, no checkpoint"
    assert seen["with checkpoints"] >= 1, "some kills came between two epochs"
    assert seen["starts"] >= 2, "some job went on after a kill"
