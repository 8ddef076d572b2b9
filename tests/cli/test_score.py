"""``mmcl-bench score``: from a template to a row of the tables."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.results.store import stored_results
from stored_jobs import leaderboard

VIEW = ["--task", "supervised/nw-ucla[split=x-view]"]
ZERO = ["--task", "zero-shot/nw-ucla[split=8/2]"]


@pytest.fixture(autouse=True)
def places(toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCL_BENCH_DATA", str(toy_data_root))
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def call(*words: str) -> None:
    app([*words], standalone_mode=False)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    call(*words, "--json")
    return json.loads(capsys.readouterr().out)


def write(path: str, task: list[str], seed: int = 0) -> None:
    """A template filled with synthetic scores; the toy's sample ids tell the class."""
    call("score", *task, "--template", path)
    template = pd.read_csv(path)
    truth = template["sample_id"].str[1:3].astype(int).to_numpy()
    scores = np.random.default_rng(seed).normal(size=(len(template), template.shape[1] - 1))
    scores[np.arange(len(template)), truth] += 1.5
    frame = pd.DataFrame(scores, columns=template.columns[1:])
    frame.insert(0, "sample_id", template["sample_id"])
    frame.to_csv(path, index=False)


def test_a_foreign_method_enters_the_tables(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for seed in (0, 1):
        write(f"s{seed}.csv", VIEW, seed)
    record = printed(
        capsys, "score", "s0.csv", "s1.csv", *VIEW, "--name", "theirs", "--setting", "transductive", "--store"
    )
    assert (record["method"], record["foreign"], record["setting"]) == ("theirs", True, "transductive")
    assert [run["seed"] for run in record["runs"]] == [0, 1]
    values = [run["metrics"]["top1"]["value"] for run in record["runs"]]
    assert record["mean"]["top1"]["value"] == pytest.approx(np.mean(values))
    stored = json.loads((Path(record["runs"][0]["folder"]) / "result.json").read_text())
    assert stored["metrics"]["top1"] == record["runs"][0]["metrics"]["top1"], "the interval is the stored one"
    (row,) = leaderboard(list(stored_results(tmp_path / "results"))).to_dict("records")
    assert (row["method"], row["selection"], row["setting"]) == ("theirs", "unknown", "transductive")


def test_the_table_says_what_was_not_seen(capsys: pytest.CaptureFixture[str]) -> None:
    write("s.csv", ZERO)
    call("score", "s.csv", *ZERO)
    message = " ".join(capsys.readouterr().out.split())
    assert "(foreign, inductive)" in message
    assert "nobody here saw how epoch and settings were chosen" in message
    assert "no calibration was given or fitted" in message
    call("score", "s.csv", *ZERO, "--calibration", "0.5", "--name", "theirs")
    assert "calibration 0.5, as given" in " ".join(capsys.readouterr().out.split())
    assert not Path("results").exists(), "nothing is stored unasked"


def test_the_runs_of_one_file_are_seeds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    frames = []
    for seed in (0, 1, 2):
        write(f"s{seed}.csv", VIEW, seed)
        frames.append(pd.read_csv(f"s{seed}.csv", index_col="sample_id"))
    runs = np.stack([frame.to_numpy() for frame in frames])
    Path("dump.pkl").write_bytes(pickle.dumps({"scores": runs, "sample_ids": frames[0].index.tolist()}))
    one = printed(capsys, "score", "s0.csv", "s1.csv", "s2.csv", *VIEW, "--name", "theirs")
    several = printed(capsys, "score", "dump.pkl", *VIEW, "--name", "theirs", "--store")
    assert [run["metrics"] for run in several["runs"]] == [run["metrics"] for run in one["runs"]]
    assert several["mean"] == one["mean"]
    assert [(run["seed"], run["run"]) for run in several["runs"]] == [(0, 1), (1, 2), (2, 3)]
    (row,) = leaderboard(list(stored_results(tmp_path / "results"))).to_dict("records")
    assert (row["seeds"], row["command"].count("dump.pkl")) == (3, 1)
    call("score", "dump.pkl", *VIEW)
    assert "dump.pkl, run 3" in " ".join(capsys.readouterr().out.split())


def test_what_the_unseen_classes_alone_do_not_tell_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    write("s.csv", ZERO)
    whole = printed(capsys, "score", "s.csv", *ZERO)["runs"][0]["metrics"]
    unseen = ("sample_id", "pick up with two hands", "sit down")
    frame = pd.read_csv("s.csv")
    names = [name for name in frame.columns if name in unseen]
    assert len(names) == 3, "the unseen classes of NW-UCLA 8/2"
    frame[names].to_csv("zsl.csv", index=False)
    record = printed(capsys, "score", "zsl.csv", *ZERO)["runs"][0]
    assert record["metrics"]["zsl_top1"]["value"] == whole["zsl_top1"]["value"]
    assert [name for name, figure in record["metrics"].items() if figure is None] == [
        name for name in whole if not name.startswith("zsl")
    ]
    assert sorted(record["per_class"]) == sorted(names[1:])
    call("score", "zsl.csv", *ZERO)
    message = " ".join(capsys.readouterr().out.split())
    assert "scores of the unseen classes alone; unknown: S, U, H, AUSUC" in message
    assert "calibration" not in message
    with pytest.raises(UserError, match="leave the calibration out"):
        call("score", "zsl.csv", *ZERO, "--calibration", "1")
    with pytest.raises(UserError, match="score these by themselves"):
        call("score", "zsl.csv", "s.csv", *ZERO)


def test_a_side_without_a_right_clip_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write("s.csv", ZERO)
    record = printed(capsys, "score", "s.csv", *ZERO, "--calibration", "100")["runs"][0]
    assert record["metrics"]["gzsl_seen"]["value"] == 0
    assert record["wiped_out"].startswith("the seen classes are wiped out by calibration 100: S 0.0, U ")
    call("score", "s.csv", *ZERO, "--calibration", "100")
    assert "s.csv: the seen classes are wiped out" in " ".join(capsys.readouterr().out.split())
    assert printed(capsys, "score", "s.csv", *ZERO)["runs"][0]["wiped_out"] is None


def test_an_unfilled_template_is_refused() -> None:
    call("score", *VIEW, "--template", "t.csv")
    with pytest.raises(UserError, match=r"t\.csv: every score is 0, as in a template"):
        call("score", "t.csv", *VIEW)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", *VIEW], "name a file of scores, or --template"),
        (["score", "none.csv", *VIEW], "none.csv: no such file of scores"),
        (["score", "s.csv", "--task", "supervised/nw-ucal"], "Did you mean supervised/nw-ucla"),
        (["score", "s.csv", *VIEW, "--store"], "--store needs --name"),
        (["score", "s.csv", *VIEW, "--store", "--name", "mmcl"], "a method of this suite"),
        (["score", "s.csv", *VIEW, "--template", "t.csv"], "leave out FILES"),
        (["score", *VIEW, "--template", "no/such/t.csv"], "no such folder"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        call(*words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
