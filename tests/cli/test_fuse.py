"""Streams and ensembles at the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from small_backbone import SMALL

pytestmark = pytest.mark.usefixtures("small_backbone")

TASK = ["supervised", "--dataset", "nw-ucla", "--split", "x-view"]
SHORT = ["--set", "epochs=1", "--set", "min_steps=0", "--set", "n_frames=8", "--set", f"backbone={SMALL}"]
SHORT += ["--limit", "40", "--method", "skeleton-only"]


@pytest.fixture(autouse=True)
def places(toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCL_BENCH_DATA", str(toy_data_root))
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("COLUMNS", "200")


def call(*words: str) -> None:
    app([*words], standalone_mode=False)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    call(*words, "--json")
    return json.loads(capsys.readouterr().out)


def test_each_stream_is_a_job_that_a_fusion_then_finds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ran = printed(capsys, "run", *TASK, *SHORT, "--streams", "joint,bone")
    assert sorted(record["settings"]["streams"] for record in ran) == [["bone"], ["joint"]]
    call("fuse", *TASK, *SHORT, "--streams", "joint,bone,joint-motion", "--weights", "0.6,0.6,0.4")
    message = capsys.readouterr()
    assert message.err.count("stored result of") == 2, "only the third stream was run"
    assert "37.5 %" in message.out
    assert "against its best member on test, skeleton-only streams=" in " ".join(message.out.split())
    fused, *members = printed(
        capsys, "fuse", *TASK, *SHORT, "--streams", "joint,bone,joint-motion", "--weights", "0.6,0.6,0.4"
    )
    assert fused["method"] == "fusion"
    assert fused["weights"]["0"] == pytest.approx([0.375, 0.375, 0.25])
    assert len(members) == 3
    best = max(member["metrics"]["top1"]["value"] for member in members)
    assert fused["ahead_of_best_member"]["difference"] == pytest.approx(fused["metrics"]["top1"]["value"] - best)
    assert fused["cost"]["flops"] == sum(member["cost"]["flops"] for member in members)
    assert len(list((tmp_path / "results" / "jobs").glob("*/result.json"))) == 4


def test_members_may_be_of_any_method(capsys: pytest.CaptureFixture[str]) -> None:
    fused, *members = printed(
        capsys, "fuse", *TASK, "--limit", "40", "--members", "logistic[C=0.1],logistic", "--scale", "softmax"
    )
    assert fused["settings"]["scale"] == "softmax"
    assert {member["method"] for member in members} == {"logistic"}
    assert "cost" not in fused or fused["cost"] is None


def test_a_deterministic_member_runs_once_for_all_seeds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["fuse", *TASK, "--limit", "40", "--scale", "softmax", "--seeds", "3"]
    fused, *members = printed(capsys, *words, "--members", "logistic,chance")
    assert fused["seeds"] == [0, 1, 2]
    assert {member["method"]: member["seeds"] for member in members} == {"logistic": [0], "chance": [0, 1, 2]}
    fused, *members = printed(capsys, *words, "--members", "logistic[C=0.1],logistic")
    assert fused["seeds"] == [0]
    stored = [path.name for path in (tmp_path / "results" / "jobs").iterdir() if path.is_dir()]
    assert len([name for name in stored if "-logistic-" in name]) == 2


def test_a_member_may_have_a_preset_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fuse", *TASK, *SHORT]
    call(*words, "--members", "skeleton-only,[preset=paper]")
    assert "skeleton-only preset=paper" in " ".join(capsys.readouterr().out.split())
    fused, *members = printed(capsys, *words, "--members", "skeleton-only,[preset=paper]")
    assert sorted(member["preset"] for member in members) == ["paper", "quick"]
    own = fused["command"].partition("--members ")[2].partition(" --weights")[0].strip("'")
    (again, *_) = printed(capsys, *words, "--members", own)
    assert again["folders"] == fused["folders"], "the command of the fusion names it"


def test_several_streams_may_be_one_job(capsys: pytest.CaptureFixture[str]) -> None:
    (ran,) = printed(capsys, "run", *TASK, *SHORT, "--set", "streams=joint+bone")
    (same,) = printed(capsys, "run", *TASK, *SHORT, "--set", 'streams=["joint","bone"]')
    assert ran["settings"]["streams"] == ["joint", "bone"]
    assert same["folders"] == ran["folders"]
    assert "--set streams=joint+bone" in ran["command"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", *TASK, "--method", "logistic", "--streams", "joint"], "logistic has no skeleton streams"),
        (["run", *TASK, "--streams", "joint", "--set", "streams=bone"], "both name the streams"),
        (["run", *TASK, "--streams", ","], "names no stream"),
        (["run", *TASK, "--streams", "bones"], "streams.0=bones"),
        (["fuse", *TASK], "give either --streams"),
        (["fuse", *TASK, "--streams", "joint,bone", "--members", "paper"], "give either --streams"),
        (["fuse", *TASK, "--streams", "joint,bone", "--scale", "probits"], "Known: logits, softmax"),
        (["fuse", *TASK, "--members", "logistic,logistic[C=1]", "--weights", "fitted"], "--set selection=validation"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        call(*words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
