"""``mmcl-bench data audit`` and ``data verify`` as people and programs use them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcl_bench.cli.data import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import DATA_ROOT_VARIABLE
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.store import TRACKS, DatasetCard
from prepared import write_dataset
from toys import tiny_card, toy_clip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a synthetic set, of which one test clip equals a training clip, and a whole one."""
    monkeypatch.setenv(DATA_ROOT_VARIABLE, str(tmp_path / "root"))
    clips = [toy_clip(1, label, subject, 1, 20) for label, subject in product(range(3), (1, 2, 3, 4))]
    clips[1] = replace(clips[1], bodies=clips[0].bodies)
    for name in ("mine", "other"):
        write_dataset(tmp_path / "root" / name, clips, 20, card(name))
    return tmp_path / "root"


def card(name: str) -> DatasetCard:
    reader = READERS.get("utd-mhad")
    return tiny_card(
        name=name,
        reader="custom-made",
        title="[bold]Mine[/bold] (synthetic)",
        classes=("sit", "stand", "wave"),
        sides=dict(reader.sides),
        default_side=reader.default_side,
        frame_rate=30.0,
        modalities=(),
    )


def run(*arguments: object, code: int = 0) -> str:
    """What the command writes to standard output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def damage(root: Path, name: str) -> None:
    path = root / name / TRACKS
    content = bytearray(path.read_bytes())
    content[-2] ^= 64
    path.write_bytes(content)


def test_an_audit_is_a_table_for_people(root: Path) -> None:
    shown = re.sub(r"\s+", " ", run("audit", "mine"))
    assert "[bold]Mine[/bold] (synthetic): 2 errors, " in shown
    assert "Test clips that equal a training clip" in shown
    assert re.search(r"error\W+1 of 6 test clips", shown)


def test_an_audit_is_json_for_programs(root: Path) -> None:
    found = json.loads(run("audit", "mine", "--json"))
    (equal,) = [finding for finding in found["findings"] if finding["kind"] == "duplicates-across"]
    assert (equal["side"], equal["severity"], equal["count"], equal["of"]) == ("x-sub", "error", 1, 6)
    assert equal["examples"] == [{"name": "a00_s02_v01", "detail": "equals a00_s01_v01; class sit"}]
    assert found["classes"][0] == {
        "label": 0,
        "name": "sit",
        "clips": 4,
        "sides": {"x-sub": {"train": 2, "test": 2}},
    }


def test_a_page_is_written_on_request(root: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "mine.html"
    assert str(page) in run("audit", "mine", "--page", page).replace("\n", "")
    assert "&lt;" not in page.read_text().partition("<h1>")[2].partition("</h1>")[0]
    assert "Clips by class" in page.read_text()


def test_json_stays_json_beside_a_page(root: Path, tmp_path: Path) -> None:
    assert json.loads(run("audit", "mine", "--json", "--page", tmp_path / "mine.html"))["name"] == "mine"


def test_findings_are_no_failure_unless_strict(root: Path) -> None:
    run("audit", "mine")
    assert run("audit", "mine", "--strict", code=1)


def test_verify_passes_a_whole_set(root: Path) -> None:
    assert re.search(r"mine\W+whole", run("verify", "mine"))
    assert json.loads(run("verify", "mine", "--json"))["state"] == "whole"


def test_verify_names_what_is_damaged(root: Path) -> None:
    damage(root, "mine")
    with pytest.raises(
        UserError, match=r"mine: tracks\.npy differs .* in a02_s04_v01; run .* custom-made --as mine again$"
    ):
        run("verify", "mine")


def test_verify_checks_every_set(root: Path) -> None:
    assert [verdict["name"] for verdict in json.loads(run("verify", "--all", "--json"))] == ["mine", "other"]
    damage(root, "other")
    result = CliRunner().invoke(app, ["verify", "--all", "--json"])
    assert [verdict["state"] for verdict in json.loads(result.stdout)] == ["whole", "damaged"]
    assert isinstance(result.exception, UserError)


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "mine", "--all"]])
def test_verify_wants_a_name_or_all(root: Path, arguments: list[str]) -> None:
    with pytest.raises(UserError, match="NAME of a prepared data set, or --all"):
        run(*arguments)


def test_a_set_that_is_not_prepared_is_one_line(root: Path) -> None:
    for verb in ("verify", "audit"):
        with pytest.raises(UserError, match="nowhere"):
            run(verb, "nowhere")
