"""``mmcl-bench data show`` as people use it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from mmcl_bench.cli.data import app
from mmcl_bench.core.errors import UserError


def run(root: Path, *arguments: object) -> str:
    """What the command writes to standard output."""
    words = ["show", *(str(argument) for argument in arguments), "--data-root", str(root)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_clip_is_shown_as_two_pictures_and_its_facts(toy_data_root: Path, tmp_path: Path) -> None:
    shown = run(toy_data_root, "nw-ucla", "a03_s02_v03", "--output", tmp_path / "pictures", "--frames", 5)
    gif, strip = (tmp_path / "pictures" / f"nw-ucla-a03_s02_v03.{suffix}" for suffix in ("gif", "png"))
    assert shown.splitlines()[-2:] == [str(gif), str(strip)]
    assert Image.open(gif).n_frames == 14
    assert Image.open(strip).format == "PNG"
    for fact in (r"class\W+walk around \(label 3\)", r"subject\W+2\b", r"camera\W+3\b", r"x-view\W+test", r"synthetic"):
        assert re.search(fact, shown), fact


def test_an_unknown_sample_is_answered_with_near_ones(toy_data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nw-ucla has no sample 'a03_s02_v3'; the nearest of its 180 are .*a03_s02_v03"
    ):
        run(toy_data_root, "nw-ucla", "a03_s02_v3", "--output", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_unlike_any_other_is_answered_with_some(toy_data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the nearest of its 180 are a00_s01_v01"):
        run(toy_data_root, "nw-ucla", "/etc/passwd", "--output", tmp_path)


def test_a_place_that_cannot_be_written_is_one_line(toy_data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*; choose another --output$"):
        run(toy_data_root, "nw-ucla", "a03_s02_v03", "--output", tmp_path / "file" / "pictures")
