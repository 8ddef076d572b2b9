"""``mmcl-bench data show`` as people use it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from mmcl_bench.cli.data import app
from mmcl_bench.cli.data.listing import _sample_table
from mmcl_bench.cli.fitting import fitted
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


def test_without_a_sample_a_clip_of_each_class_is_drawn(toy_data_root: Path, tmp_path: Path) -> None:
    shown = run(toy_data_root, "nw-ucla", "--output", tmp_path)
    picture = Image.open(tmp_path / "nw-ucla-classes.png")
    assert shown.split() == [str(tmp_path / "nw-ucla-classes.png")]
    wide, high = picture.size
    assert (wide, high) == (1360, 595), "ten classes, four to a row"
    # Of the twelve places the first ten hold figures.
    pixels = np.asarray(picture.convert("L"))[75:]
    cells = [pixels[row * 180 : row * 180 + 160, column * 340 : (column + 1) * 340] for row, column in np.ndindex(3, 4)]
    assert [bool((cell < 200).any()) for cell in cells] == [True] * 10 + [False] * 2


def test_on_a_narrow_terminal_a_sample_id_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"sample": "synth-S001C001P001R001A002", "class": "touch other person's pocket", "subject": 12, "bodies": 1}
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(fitted(_sample_table([row]), 60))
    assert "synth-S001C001P001R001A002" in console.export_text()


def samples(root: Path, *arguments: str) -> list[dict[str, object]]:
    words = ["samples", *arguments, "--json", "--data-root", str(root)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def test_the_clips_of_a_set_are_listed_by_pattern_and_class(toy_data_root: Path) -> None:
    every = samples(toy_data_root, "nw-ucla")
    assert len(every) == 180
    assert len({row["sample"] for row in every}) == 180
    (one,) = samples(toy_data_root, "nw-ucla", "a03_s02_v03*")
    assert (one["class"], one["subject"], one["camera"], one["frames"]) == ("walk around", 2, 3, 14)
    walks = samples(toy_data_root, "nw-ucla", "--class", "walk around")
    assert walks == [row for row in every if row["class"] == "walk around"]
    with pytest.raises(UserError, match="unknown class of nw-ucla 'walk'"):
        samples(toy_data_root, "nw-ucla", "--class", "walk")
