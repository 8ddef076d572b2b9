"""Files that are written by hand are parsed once, and again when they change."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.records import read_toml


class Card(BaseModel):
    size: int


def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    loads = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text: parsed.append(text) or loads(text))
    (tmp_path / "a.toml").write_text("size = 4711")
    assert [read_toml(tmp_path / "a.toml", Card, "card").size for _ in range(3)] == [4711] * 3
    assert parsed == ["size = 4711"]


def test_a_file_that_changed_is_read_again_though_its_time_did_not(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("size = 1")
    assert read_toml(path, Card, "card").size == 1
    before = path.stat()
    path.write_text("size = 2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_toml(path, Card, "card").size == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [("size = ", "not a readable card"), ("size = 'a'", "size: Input should be a valid integer"), ("", "size: Field")],
)
def test_a_mistake_names_file_and_field_every_time(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    for _ in range(2):
        with pytest.raises(UserError, match=message) as caught:
            read_toml(path, Card, "card")
        assert str(path) in str(caught.value)
