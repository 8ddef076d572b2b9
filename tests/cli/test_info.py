"""What ``mmcl-bench info`` says, and what tables say of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.results.store import stored_results
from stored_jobs import leaderboard


@pytest.fixture(autouse=True)
def places(toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCL_BENCH_DATA", str(toy_data_root))
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("COLUMNS", "160")


def test_a_data_set_gives_layout_classes_and_teachers(capsys: pytest.CaptureFixture[str]) -> None:
    app(["info", "mmcl", "--dataset", "nw-ucla", "--batch", "4", "--device", "cpu", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert (told["layout"], told["classes"], told["complexity"]["n_joints"]) == ("kinect-v1", 10, 20)
    assert told["teachers"] == {}, "the stand-in has skeletons alone"
    assert told["complexity"]["flops"] == 2 * told["complexity"]["macs"] > 0
    assert told["speed"]["device"] == "cpu"
    assert told["memory"]["measured_by"]


def test_the_table_has_every_figure_with_what_it_is_of(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["info", "skeleton-only", "--layout", "kinect-v2", "--classes", "7", "--frames", "16", "--bodies", "1"]
    app([*words, "--batch", "4", "--device", "cpu"], standalone_mode=False)
    message = " ".join(capsys.readouterr().out.split())
    for words in ("skeleton-only (quick), kinect-v2, 7 classes", "1 body, 16 frames, 25 joints", "clips/s", "MiB"):
        assert words in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["logistic"], "has no network"),
        (["mmcl", "--dataset", "nw-uclaa"], "Did you mean nw-ucla"),
        (["mmcl", "--dataset", "nw-ucla", "--layout", "kinect-v2"], "has a layout of its own"),
        (["mmcl", "--layout", "kinect"], "kinect-v2"),
        (["skeleton-only", "--set", "epoch=1"], "Did you mean epochs"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        app(["info", *words, "--device", "cpu"], standalone_mode=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_results_hold_the_cost_and_tables_print_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "supervised", "--dataset", "nw-ucla", "--set", "epochs=1", "--set", "min_steps=0"]
    app([*words, "--method", "skeleton-only", "--device", "cpu"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "parameters" in out
    assert "FLOPs per clip" in out
    (stored,) = stored_results(tmp_path / "results")
    cost = stored.result.notes["cost"]
    board = leaderboard([stored])
    assert board["parameters"].tolist() == [cost["parameters"]]
    assert board["flops"].tolist() == [cost["flops"]]
