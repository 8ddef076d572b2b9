"""Sets that people bring go through every verb by docs/datasets/custom.md alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typing_in import Said, type_in

import own_sets
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.results.groups import unversioned
from mmcl_bench.skeleton.layouts import LAYOUTS, Layout

Type = Callable[..., Said]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Types a line in a folder of its own, and expects it to work."""
    monkeypatch.setenv("MMCL_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)

    def type_line(line: str, code: int = 0) -> Said:
        said = type_in(line.split(), monkeypatch, capsys)
        assert said.code == code, said.err
        return said

    return type_line


SHORT = "--method skeleton-only --set epochs=1 --set min_steps=0 --set n_frames=8"


def top1(said: Said, metric: str = "top1") -> float:
    *_, last = json.loads(said.out)
    return float(last["metrics"][metric]["value"])


def test_a_set_of_pairs_goes_through_every_verb(typed: Type, tmp_path: Path) -> None:
    own_sets.of_pairs(tmp_path / "pairs-source")
    typed("data prepare custom --source pairs-source --as pairs")
    index = SkeletonDataset.open(tmp_path / "data" / "pairs").index
    assert index["n_bodies"].tolist() == [2] * 50
    assert "5" in typed("data info pairs").out
    assert "prepared by reader custom" in typed("data list").out
    assert [row["name"] for row in json.loads(typed("data list p*rs --json").out)] == ["pairs"]
    assert "no data set is like q*" in typed("data list q*").out
    tasks = json.loads(typed("list tasks */pairs --json").out)
    assert [unversioned(row["task"]).partition("[")[0] for row in tasks] == ["supervised/pairs", "zero-shot/pairs"]
    assert [row["data set"] for row in json.loads(typed("list datasets p*rs --json").out)] == ["pairs"]
    shown = typed("data show pairs wave-1-5 --output pictures").out
    assert "1 and 5" in shown
    assert "neither side" in shown  # subject 1 trains and 5 tests
    assert "Subjects on both sides" in typed("data audit pairs").out

    folds = typed("run supervised --dataset pairs --split pairs --method logistic --json")
    *by_fold, mean = json.loads(folds.out)
    figures = [row["metrics"]["top1"]["value"] for row in by_fold]
    assert unversioned(mean["task"]) == "supervised/pairs[split=pairs]"
    assert mean["splits"] == [f"pairs-{number}" for number in range(1, 6)]
    assert mean["metrics"]["top1"]["value"] == pytest.approx(np.mean(figures))
    assert np.mean(figures) > 0.9
    assert "mean over splits" in typed("run supervised --dataset pairs --splits pairs --method logistic").out

    typed(f"run supervised --dataset pairs --split x-sub {SHORT}")
    assert top1(typed("run supervised --dataset pairs --split x-sub --method logistic --json")) > 0.9
    typed("run zero-shot --dataset pairs --split 3/2 --method devise-joints")
    typed("report --figures none")
    assert "pairs-1 to pairs-5" in (tmp_path / "reports" / "index.html").read_text()
    assert (tmp_path / "reports" / "tables" / "supervised-synthetic-split-means.csv").is_file()


def test_a_set_with_a_layout_of_its_own_goes_through_every_verb(typed: Type, tmp_path: Path) -> None:
    own_sets.of_one_person(tmp_path / "one-source")
    own_sets.of_pairs(tmp_path / "pairs-source")
    typed("data prepare custom --source one-source --as one")
    typed("data prepare custom --source pairs-source --as pairs")
    shutil.rmtree(tmp_path / "one-source")
    assert "15 (lab-15)" in typed("data info one").out
    typed("data audit one")
    typed("data show one wave-1-1 --output pictures")
    mean = json.loads(typed("run supervised --dataset one --split fold --method logistic --json").out)[-1]
    assert mean["splits"] == [f"fold-{number}" for number in range(1, 6)]
    assert mean["metrics"]["top1"]["value"] > 0.9
    typed("run zero-shot --dataset one --split 3/2 --method devise-joints")
    # What learned from pairs of people misses the second one.
    for source, target, least in (("pairs", "one", 0.5), ("one", "pairs", 0.8)):
        found = typed(f"run transfer --source {source} --target {target} --method logistic --json")
        assert top1(found) > least, source
    # A model carries the layout of its own with it.
    typed(f"run supervised --dataset one --split fold-1 {SHORT}")
    own_sets.of_pairs(tmp_path / "loose")
    (tmp_path / "loose" / "manifest.csv").unlink()
    said = typed("predict supervised/one[split=fold-1] --method skeleton-only loose --top 1")
    assert "joints are mapped from sbu-15 to lab-15" in said.err
    assert len(said.out.splitlines()) == 51


def test_classes_of_other_names_correspond_by_a_file(typed: Type, tmp_path: Path) -> None:
    rename = dict(zip(own_sets.MOTIONS, ("greet", "shove", "boot", "nod", "reach"), strict=True))
    own_sets.of_one_person(tmp_path / "one-source", rename=rename)
    own_sets.of_pairs(tmp_path / "pairs-source")
    typed("data prepare custom --source one-source --as one")
    typed("data prepare custom --source pairs-source --as pairs")
    refused = typed("run transfer --source one --target pairs --method logistic", code=2)
    assert "--class-map FILE" in refused.err
    entries = [
        f'[[shared]]\nname = "{ours}"\nsource = "{theirs}"\ntarget = ["{ours}"]\n' for ours, theirs in rename.items()
    ]
    (tmp_path / "map.toml").write_text("\n".join(entries))
    line = "run transfer --source one --target pairs --method logistic --class-map map.toml --json"
    found = typed(line)
    assert top1(found) > 0.8
    (record,) = json.loads(found.out)
    assert unversioned(record["task"]) == "transfer/one-to-pairs[class_map=map.toml]"
    again = typed("run transfer/one-to-pairs[class_map=map.toml] --method logistic --json")
    assert json.loads(again.out)[0]["folders"] == record["folders"]
    # Another content of the file is another task.
    (tmp_path / "map.toml").write_text("\n".join(entries[:3]))
    assert json.loads(typed(line).out)[0]["task_hash"] != record["task_hash"]
    assert typed("run supervised --dataset one --class-map map.toml", code=2).err.count("\n") == 1


V1: Layout = LAYOUTS["kinect-v1"]
ENDS = [V1.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("hand", "foot")]
BEFORE = [V1.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("wrist", "ankle")]


def lacking(positions: np.ndarray) -> np.ndarray:
    positions = positions.copy()
    positions[:, ENDS] = np.nan
    return positions


def copied(positions: np.ndarray) -> np.ndarray:
    positions = positions.copy()
    positions[:, ENDS] = positions[:, BEFORE]
    return positions


def test_joints_that_are_never_seen_lose_nothing_against_copied_ones(typed: Type, tmp_path: Path) -> None:
    own_sets.of_pairs(tmp_path / "pairs-source")
    typed("data prepare custom --source pairs-source --as pairs")
    found: dict[str, list[float]] = {}
    for name, change in (("lacking", lacking), ("copied", copied)):
        own_sets.of_one_person(tmp_path / name, 'layout = "kinect-v1"', V1, change)
        typed(f"data prepare custom --source {name} --as {name}")
        lines = [
            f"run supervised --dataset {name} --split fold-1 --method logistic --json",
            f"run transfer --source {name} --target pairs --method logistic --json",
        ]
        found[name] = [top1(typed(line)) for line in lines]
    assert found["lacking"] == found["copied"]
    assert min(found["copied"]) > 0.8


def test_a_suite_has_a_set_of_ones_own_once_it_is_prepared(typed: Type, tmp_path: Path) -> None:
    own_sets.of_one_person(tmp_path / "one-source")
    matrix = '[[matrix]]\nown_set = "one"\ntasks = ["supervised/one"]\nmethods = ["chance"]\nseeds = 1\n'
    (tmp_path / "ours.toml").write_text(f'title = "ours"\ncost = "a minute"\n{matrix}')
    before = typed("plan --suite ours.toml --json")
    assert json.loads(before.out)["totals"]["jobs"] == 0
    assert before.err.splitlines() == [
        "suite ours.toml: all of it: a minute",
        "suite ours.toml: leaves out one, which is not prepared; mmcl-bench data prepare custom prepares it",
    ]
    typed("data prepare custom --source one-source --as one")
    after = typed("plan --suite ours.toml --json")
    assert json.loads(after.out)["totals"]["jobs"] == 1
    assert after.err.splitlines() == before.err.splitlines()[:1]
