"""``mmcl-bench data`` as people and programs use it."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from mmcl_bench.cli.data import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import DATA_ROOT_VARIABLE


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A synthetic NW-UCLA of two clips that are equal across its x-view sides, and one empty clip."""
    skeletons = np.random.default_rng(1).normal(size=(4, 20, 3)).tolist()
    path = tmp_path / "nw-ucla.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for name, frames in (("a01_s01_e00_v01", skeletons), ("a01_s03_e00_v03", skeletons), ("a01_s03_e01_v03", [])):
            content = json.dumps({"file_name": name, "skeletons": frames, "label": 1})
            zipped.writestr(f"all_sqe/{name}.json", content)
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root, where the environment names it."""
    monkeypatch.setenv(DATA_ROOT_VARIABLE, str(tmp_path / "root"))
    return tmp_path / "root"


def run(*arguments: object) -> str:
    """What the command writes to standard output. Raises what it raises."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_prepared_set_is_summed_up_for_people(source: Path, root: Path) -> None:
    shown = run("prepare", "nw-ucla", "--source", source, "--skip-bad")
    assert re.search(r"clips\W+2 \(1 left out\)", shown)
    assert re.search(r"test clips of x-view also in training\W+1\b", shown)


def test_preparing_says_the_same_as_info_to_programs(source: Path, root: Path) -> None:
    prepared = json.loads(run("prepare", "nw-ucla", "--source", source, "--skip-bad", "--json"))
    assert prepared == json.loads(run("info", "nw-ucla", "--json"))
    assert prepared["clips"] == 2


def test_what_was_left_out_is_said_on_standard_error(source: Path, root: Path) -> None:
    result = CliRunner().invoke(app, ["prepare", "nw-ucla", "--source", str(source), "--skip-bad"])
    assert "left out: all_sqe/a01_s03_e01_v03.json has no frames" in result.stderr


def test_a_bad_clip_stops_the_preparing(source: Path, root: Path) -> None:
    with pytest.raises(UserError, match=r"a01_s03_e01_v03\.json has no frames"):
        run("prepare", "nw-ucla", "--source", source)


def test_info_is_json_for_programs(source: Path, root: Path) -> None:
    run("prepare", "nw-ucla", "--source", source, "--skip-bad")
    figures = json.loads(run("info", "nw-ucla", "--json"))
    assert (figures["name"], figures["clips"], figures["skipped"], figures["joints"]) == ("nw-ucla", 2, 1, 20)
    assert figures["duplicates"] == {"x-view": 1, "x-sub": 0}
    assert list(figures["skipped_files"]) == ["all_sqe/a01_s03_e01_v03.json"]


def test_info_shows_people_the_whole_fingerprint(source: Path, root: Path) -> None:
    run("prepare", "nw-ucla", "--source", source, "--skip-bad")
    fingerprint = json.loads(run("info", "nw-ucla", "--json"))["fingerprint"]
    assert fingerprint in re.sub(r"\W", "", run("info", "nw-ucla"))


def test_info_of_a_set_that_is_not_prepared_says_the_line_to_type(root: Path) -> None:
    with pytest.raises(UserError, match="run mmcl-bench data prepare utd-mhad --source PATH"):
        run("info", "utd-mhad")


def test_the_option_wins_over_the_environment(source: Path, root: Path, tmp_path: Path) -> None:
    run("prepare", "nw-ucla", "--source", source, "--skip-bad", "--data-root", tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "nw-ucla").is_dir()
    assert not root.exists()


def test_list_says_which_sets_are_prepared(source: Path, root: Path) -> None:
    run("prepare", "nw-ucla", "--source", source, "--skip-bad")
    listed = {row["name"]: row for row in json.loads(run("list", "--json"))}
    assert (listed["nw-ucla"]["prepared"], listed["nw-ucla"]["clips"]) == (True, 2)
    assert (listed["utd-mhad"]["prepared"], listed["utd-mhad"]["clips"]) == (False, None)
    assert (listed["synth60"]["embedded"], listed["synth60"]["synthetic"]) == (True, True)
    shown = run("list")
    assert all(name in shown for name in listed)


def test_list_says_which_set_must_be_prepared_again(source: Path, root: Path) -> None:
    run("prepare", "nw-ucla", "--source", source, "--skip-bad")
    (root / "nw-ucla" / "card.json").write_text("{}")
    [row] = [row for row in json.loads(run("list", "--json")) if row["name"] == "nw-ucla"]
    assert (row["prepared"], row["state"]) == (False, "prepare again")


def test_every_verb_and_option_has_help() -> None:
    for verb in get_command(app).commands.values():
        assert verb.help
        for parameter in verb.params:
            assert parameter.help, f"{verb.name} {parameter.name}"
