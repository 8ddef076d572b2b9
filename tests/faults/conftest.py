"""A job with checkpoints that takes an instant, and its undisturbed result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import Stored
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.runner import RunSite, run_job
from tiny_network import TinyNetwork


@pytest.fixture(scope="module")
def wanted() -> Iterator[Job]:
    METHODS.register("tiny-network")(TinyNetwork)
    try:
        yield make_job(load_task("supervised/nw-ucla[split=x-sub]"), TinyNetwork, 0, limit=60)
    finally:
        METHODS.unregister("tiny-network")


@pytest.fixture(scope="module")
def whole(wanted: Job, toy_data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return run_job(wanted, RunSite(toy_data_root, tmp_path_factory.mktemp("whole")))[0]


@pytest.fixture
def where(toy_data_root: Path, tmp_path: Path) -> RunSite:
    return RunSite(toy_data_root, tmp_path / "results")
