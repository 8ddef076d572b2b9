"""Small stored results, written as a job writes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mmcl_bench.results.store import Stored
from stored_jobs import stored_job

StoreJob = Callable[..., Stored]


@pytest.fixture
def store_job(tmp_path: Path) -> StoreJob:
    """Stores a job under ``tmp_path``; ``skill`` is added to the true class's uniform random score."""
    return partial(stored_job, tmp_path)


@pytest.fixture(scope="session")
def make_job() -> StoreJob:
    """Stores a job under the results folder that is its first argument."""
    return stored_job
