"""Jobs that were stored before the package was laid out anew count as before: found, valid, and able to predict.

They are of 27 November 2026, of a synthetic stand-in of NW-UCLA (``toys.write_toy``: ten classes, four subjects).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.paths import packaged
from mmcl_bench.datasets.prepare import open_dataset
from mmcl_bench.inference.predict import TrainedModel
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs
from mmcl_bench.protocols.cards import Task
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import read_results
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from toys import write_toy

STORED = Path(__file__).parent / "stored"


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Version 1, as the card was then."""
    card = (packaged("tasks") / "supervised-nw-ucla.toml").read_text(encoding="utf-8")
    (tmp_path / "then.toml").write_text(card.replace("version = 2", "version = 1"), encoding="utf-8")
    return load_task(str(tmp_path / "then.toml"), split="x-view")


@pytest.fixture
def site(tmp_path: Path) -> RunSite:
    write_toy(tmp_path / "data", "nw-ucla", 10, 4, 3)
    shutil.copytree(STORED, tmp_path / "results" / "jobs")
    return RunSite(tmp_path / "data", tmp_path / "results")


@pytest.mark.parametrize("method", ["logistic", "chance"])
def test_a_job_that_was_stored_before_is_not_run_again(method: str, task: Task, site: RunSite) -> None:
    stored, is_new = run_job(make_job(task, METHODS.get(method), 0), site)
    assert not is_new
    assert set(read_results(site.results_root)["job"]) >= {stored.result.job_hash}


def test_its_model_still_predicts_what_it_did(task: Task, site: RunSite) -> None:
    stored, _ = run_job(make_job(task, METHODS.get("logistic"), 0), site)
    data = {"nw-ucla": open_dataset("nw-ucla", site.data_root)}
    clips = PROTOCOLS.get("supervised")(task, data, Needs(), site.data_root).test_clips()
    np.testing.assert_allclose(TrainedModel.of(stored).method.score(clips), stored.scores, rtol=1e-4, atol=1e-4)
