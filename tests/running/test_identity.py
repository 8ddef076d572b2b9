"""Runs, fusions and scores from elsewhere are named alike, and as stored results have been named from the start."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmcl_bench.core.grants import Setting
from mmcl_bench.running.foreign import ForeignRun
from mmcl_bench.running.fusion import FusionJob
from mmcl_bench.running.identity import Identity, locked_folder
from mmcl_bench.running.jobs import Job

SHORT = "zero-shot/nw-ucla@1[split=8/2,text=Hash_256]"
LONG = f"zero-shot/nw-ucla@1[split=8/2,text=hash:{'q' * 180}]"
LONG_SLUG = f"zero-shot-nw-ucla-1-split-8-2-text-hash-{'q' * 180}"


def task(identity: str) -> Any:
    return SimpleNamespace(identity=identity, hash="ab" * 32)


def job(of_task: str, seed: int = 3, rate: float = 0.1) -> Job:
    return Job(task(of_task), "mmcl", 2, "quick", {"epochs": 3, "rate": rate, "streams": ["joint"]}, seed, 40)


def fusion(of_task: str, weights: Any = "equal") -> FusionJob:
    return FusionJob((job(of_task), job(of_task, rate=0.2)), weights, "softmax")


def foreign(of_task: str, name: str = "their.method_", setting: Setting = Setting.INDUCTIVE) -> ForeignRun:
    scored_task: Any = SimpleNamespace(task=task(of_task), is_of_unseen_alone=lambda file: False)
    unread: Any = None
    return ForeignRun(scored_task, name, 3, unread, unread, setting)


@pytest.mark.parametrize(
    ("identity", "folder"),
    [
        (job(SHORT), "zero-shot-nw-ucla-1-split-8-2-text-hash-256-mmcl-s3-84c392679aa4"),
        (fusion(SHORT), "zero-shot-nw-ucla-1-split-8-2-text-hash-256-fusion-of-2-s3-635ebddef8e7"),
        (fusion(SHORT, (1.0, 3.0)), "zero-shot-nw-ucla-1-split-8-2-text-hash-256-fusion-of-2-s3-e22712f7aed5"),
        (foreign(SHORT), "zero-shot-nw-ucla-1-split-8-2-text-hash-256-their-method-s3-0b453377be7e"),
        (
            foreign(SHORT, setting=Setting.TRANSDUCTIVE),
            "zero-shot-nw-ucla-1-split-8-2-text-hash-256-their-method-s3-ed50a7ba77b0",
        ),
        (job(LONG), f"{LONG_SLUG[:200]}-s3-8f520cbaeb2b"),
        (fusion(LONG), f"{LONG_SLUG}-fusion-of-2-s3-264d5606d91c"),
        (foreign(LONG), f"{LONG_SLUG}-their-method-s3-094891dc22b2"),
    ],
)
def test_what_was_stored_is_found_by_its_name(identity: Identity, folder: str) -> None:
    assert identity.folder == folder
    assert identity.hash.startswith(folder.rpartition("-")[2])


@pytest.mark.parametrize(
    "identity", [job("t" * 300, seed=10**12), fusion(LONG + "q" * 60), foreign(SHORT, "n" * 240), foreign("t" * 300)]
)
def test_no_name_is_longer_than_a_file_system_takes(identity: Identity, tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    with locked_folder(identity, tmp_path) as folder:
        folder.mkdir()
        names = [path.name for path in folder.parent.iterdir()]
    assert len(names) == 2, "the folder and its lock"
    assert max(map(len, names)) <= longest
    assert folder.name.endswith(f"-s{identity.canonical()['seed']}-{identity.hash[:12]}")


def test_names_that_are_cut_alike_stay_apart() -> None:
    assert foreign(SHORT, "n" * 240).folder != foreign(SHORT, "n" * 241).folder
