"""``mmcl-bench data compare`` as people and programs use it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typing_in import Said, type_in

from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job

Typed = Callable[..., Said]


@pytest.fixture
def typed(transfer_data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    def typed(*words: object, root: Path = transfer_data_root) -> Said:
        line = ["data", "compare", *map(str, words), "--data-root", str(root)]
        return type_in(line, monkeypatch, capsys)

    return typed


def test_two_sets_stand_side_by_side(typed: Typed) -> None:
    said = typed("nw-ucla", "utd-mhad", "--limit", 40)
    assert (said.code, said.err) == (0, "")
    shown = re.sub(r"\s+", " ", said.out)
    assert "nw-ucla utd-mhad" in shown
    assert "clips 60 108" in shown
    assert "subjects 6 4" in shown
    assert "joint layout kinect-v1 (20 joints) kinect-v1 (20 joints)" in shown
    assert "clips whose poses are measured 40 40" in shown
    assert "clips of 4 shared classes 24 16" in shown
    assert re.search(r"Distance by joints .* all classes 40 and 40 \d\.\d\d other people -?\d\.\d{3}", shown)
    assert "After normalisation a linear classifier " in said.out.splitlines()[-1]


def test_programs_get_json_and_people_a_picture(typed: Typed, tmp_path: Path) -> None:
    picture = tmp_path / "pictures" / "both.png"
    said = typed("nw-ucla", "hdm05", "--limit", 30, "--json", "--picture", picture)
    found = json.loads(said.out)
    assert (said.code, said.err) == (0, f"{picture}\n")
    assert found["layout"] == "kinect-v1"
    assert found["second"]["summary"]["layout"] == "hdm05"
    assert found["all_clips"]["clips"] == [30, 30]
    assert found["stands_out"][-1].startswith("After normalisation")
    with Image.open(picture) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nw-ucla", "nw-ucla"], "nw-ucla: compared with itself; give the names of two data sets"),
        (["nw-ucla", "ntu60"], "ntu60 is not prepared; run mmcl-bench data prepare ntu60 --source PATH"),
        (["nw-ucla", "utd-mhadd"], "unknown data set 'utd-mhadd'. Did you mean utd-mhad"),
        (["nw-ucla", "utd-mhad", "--picture", "both.pdf"], "--picture both.pdf: is written as PNG"),
    ],
)
def test_what_cannot_be_compared_is_one_line(typed: Typed, words: list[str], message: str) -> None:
    said = typed(*words)
    assert said.code == 2
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


def test_the_network_of_a_job_gives_features(typed: Typed, transfer_data_root: Path, tmp_path: Path) -> None:
    site, task = RunSite(transfer_data_root, tmp_path), load_task("transfer/nw-ucla-to-utd-mhad")
    short = {"epochs": "1", "min_steps": "0", "n_frames": "8", "backbone": "ctr-gcn-tiny"}
    stored = run_job(make_job(task, METHODS.get("skeleton-only"), 0, overrides=short), site)[0]
    other = run_job(make_job(task, METHODS.get("chance"), 0), site)[0]
    words = ("nw-ucla", "hdm05", "--limit", 20, "--results", tmp_path, "--device", "cpu", "--features")
    found = json.loads(typed(*words, task.identity, "--json").out)
    assert found["features"] == f"the network of job {stored.result.job_hash[:12]} ({task.identity}, seed 0)"
    assert found["all_clips"] != json.loads(typed(*words, "joints", "--json").out)["all_clips"]
    refused = typed(*words, other.folder)
    assert refused.code == 2
    assert "is a job of chance, and features are those of a skeleton-only job" in refused.err
    assert typed(*words, "nothing").err.startswith(f"mmcl-bench: {tmp_path / 'jobs'}: no finished job is 'nothing'")


def test_one_set_under_two_names_is_refused(typed: Typed, transfer_data_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(transfer_data_root / "nw-ucla", root / "nw-ucla")
    shutil.copytree(transfer_data_root / "nw-ucla", root / "mine")
    card = SkeletonDataset.open(root / "mine").card.model_copy(update={"name": "mine"})
    (root / "mine" / "card.json").write_text(card.model_dump_json(), encoding="utf-8")
    said = typed("nw-ucla", "mine", root=root)
    assert (said.code, said.err) == (
        2,
        "mmcl-bench: nw-ucla and mine hold the same clips; give two different data sets\n",
    )
