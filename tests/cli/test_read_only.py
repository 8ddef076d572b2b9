"""Data and results that a group shares may be read-only: what is stored there is shown all the same."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from typing_in import type_in

from mmcl_bench.encoders import cache
from mmcl_bench.encoders.cache import cached_text
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from read_only import read_only
from toys import write_toy

TASK = "zero-shot/nw-ucla[split=8/2]"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root and a results root with jobs of two methods."""
    root = tmp_path_factory.mktemp("shared")
    write_toy(root / "data", "nw-ucla", 10, 4, 3)
    for method, seed in product(("chance", "devise-joints"), range(2)):
        run_job(make_job(load_task(TASK), METHODS.get(method), seed), RunSite(root / "data", root / "results"))
    for lock in (root / "results" / "jobs").glob(".*.lock"):
        lock.unlink()
    return root


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own working directory and cache folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


SHOWING = {
    "list methods": "list methods",
    "list datasets": "list datasets",
    "data list": "data list {data}",
    "data info": "data info nw-ucla {data}",
    "data audit": "data audit nw-ucla {data}",
    "data verify": "data verify nw-ucla {data}",
    "data show": "data show nw-ucla a00_s01_v01 --output shown {data}",
    "features list": "features list nw-ucla {data}",
    "plan": "plan zero-shot --dataset nw-ucla --split 8/2 --method chance {data} {results}",
    "run": "run zero-shot --dataset nw-ucla --split 8/2 --method chance,devise-joints {data} {results}",
    "run one": "run zero-shot --dataset nw-ucla --split 8/2 --method devise-joints {data} {results}",
    "report": "report --reports pages {results}",
    "compare": "compare chance devise-joints {data} {results}",
    "accept": "baseline accept --output baseline.json --allow-dirty {results}",
    "check": "check --baseline baseline.json {data} {results}",
    "predict": "predict zero-shot/nw-ucla nw-ucla --method devise-joints --seed 0 {data} {results}",
    "predict texts": "predict zero-shot/nw-ucla nw-ucla --method devise-joints --text wave=waving --text sit=sitting "
    "--seed 0 {data} {results}",
    "score": "score --task zero-shot/nw-ucla[split=8/2] --template scores.csv {data}",
}


@pytest.mark.parametrize("verb", SHOWING)
def test_what_is_stored_is_shown_where_nothing_can_be_written(
    verb: str, shared: Path, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"data": f"--data-root {shared / 'data'}", "results": f"--results {shared / 'results'}"}
    before = sorted(shared.rglob("*"))
    with read_only(shared):
        if verb == "check":
            assert type_in(SHOWING["accept"].format(**places).split(), monkeypatch, capsys).code == 0
        said = type_in(SHOWING[verb].format(**places).split(), monkeypatch, capsys)
    assert said.code == 0, said.err
    assert "Permission denied" not in said.err
    assert sorted(shared.rglob("*")) == before


@pytest.mark.parametrize(("more", "code"), [(["--limit", "3"], 2), (["--seeds", "4"], 1)])
def test_what_is_not_stored_is_refused_with_another_place(
    more: list[str],
    code: int,
    shared: Path,
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = f"run {TASK} --method chance --data-root {shared / 'data'} --results {shared / 'results'}"
    with read_only(shared):
        said = type_in([*words.split(), *more], monkeypatch, capsys)
    assert said.code == code
    assert "Traceback" not in said.err
    assert "choose another place with --results" in said.err


def test_text_features_go_to_the_users_cache_and_are_found_there(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "shared"
    shared, _ = cached_text("minilm", ["walk"], root)
    with read_only(root):
        first, _ = cached_text("minilm", ["sit", "stand"], root)
        monkeypatch.setattr(cache, "write_arrays", None)
        again, _ = cached_text("minilm", ["sit", "stand"], root)
        np.testing.assert_array_equal(cached_text("minilm", ["walk"], root)[0], shared)
    np.testing.assert_array_equal(first, again)
    assert [path.suffix for path in (own / "cache").rglob("*") if path.is_file()] == [".safetensors"]


def test_without_any_place_to_write_text_is_encoded_each_time(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    expected, _ = cached_text("minilm", ["sit"], tmp_path / "elsewhere")
    with read_only(tmp_path):
        found, _ = cached_text("minilm", ["sit"], root)
    np.testing.assert_array_equal(found, expected)
    assert list(root.iterdir()) == []
